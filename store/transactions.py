"""The transactions, written once, over the ``Tables`` of any engine.

Each is a synchronous function of (transaction, request) → result, and decides before it writes. A
refusal is a returned value. What was changed is gathered in ``Changed``, of which the engine makes
one ``CommitNotice`` for all the transactions of a commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import attrs

from trouper.store import asking, rules, waiting
from trouper.store.errors import DataRefused, StoreCorrupt
from trouper.store.leases import Begun
from trouper.store.lifecycle import JobEvent
from trouper.store.protocol import (
    APPENDED,
    Append,
    Appended,
    Claims,
    EndingKind,
    Finish,
    Finished,
    Mark,
    Names,
    Notified,
    Notify,
    RefusalReason,
    Refused,
    Saved,
    Savepoint,
)
from trouper.store.records import Counts, Job, JobState, Notification
from trouper.store.tables import FIRST_TURN, Candidate, Head, Tables, payload_of
from trouper.store.transaction import Transaction, check_text
from trouper.store.waiting import AT_A_TIME

# --- claim -----------------------------------------------------------------------------------------


def claim(
    tx: Transaction, limit: int, per_user: int | None, names: Names, begun: Begun | None = None
) -> Claims:
    """Orphans first, then what is due, in turn by user (J4); what is only to be ended does not count."""
    if not tx.tables.nodes.live(tx.boot):
        return Claims((), (), None, tx.now, tx.tables.count_state(JobState.QUEUED))
    tx.tables.nodes.register(tx.boot, names.known)
    if begun is not None:
        _give_back(tx, begun)
    anywhere = Names(tx.tables.nodes.known(), names.unknown_job_s)
    started: list[Job] = []
    _mark_unknown(tx, anywhere)
    asking.tell_moved(tx)
    ended = _end_expired(tx, anywhere)
    candidates = _candidates(tx, per_user, names)
    while len(started) < limit and (candidate := next(candidates, None)) is not None:
        job = tx.alone(candidate, partial(_claim_one, names=names, anywhere=anywhere))
        if job is None:
            continue
        if job.state is not JobState.RUNNING:
            ended += [job] * job.state.terminal
            continue
        started.append(job)
        if candidate.job.state is JobState.QUEUED:  # one that its process left had its turn
            tx.tables.served(job.user)
    next_due_at = tx.tables.next_due_at(tx.now)
    if next_due_at is not None and next_due_at > waiting.NEVER / 2:  # only what waits for a person
        next_due_at = None
    queued = tx.tables.count_state(JobState.QUEUED)
    return Claims(tuple(started), tuple(ended), next_due_at, tx.now, queued)


def _give_back(tx: Transaction, begun: Begun) -> None:
    """Before orphans are looked for: what was never begun is none, though its boot may be dead."""
    for boot in begun.boots:
        for candidate in tx.tables.running(boot):
            if (candidate.job.id, candidate.job.attempt) not in begun.of:
                tx.alone(candidate, _unbegin)


def _unbegin(tx: Transaction, job: Job) -> Job:
    tx.tables.settle_log(job)
    return tx.update_job(rules.unbegun_row(job, tx.now))


def _mark_unknown(tx: Transaction, anywhere: Names) -> None:
    """See that a row whose name no node knows says so, and one whose name is known again does not. What is
    left over is the next claim's, which is due by the rows that this one changed."""
    if anywhere.known is None:
        return
    for wrong in (tx.tables.unmarked, tx.tables.marked):
        for candidate in wrong(anywhere.known, AT_A_TIME):
            tx.alone(candidate, partial(_mark, anywhere=anywhere))


def _mark(tx: Transaction, job: Job, anywhere: Names) -> Job:
    if job.name in anywhere:
        return tx.update_job(waiting.known_row(job))
    return tx.update_job(waiting.unknown_row(job, now=tx.now, unknown_job_s=anywhere.unknown_job_s))


def _end_expired(tx: Transaction, anywhere: Names) -> list[Job]:
    """End what has waited too long, whether there is room to run anything or not."""
    ended: list[Job] = []
    for _ in range(AT_A_TIME):
        candidate = tx.tables.next_expired(tx.now)
        if candidate is None:
            break
        job = tx.alone(candidate, partial(_end_one, anywhere=anywhere))
        ended += [job] if job is not None and job.state.terminal else []
    return ended


def _end_one(tx: Transaction, job: Job, anywhere: Names) -> Job:
    verdict = rules.judge_claim(job, tx.now, known=job.name in anywhere)
    # Otherwise its name is known again, and it only had not been told so yet.
    return _end_unrun(tx, job, verdict) if isinstance(verdict, rules.EndUnrun) else _mark(tx, job, anywhere)


