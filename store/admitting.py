"""The transactions that let a job in, or end it from outside: admit, cancel, cancel by key."""

from __future__ import annotations

import attrs

from trouper.store import rules
from trouper.store.protocol import (
    Admission,
    Admitted,
    CancelAnswer,
    CancelResult,
    Conflict,
    QueueFull,
    ThreadBusy,
)
from trouper.store.records import Job, JobState
from trouper.store.transaction import Transaction, check_text


def admit(tx: Transaction, admission: Admission) -> Admitted | Conflict | ThreadBusy | QueueFull:
    """Key, thread, limits and insert in one (J3, J4)."""
    check_text(
        id=admission.id,
        user=admission.user,
        name=admission.name,
        arguments=admission.arguments,
        fingerprint=admission.fingerprint,
        thread=admission.thread,
        idempotency_key=admission.idempotency_key,
    )
    before = tx.tables.job(admission.id)
    if before is None and admission.idempotency_key is not None:
        before = tx.tables.job_by_key(admission.user, admission.idempotency_key)
    if before is not None:
        return rules.admitted_before(before, admission)
    if _cancelled_before(tx, admission):
        return _born_cancelled(tx, admission)
    displaced: list[Job] = []
    if admission.on_busy != "enqueue" and admission.thread is not None:
        displaced = tx.tables.active_in(admission.user, admission.thread, tx.now)
        if displaced and admission.on_busy == "reject":
            return ThreadBusy(displaced[0].id)
    full = _queue_full(tx, admission, sum(job.state is JobState.QUEUED for job in displaced))
    if full is not None:
        return full
    for job in displaced:
        _supersede(tx, job, admission.on_busy)
    return Admitted(tx.insert_job(rules.admitted_row(admission, tx.now)), created=True)


def _queue_full(tx: Transaction, admission: Admission, leaving: int) -> QueueFull | None:
    """Whether there is no room, though ``leaving`` queued jobs of the user make some."""
    if tx.tables.queued_up_to(admission.max_queued + leaving) - leaving >= admission.max_queued:
        return QueueFull(admission.max_queued)
    if tx.tables.queued_of(admission.user) - leaving >= admission.max_queued_per_user:
        return QueueFull(admission.max_queued_per_user, of_user=True)
    return None


def _supersede(tx: Transaction, job: Job, how: str) -> None:
    """End what waits; what runs learns of it by the commit, and ends in its own time."""
    row = rules.superseded_row(job, how)
    if row.state is JobState.QUEUED:
        tx.cancel_queued(row)
    elif row != job:
        tx.update_job(row)


def _cancelled_before(tx: Transaction, admission: Admission) -> bool:
    key = admission.idempotency_key
    expires_at = None if key is None else tx.tables.tombstone(admission.user, key)
    return expires_at is not None and tx.now < expires_at


def _born_cancelled(tx: Transaction, admission: Admission) -> Admitted:
    """A job that was cancelled by its key before it came: it takes no place and ends nobody's job."""
    assert admission.idempotency_key is not None
    tx.tables.remove_tombstone(admission.user, admission.idempotency_key)
    job = tx.insert_job(rules.admitted_row(admission, tx.now))
    return Admitted(tx.cancel_queued(job), created=True)


# --- cancel -------------------------------------------------------------------------------------


def cancel(tx: Transaction, job_id: str, user: str | None) -> CancelResult:
    """A queued job ends; for a running one the intent is recorded (J2)."""
    job = tx.tables.job(job_id)
    if job is None or (user is not None and job.user != user):
        return CancelResult(CancelAnswer.UNKNOWN)
    if job.state.terminal:
        return CancelResult(CancelAnswer.ALREADY_ENDED, job)
    if job.state is JobState.QUEUED:
        return CancelResult(CancelAnswer.ACCEPTED, tx.cancel_queued(job))
    if not job.cancel_requested:
        job = tx.update_job(attrs.evolve(job, cancel_requested=True))
    return CancelResult(CancelAnswer.ACCEPTED, job)


def cancel_key(tx: Transaction, user: str, key: str, *, age_s: float, most: int) -> CancelResult:
    """The job with that key, or the submit that is still to come (J2). A key is its user's: what others
    call by the same name is neither touched nor told of."""
    check_text(user=user, key=key)
    job = tx.tables.job_by_key(user, key)
    if job is not None:
        return cancel(tx, job.id, user)
    tx.tables.put_tombstone(user, key, tx.now + age_s, now=tx.now, most=most)
    return CancelResult(CancelAnswer.ACCEPTED)
