"""The transactions on completions, written once over the ``Tables`` of any engine."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from trouper.store import rules
from trouper.store.completions import Completion, CompletionClaims, CompletionRows, SettleCompletion, TryEnd
from trouper.store.leases import Begun
from trouper.store.transaction import Transaction


def claim(
    tx: Transaction, limit: int, names: Collection[str] | None, begun: Begun | None
) -> CompletionClaims:
    """Count a try of each that is due, before its hook runs."""
    rows, live = tx.tables.completions, tx.tables.nodes.live
    if not live(tx.boot):
        return CompletionClaims((), None, rows.dead_count(), tx.now)
    if begun is not None:
        _give_back(rows, begun)
    rows.unclaim(lambda boot: not live(boot))
    started = []
    known = tx.tables.nodes.known()
    elsewhere = frozenset[str]() if names is None or known is None else frozenset(known) - frozenset(names)
    for row in rows.due(tx.now, limit, elsewhere):
        job = tx.tables.job(row.job)
        if job is None:  # one of the two rows is damaged: nothing can be run, and it is shown
            rows.put(attrs.evolve(row, dead_at=tx.now, error=f"there is no job {row.job!r}"))
            continue
        row = attrs.evolve(row, tries=row.tries + 1, claimed_at=tx.now, claimed_by=tx.boot)
        rows.put(row)
        started.append((row, job))
    return CompletionClaims(tuple(started), rows.next_due_at(tx.now), rows.dead_count(), tx.now)


def _give_back(rows: CompletionRows, begun: Begun) -> None:
    for boot in begun.boots:
        for row in rows.claimed(boot):
            if (row.job, row.tries) not in begun.of:
                rows.put(_released(row))


def _released(row: Completion) -> Completion:
    return attrs.evolve(row, claimed_at=None, claimed_by=None, run_at=0.0, tries=max(0, row.tries - 1))


def settle(tx: Transaction, request: SettleCompletion) -> Completion | None:
    rows = tx.tables.completions
    row = rows.get(request.job_id)
    if row is None or request.end is TryEnd.DONE:
        rows.remove(request.job_id)
        return None
    if row.claimed_at is None or row.tries != request.tries:
        return row
    if request.end is TryEnd.RELEASED:
        row = _released(row)
    else:
        after_s = request.retry_after_s
        row = attrs.evolve(
            row,
            claimed_at=None,
            claimed_by=None,
            error=rules.printable(request.error),
            run_at=row.run_at if after_s is None else tx.now + after_s,
            dead_at=tx.now if after_s is None else None,
        )
    rows.put(row)
    return row


def retry(tx: Transaction, job_id: str) -> bool:
    row = tx.tables.completions.get(job_id)
    if row is None or row.dead_at is None:
        return False
    tx.tables.completions.put(Completion(job=job_id, error=row.error))
    return True
