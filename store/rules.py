"""What each transaction decides, as pure functions on rows: the same for every engine.

Nothing here reads a table, a clock or a random source; what a decision needs is handed in. The
engines differ in where rows lie, never in what becomes of a job.
"""

from __future__ import annotations

from typing import Any

import attrs

from trouper.store.lifecycle import JobEvent, after
from trouper.store.output_log import OutputHash
from trouper.store.protocol import (
    Admission,
    Admitted,
    Conflict,
    EndingKind,
    Finish,
    RefusalReason,
    Refused,
)
from trouper.store.questions import shown
from trouper.store.records import Job, JobOptions, JobState, Notification
from trouper.store.waiting import NEVER, UNKNOWN_JOB, queued_row

ERROR_CHARS_MAX = 8_000
"""How much of an error's text a row keeps, in characters."""

NOTIFICATION_BODY_CHARS_MAX = 300
"""How much of an error's text the notification of an ending shows, in characters."""

RETRY_AFTER_MAX_S = 365 * 24 * 3600.0
"""The longest delay that an attempt may ask for, in seconds."""

UNDECODABLE = "undecodable"
"""The reason of a row that the database could not give back whole: it is ended, never run (E1)."""


SUPERSEDED = "superseded"
"""The reason of a job that a later one of its thread had ended."""

ROLLBACK = "rollback"


# --- admit --------------------------------------------------------------------------------------


def admitted_row(admission: Admission, now: float) -> Job:
    """The row of a new job. It is due from the beginning of time, not from ``now``: a wall clock
    that is set back must not hold up what was submitted before."""
    job = Job(
        id=admission.id,
        user=admission.user,
        name=admission.name,
        thread=admission.thread,
        arguments=admission.arguments,
        idempotency_key=admission.idempotency_key,
        fingerprint=admission.fingerprint,
        options=admission.options,
        at=admission.at,
        created_at=now,
    )
    delayed_to = now + admission.delay_s if admission.delay_s > 0 else 0.0
    return queued_row(job, delayed_to if admission.at is None else admission.at, now)


def admitted_before(job: Job, admission: Admission) -> Admitted | Conflict:
    """What a submit meets whose id or key is taken by ``job`` (J3)."""
    if job.user != admission.user or job.fingerprint != admission.fingerprint:
        return Conflict(job.id)
    # With the same id it is the same admission, repeated since its outcome was not known.
    return Admitted(job, created=job.id == admission.id)


# --- claim --------------------------------------------------------------------------------------


@attrs.frozen
class Run:
    """Claim the row and run it."""

    attempts_used: int


@attrs.frozen
class EndUnrun:
    """Claim the row only to end it."""

    event: JobEvent
    reason: str
    attempts_used: int


@attrs.frozen
class Wait:
    """Leave the row in the queue, or put it back there: its name is not known."""

    attempts_used: int


def judge_claim(job: Job, now: float, *, known: bool = True) -> Run | EndUnrun | Wait:
    """What to do with a row that may be claimed: a queued one that is due or whose time in the queue is
    over, or (``RUNNING``) one whose process died. The first that holds of: an unsafe step under way (J6:
    whether it took effect is not known, and that must be told rather than anything else), a later job of
    the thread that wants it ended (J4), an intent to cancel (J2), no running time left, no time in the
    queue left, no attempts left; and whether its name is ``known``."""
    # An orphan counts, also one that may never have begun: of an attempt that wrote nothing the row cannot
    # tell it, and one that killed its process at once must not be begun for ever. A second write, between
    # the claim and the start, would cost each start a commit, and what dies between that one and its start
    # would be counted all the same.
    orphan = job.state is JobState.RUNNING
    used = job.attempts_used + 1 if orphan else job.attempts_used
    if job.reason == UNDECODABLE:
        return EndUnrun(JobEvent.LOSE, UNDECODABLE, used)
    if job.unsafe is not None:
        return EndUnrun(JobEvent.LOSE, f"unsafe:{job.unsafe}", used)
    if job.superseded:
        return EndUnrun(JobEvent.CANCEL, SUPERSEDED, used)
    if job.cancel_requested:
        return EndUnrun(JobEvent.CANCEL, "user", used)
    if job.options.timeout_s is not None and job.used_ms >= job.options.timeout_s * 1000:
        return EndUnrun(JobEvent.TIME_OUT, "timeout", used)
    if not orphan and job.expires_at is not None and job.expires_at <= now:
        return EndUnrun(JobEvent.TIME_OUT, "queue_timeout", used)
    if orphan and job.options.on_process_death == "end":
        return EndUnrun(JobEvent.LOSE, "process_death", used)
    if orphan and used >= job.options.attempts:
        return EndUnrun(JobEvent.LOSE, "attempts", used)
    if known:
        return Run(used)
    if not orphan and job.unknown_until is not None and job.unknown_until <= now:
        return EndUnrun(JobEvent.LOSE, UNKNOWN_JOB, used)
    return Wait(used)


