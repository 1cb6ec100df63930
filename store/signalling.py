"""The transaction that puts a message to a job, written once over the ``Tables`` of any engine."""

from __future__ import annotations

import attrs

from trouper.store.signals import SignalAnswer, SignalClash, SignalRow, SignalsFull
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