def _candidates(tx: Transaction, per_user: int | None, names: Names) -> Iterator[Candidate]:
    """Rows to claim, each of which is claimed or ended before the next is asked for."""
    place = 0
    while (orphan := tx.tables.next_orphan(tx.boot, place)) is not None:
        yield orphan
        place = orphan.place
    # Who was passed over before ``turn`` is still blocked, and so is what lies before ``passed``.
    turn = FIRST_TURN
    passed: dict[str, int] = {}
    while (due := tx.tables.next_due(tx.now, per_user, turn, passed, names.known)) is not None:
        candidate, turn = due
        yield candidate
        job = candidate.job
        if job.attempt > 0 or job.reason == rules.UNDECODABLE:
            # It held its thread; if it was ended, a job that was passed over may be free now.
            passed.pop(job.user, None)
        else:
            passed[job.user] = candidate.place


def _claim_one(tx: Transaction, job: Job, names: Names, anywhere: Names) -> Job:
    verdict = rules.judge_claim(job, tx.now, known=job.name in names)
    if isinstance(verdict, rules.Wait):
        row = rules.put_back_row(job, verdict, tx.now)
        if row.name not in anywhere:
            row = waiting.unknown_row(row, now=tx.now, unknown_job_s=names.unknown_job_s)
        return tx.update_job(row)
    if isinstance(verdict, rules.Run):
        row = rules.claimed_row(job, verdict, boot=tx.boot, now=tx.now)
        try:
            tx.tables.begin_log(row)
        except StoreCorrupt:  # its log cannot be read: this job ends, the others go on (E1)
            verdict = rules.EndUnrun(JobEvent.LOSE, rules.UNDECODABLE, verdict.attempts_used)
        else:
            tx.close_question(job)
            return tx.update_job(row)
    return _end_unrun(tx, job, verdict)


def _end_unrun(tx: Transaction, job: Job, verdict: rules.EndUnrun) -> Job:
    tx.close_question(job)
    if verdict.event is JobEvent.CANCEL and job.superseded == rules.ROLLBACK:
        tx.tables.empty_log(job.id)
    entries, sha256 = tx.tables.hash_log(job.id)
    row = rules.unrun_row(job, verdict, now=tx.now, entries=entries, sha256=sha256)
    return tx.ended(row)[0]


# --- running ------------------------------------------------------------------------------------


def append(tables: Tables, request: Append, outputs: dict[str, tuple[int, int]]) -> Appended | Refused:
    """Put entries at the end of the log, judged by its head alone: this is the hot path, without a
    ``Transaction``. A log that grew is put to ``outputs``, as ``CommitNotice`` has them.

    A repetition after an unknown outcome starts before the end of the log: what is there already is
    compared and passed over.
    """
    head = tables.head(request.job_id)
    if head is None or head.fence != request.fence:
        return Refused(RefusalReason.FENCED, detail="this attempt is over")
    start, entries, used_ms = request.start, request.entries, request.used_ms
    try:
        payload = payload_of(entries)
    except TypeError as error:
        return Refused(RefusalReason.POISONED, head.entries, str(error))
    if start != head.entries:
        known = head.entries - start
        if not _repeats(tables, head, request, known):
            return Refused(RefusalReason.GAP, head.entries, f"the log ends at {head.entries}")
        entries = entries[known:]
        payload = payload_of(entries)
    if entries:
        tables.append(head, entries, payload, used_ms if used_ms > head.used_ms else head.used_ms)
        outputs[head.job_id] = (head.attempt, head.entries)
    return APPENDED


def _repeats(tables: Tables, head: Head, request: Append, known: int) -> bool:
    """Whether the first ``known`` entries of the request are the last ones of the log."""
    if request.start < 0 or not 0 < known <= len(request.entries):
        return False
    at = request.start
    while at < head.entries:
        page = tables.read_log(head.job_id, at, 1 << 18)
        offset = at - request.start
        if not page or list(request.entries[offset : offset + len(page)]) != page:
            return False
        at += len(page)
    return True