def claimed_row(job: Job, verdict: Run, *, boot: int, now: float) -> Job:
    """The row of the next attempt, whose log was cut to the savepoint (O3)."""
    began_after = job.began_after
    if job.state is JobState.RUNNING:
        began_after = "process_death"
    elif job.asking is not None:
        began_after = "unanswered"
    return attrs.evolve(
        job,
        state=after(job.state, JobEvent.CLAIM),
        reason=None,
        error=None,
        attempt=job.attempt + 1,
        attempts_used=verdict.attempts_used,
        began_after=began_after,
        given=job.heard,
        fence=job.fence + 1,
        boot=boot,
        stuck=False,
        expires_at=None,
        unknown_until=None,
        asking=None,
        started_at=now if job.started_at is None else job.started_at,
        keeps=(*job.keeps, job.savepoint),
        entries=job.savepoint,
    )


def put_back_row(job: Job, verdict: Wait, now: float) -> Job:
    """The row of a job whose process died, back in the queue: whoever knows its name may claim it."""
    state = after(job.state, JobEvent.RELEASE)
    used = verdict.attempts_used
    why = "process_death"
    row = attrs.evolve(job, state=state, reason=why, boot=None, attempts_used=used, began_after=why)
    return queued_row(row, 0.0, now)


def unbegun_row(job: Job, now: float) -> Job:
    """The row of a claim of which its process was not told, so that nothing ran: due as before it."""
    state, why = after(job.state, JobEvent.RELEASE), "released"
    row = attrs.evolve(job, state=state, reason=why, boot=None, began_after=job.began_after or why)
    return queued_row(row, 0.0, now)


def lost_row(job: Job, reason: str, *, now: float, entries: int, sha256: str) -> Job:
    """A running job that ends with what is left of its output."""
    return attrs.evolve(
        job,
        state=after(job.state, JobEvent.LOSE),
        reason=reason,
        boot=None,
        ended_at=now,
        entries=entries,
        sha256=sha256,
    )


def unrun_row(job: Job, verdict: EndUnrun, *, now: float, entries: int, sha256: str) -> Job:
    """The row of a claim made only to end it: an attempt more, and nothing cut (O3)."""
    return attrs.evolve(
        job,
        state=after(job.state, verdict.event),
        reason=verdict.reason,
        attempt=job.attempt + 1,
        attempts_used=verdict.attempts_used,
        fence=job.fence + 1,
        boot=None,
        asking=None,
        ended_at=now,
        keeps=(*job.keeps, entries),
        entries=entries,
        sha256=sha256,
    )


# --- write and finish ---------------------------------------------------------------------------


def refuse_write(job: Job | None, fence: int, boot: int) -> Refused | None:
    """Why an attempt that holds ``fence`` may not write into ``job``; None if it may."""
    if job is None or job.state is not JobState.RUNNING or job.fence != fence or job.boot != boot:
        return Refused(RefusalReason.FENCED, detail="this attempt is over")
    return None


def finished_before(job: Job, finish: Finish) -> bool:
    """Whether this very finish was carried out already: fences rise at claims, so a row that has
    left ``RUNNING`` with the fence of the request was ended by it (a stuck one raised it)."""
    if job.state is JobState.RUNNING or job.attempt == 0:
        return False
    return job.fence == finish.fence or (finish.stuck and job.stuck and job.fence == finish.fence + 1)


def backoff_s(options: JobOptions, retry: int, jitter: float) -> float:
    """The delay before retry ``retry`` (from 1), with full jitter: ``jitter`` is a draw from [0, 1)."""
    try:
        ceiling = options.backoff_base_s * options.backoff_factor ** (retry - 1)
    except OverflowError:
        ceiling = options.backoff_max_s
    return jitter * min(options.backoff_max_s, ceiling)


_BROKEN_OFF = (EndingKind.CRASHED, EndingKind.IDLE, EndingKind.RELEASED, EndingKind.ASKED)
"""The ends of an attempt that had not done what it was to do: another may follow."""


