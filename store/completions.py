"""Completions: what is still to be done for a job that has ended, and that its application's hook does.

A completion is written by the transaction that ends its job, so that none is forgotten, and removed when
the hook has returned, so that it runs at least once. A claim counts a try *before* the hook runs: one that
kills its process is counted too, and does not kill every process after it. One that is given up is *dead*:
kept, shown, and run again only if somebody asks for it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from typing import Protocol

import attrs

from trouper.store.leases import Begun
from trouper.store.records import Job


@attrs.frozen(kw_only=True)
class Completion:
    """One row: the hook of this job is to run. Times are wall-clock seconds since the epoch."""

    job: str
    """The job's id."""
    tries: int = 0
    """How often it was claimed; a try that was given back does not count."""
    run_at: float = 0.0
    """Not claimed before this."""
    claimed_at: float | None = None
    """When the try began that is under way; None while it waits, and when it is dead."""
    claimed_by: int | None = None
    """The boot under which that try was begun."""
    error: str | None = None
    """Why the last try failed."""
    dead_at: float | None = None
    """When it was given up; None if it was not."""


@attrs.frozen
class CompletionClaims:
    """What one claim did: the rows that the caller must run the hooks of, each with its ended job;
    when the earliest of the others falls due (None: none is); how many are dead; the store's clock."""

    started: tuple[tuple[Completion, Job], ...]
    next_due_at: float | None
    dead: int
    now: float


class TryEnd(enum.StrEnum):
    """How one try of a hook ended."""

    DONE = "done"
    FAILED = "failed"
    """It is tried again, or, without a time for that, dead."""
    RELEASED = "released"
    """Given back by a node that stops: due at once, and not counted."""


@attrs.frozen(kw_only=True)
class SettleCompletion:
    """How a try ended. Repeating it is safe; one that tells of an earlier try changes nothing, unless it
    is ``DONE``: then nothing is left to do."""

    job_id: str
    tries: int
    """The row's ``tries`` as it was claimed."""
    end: TryEnd
    error: str | None = None
    retry_after_s: float | None = None


class CompletionStore(Protocol):
    """The part of ``Store`` for completions."""

    async def claim_completions(
        self, limit: int, *, names: Collection[str] | None = None, begun: Begun | None = None
    ) -> CompletionClaims:
        """Claim up to ``limit`` rows that are due, in the order of their time. ``names``: the jobs that this
        node has (None: all); the rows of another that a live node has registered (see ``claim``) are left to
        that node. What was claimed and not settled under a boot that is not live any more is due again.
        ``begun``: an earlier claim was not answered; what of it was never begun is due again, and that try
        does not count. A dead boot claims nothing."""
        ...

    async def settle_completion(self, request: SettleCompletion) -> Completion | None:
        """The row as it is now; None if none is left."""
        ...

    async def dead_completions(self, *, before: str | None = None, limit: int = 50) -> tuple[Completion, ...]:
        """Those given up, whose job ended last first; ``before``: a job id, exclusive (unknown: nothing)."""
        ...

    async def retry_completion(self, job_id: str) -> bool:
        """Make a dead one due, as if it had never been tried; False if there is none."""
        ...


class CompletionRows(Protocol):
    """The rows inside one transaction, in the order in which their jobs ended."""

    def get(self, job_id: str) -> Completion | None: ...
    def put(self, row: Completion) -> None:
        """Insert or replace the row of its job."""
        ...

    def remove(self, job_id: str) -> None: ...
    def unclaim(self, gone: Callable[[int | None], bool]) -> None:
        """Let wait again what was claimed under boots that are ``gone``."""
        ...

    def claimed(self, boot: int) -> list[Completion]:
        """Those that are claimed under ``boot``."""
        ...

    def due(self, now: float, limit: int, elsewhere: Collection[str]) -> list[Completion]:
        """Those that wait with ``run_at`` ≤ ``now``, but for jobs of the names ``elsewhere``."""
        ...

    def next_due_at(self, now: float) -> float | None:
        """The earliest ``run_at`` above ``now`` of one that waits."""
        ...

    def clock_jumped(self, by_s: float) -> None:
        """Move ``run_at`` of those that wait along."""
        ...

    def dead(self, before: str | None, limit: int) -> list[Completion]:
        """Newest first."""
        ...

    def dead_count(self) -> int: ...


class MemoryCompletions:
    """``CompletionRows`` in a dictionary."""

    def __init__(self, name_of: Callable[[str], str]) -> None:
        self._rows: dict[str, Completion] = {}
        self._name_of = name_of

    def get(self, job_id: str) -> Completion | None:
        return self._rows.get(job_id)

    def put(self, row: Completion) -> None:
        self._rows[row.job] = row

    def remove(self, job_id: str) -> None:
        self._rows.pop(job_id, None)

    def unclaim(self, gone: Callable[[int | None], bool]) -> None:
        for row in list(self._rows.values()):
            if row.claimed_at is not None and gone(row.claimed_by):
                self.put(attrs.evolve(row, claimed_at=None, claimed_by=None, run_at=0.0))

    def claimed(self, boot: int) -> list[Completion]:
        return [row for row in self._rows.values() if row.claimed_by == boot and row.claimed_at is not None]

    def _waiting(self) -> list[Completion]:
        return [row for row in self._rows.values() if row.claimed_at is None and row.dead_at is None]

    def due(self, now: float, limit: int, elsewhere: Collection[str]) -> list[Completion]:
        due = [
            row for row in self._waiting() if row.run_at <= now and self._name_of(row.job) not in elsewhere
        ]
        return sorted(due, key=lambda row: row.run_at)[:limit]

    def next_due_at(self, now: float) -> float | None:
        return min((row.run_at for row in self._waiting() if row.run_at > now), default=None)

    def clock_jumped(self, by_s: float) -> None:
        for row in self._waiting():
            if row.run_at > 0:
                self.put(attrs.evolve(row, run_at=row.run_at + by_s))

    def dead(self, before: str | None, limit: int) -> list[Completion]:
        newest_first = list(reversed(self._rows))
        if before is not None:
            newest_first = newest_first[newest_first.index(before) + 1 :] if before in self._rows else []
        rows = [self._rows[job_id] for job_id in newest_first]
        return [row for row in rows if row.dead_at is not None][:limit]

    def dead_count(self) -> int:
        return sum(row.dead_at is not None for row in self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)
