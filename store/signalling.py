"""The transactions that put a message to a job and give it to an attempt, written once over the ``Tables`` of
any engine."""

from __future__ import annotations

import attrs

from trouper.store import rules
from trouper.store.protocol import RefusalReason, Refused
from trouper.store.signals import Heard, SignalAnswer, SignalClash, SignalRow, SignalsFull
from trouper.store.transaction import Transaction, check_text


def signal(
    tx: Transaction, row: SignalRow, user: str | None, *, pending_max: int, remembered: int
) -> SignalAnswer | SignalClash | SignalsFull:
    """The row of the job counts it, so the commit tells the attempt that runs."""
    check_text(id=row.id, body=row.body, sender=row.sender)
    job = tx.tables.job(row.job)
    if job is None or (user is not None and job.user != user):
        return SignalAnswer.UNKNOWN
    before = tx.tables.signals.get(job.id, row.id)
    if before is not None:
        return SignalAnswer.ACCEPTED if before.body == row.body else SignalClash()
    if job.state.terminal:
        return SignalAnswer.ALREADY_ENDED
    if job.signals - job.heard >= pending_max:
        return SignalsFull(pending_max)
    job = attrs.evolve(job, signals=job.signals + 1)
    tx.tables.signals.insert(attrs.evolve(row, seq=job.signals, sent_at=tx.now))
    tx.tables.signals.forget(job.id, job.heard - remembered)
    tx.update_job(job)
    return SignalAnswer.ACCEPTED


def hear(tx: Transaction, job_id: str, fence: int, after: int) -> Heard | Refused:
    """One by one: a page of them would be told as read while the attempt is at the first."""
    job = tx.tables.job(job_id)
    refused = rules.refuse_write(job, fence, tx.boot)
    if refused or job is None:
        return refused or Refused(RefusalReason.FENCED)
    row = next(iter(tx.tables.signals.after(job.id, after, 1)), None)
    upto = job.signals if row is None else row.seq
    if upto > job.given:
        tx.update_job(attrs.evolve(job, given=upto))
    return Heard(row, upto)