def _ending_event(job: Job, finish: Finish, used: int) -> tuple[JobEvent, str | None]:
    """What the end of an attempt means for its job, and the reason to keep with it.

    Once a later job of the thread has had it ended, however it ends is ``superseded`` (J4, J5), but for
    an unsafe step of which nobody knows how far it came.
    """
    broken_off = finish.kind in _BROKEN_OFF and job.unsafe is not None
    if job.superseded and not broken_off:
        return JobEvent.CANCEL, SUPERSEDED
    match finish.kind:
        case EndingKind.RETURNED:  # also if a cancel was requested: the work is done
            return JobEvent.COMPLETE, finish.reason
        case EndingKind.FAILED:
            return JobEvent.FAIL, finish.reason or "fail"
        case EndingKind.CANCELLED:
            return JobEvent.CANCEL, finish.reason or "user"
        case EndingKind.TIMED_OUT:
            return JobEvent.TIME_OUT, finish.reason or "timeout"
        case EndingKind.CRASHED | EndingKind.IDLE | EndingKind.RELEASED | EndingKind.ASKED:
            if job.unsafe is not None:  # to run again would repeat it
                return JobEvent.LOSE, f"unsafe:{job.unsafe}"
            if job.cancel_requested:
                return JobEvent.CANCEL, "user"
            if finish.kind is EndingKind.RELEASED:
                return JobEvent.RELEASE, finish.reason or "released"
            if finish.kind is EndingKind.ASKED:
                return JobEvent.ASK, "question"
            idle = finish.kind is EndingKind.IDLE
            reason = finish.reason or ("idle_timeout" if idle else "crash")
            if used < job.options.attempts:
                return JobEvent.RETRY, reason
            return (JobEvent.TIME_OUT if idle else JobEvent.FAIL), reason


def ended_attempt(job: Job, finish: Finish, now: float) -> Job:
    """The row after an attempt has ended: terminal, or queued for the next attempt (J5)."""
    used = job.attempts_used + (finish.kind in (EndingKind.CRASHED, EndingKind.IDLE))
    event, reason = _ending_event(job, finish, used)
    state = after(job.state, event)
    ended: dict[str, Any] = {}  # one copy of the row: each costs as much as a statement
    if state.terminal:
        result = finish.result if event is JobEvent.COMPLETE else None
        ended = {"ended_at": now, "sha256": finish.sha256, "result": result}
    else:
        ended = {"began_after": reason}
    row = attrs.evolve(
        job,
        state=state,
        reason=reason,
        error=printable(finish.error),
        attempts_used=used,
        fence=job.fence + finish.stuck,
        stuck=finish.stuck,
        boot=None,
        used_ms=max(job.used_ms, finish.used_ms),
        entries=finish.entries,
        **ended,
    )
    if state.terminal:
        return row
    if event is JobEvent.ASK and finish.question is not None:
        row = attrs.evolve(row, asking=shown(finish.question, now))
    return queued_row(row, _run_at(row, finish, event, now), now)


def _run_at(row: Job, finish: Finish, event: JobEvent, now: float) -> float:
    if event is JobEvent.RELEASE:
        return 0.0
    if event is JobEvent.ASK:
        timeout_s = None if finish.question is None else finish.question.timeout_s
        return NEVER if timeout_s is None else now + timeout_s
    if finish.retry_after_s is None:
        return now + backoff_s(row.options, row.attempts_used, finish.jitter)
    asked = finish.retry_after_s if finish.retry_after_s > 0 else 0.0  # NaN is not above 0 either
    return now + min(asked, RETRY_AFTER_MAX_S)


def printable(error: str | None) -> str | None:
    """An error's text as a row can hold it. An exception may say anything, lone surrogates too, and
    no text may keep a job from ending."""
    if error is None:
        return None
    return error[:ERROR_CHARS_MAX].encode(errors="backslashreplace").decode()


# --- people -------------------------------------------------------------------------------------


def cancelled_unrun(job: Job, *, now: float, sha256: str) -> Job:
    """A queued job that was cancelled. Its attempt stays as it is: nobody ran it again."""
    return attrs.evolve(
        job,
        state=after(job.state, JobEvent.CANCEL),
        reason=SUPERSEDED if job.superseded else "user",
        cancel_requested=True,
        asking=None,
        ended_at=now,
        sha256=sha256,
    )


def superseded_row(job: Job, how: str) -> Job:
    """A job that a later one of its thread wants ended; what was rolled back once stays so."""
    how = ROLLBACK if job.superseded == ROLLBACK else how
    return attrs.evolve(job, superseded=how, cancel_requested=True)


def rolled_back(job: Job) -> bool:
    """Whether nothing may be left of what the job produced (J4)."""
    return job.state is JobState.CANCELLED and job.superseded == ROLLBACK


def emptied_row(job: Job) -> Job:
    """The row of a job without its output. To those who hold some of it this is as a further attempt
    that keeps nothing: they are told to drop it (O3)."""
    job = attrs.evolve(job, savepoint=0, saved=None, error=None, sha256=OutputHash().hexdigest())
    if job.entries == 0:
        return job
    return attrs.evolve(job, attempt=job.attempt + 1, keeps=(*job.keeps, 0), entries=0)


def ended_notification(job: Job, *, id: str, now: float) -> Notification | None:
    """The notification of an ended job, if its declaration wants one for this state (N1)."""
    if not job.state.terminal or job.state.value not in job.options.notify_on:
        return None
    return Notification(
        id=id,
        user=job.user,
        job=job.id,
        thread=job.thread,
        kind="ended",
        title=f"{job.name} {job.state.value.replace('_', ' ')}",
        body=(job.error or "")[:NOTIFICATION_BODY_CHARS_MAX],
        created_at=now,
    )