def savepoint(tx: Transaction, request: Savepoint) -> Saved | Refused:
    job = tx.tables.job(request.job_id)
    refused = _refuse(tx, job, request.fence, saved=request.saved)
    if refused or job is None:
        return refused or Refused(RefusalReason.FENCED)
    if job.entries < request.entries:
        return Refused(RefusalReason.GAP, job.entries, f"the log ends at {job.entries}")
    heard = max(job.heard, min(request.heard, job.signals))
    if (job.savepoint, job.saved, job.heard) == (request.entries, request.saved, heard):
        return Saved(job)
    used_ms = max(job.used_ms, request.used_ms)
    return Saved(
        tx.update_job(
            attrs.evolve(job, savepoint=request.entries, saved=request.saved, heard=heard, used_ms=used_ms)
        )
    )


def unsafe(tx: Transaction, job_id: str, fence: int, step: str | None, used_ms: int) -> Saved | Refused:
    job = tx.tables.job(job_id)
    refused = _refuse(tx, job, fence, step=step)
    if refused or job is None:
        return refused or Refused(RefusalReason.FENCED)
    if job.unsafe == step:
        return Saved(job)
    return Saved(tx.update_job(attrs.evolve(job, unsafe=step, used_ms=max(job.used_ms, used_ms))))


def finish(tx: Transaction, request: Finish) -> Finished | Refused:
    """Terminal state (or the next attempt), log, inbox and feed in one (N1)."""
    job = tx.tables.job(request.job_id)
    if job is not None and rules.finished_before(job, request):
        notification = None
        if job.state.terminal:
            notification = tx.tables.notification(job.user, job.id, "ended", "")
        return Finished(job, notification)
    refused = _refuse(tx, job, request.fence, result=request.result, reason=request.reason)
    if refused or job is None:
        return refused or Refused(RefusalReason.FENCED)
    if job.entries != request.entries:
        return Refused(RefusalReason.GAP, job.entries, f"the log ends at {job.entries}")
    if request.kind is EndingKind.ASKED:
        if request.question is None:
            return Refused(RefusalReason.POISONED, job.entries, "an attempt that asks has a question")
        check_text(key=request.question.key, question=request.question.question)
    row = rules.ended_attempt(job, request, tx.now)
    tx.tables.settle_log(job)
    ended, notification = tx.ended(row)
    return Finished(ended, notification or asking.asked(tx, ended, request))


def lose(tx: Transaction, job_id: str, fence: int, reason: str) -> Finished | Refused:
    """End a job whose output cannot be read whole: with the part that can (E1)."""
    job = tx.tables.job(job_id)
    refused = _refuse(tx, job, fence, reason=reason)
    if refused or job is None:
        return refused or Refused(RefusalReason.FENCED)
    tx.tables.settle_log(job)
    entries, sha256 = tx.tables.hash_log(job.id)
    return Finished(*tx.ended(rules.lost_row(job, reason, now=tx.now, entries=entries, sha256=sha256)))


def notify(tx: Transaction, request: Notify) -> Notified | Refused:
    job = tx.tables.job(request.job_id)
    refused = _refuse(tx, job, request.fence, key=request.key, title=request.title, body=request.body)
    if refused or job is None:
        return refused or Refused(RefusalReason.FENCED)
    before = tx.tables.notification(job.user, job.id, "message", request.key)
    if before is not None:
        return Notified(before, created=False)
    notification = Notification(
        id=request.id,
        user=job.user,
        job=job.id,
        thread=job.thread,
        kind="message",
        key=request.key,
        title=request.title,
        body=request.body,
        created_at=tx.now,
    )
    if request.used_ms > job.used_ms:
        tx.update_job(attrs.evolve(job, used_ms=request.used_ms))
    return Notified(tx.insert_notification(notification), created=True)


def _refuse(tx: Transaction, job: Job | None, fence: int, **text: str | None) -> Refused | None:
    refused = rules.refuse_write(job, fence, tx.boot)
    if refused is None:
        try:
            check_text(**text)
        except DataRefused as error:
            return Refused(RefusalReason.POISONED, detail=str(error))
    return refused


# --- people -------------------------------------------------------------------------------------


def mark(
    tx: Transaction,
    user: str,
    mark: Mark,
    *,
    ids: tuple[str, ...],
    job_id: str | None,
    upto_seq: int | None,
) -> Counts:
    """Set a mark where it is not set yet; the feed moves only if something changed (N5)."""
    if mark not in ("seen", "read", "archived"):
        raise DataRefused(f"no such mark: {mark!r} (legal: seen, read, archived)")
    check_text(user=user, job_id=job_id, **{f"ids[{place}]": id for place, id in enumerate(ids)})
    seq = tx.tables.feed(user)[0] + 1
    if tx.tables.mark(user, mark, ids=ids, job_id=job_id, upto_seq=upto_seq, at=tx.now, seq=seq):
        tx.stamp(user)
    return tx.tables.counts(user)
