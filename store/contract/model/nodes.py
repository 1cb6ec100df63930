"""Boots and their leases, the jobs that each node can run, and what it has begun (J6)."""

from __future__ import annotations

import math
from collections.abc import Collection

import attrs

from trouper.store.contract.model.core import Core
from trouper.store.contract.model.rows import Row
from trouper.store.contract.model.steps import Ending
from trouper.store.leases import Begun
from trouper.store.protocol import Names


def unbegun(begun: Begun | None, boot: int | None, id: str, number: int) -> bool:
    """Whether what is claimed under ``boot`` was never begun by the process that claims now."""
    return begun is not None and boot in begun.boots and (id, number) not in begun.of


@attrs.define(slots=False, kw_only=True)
class Nodes(Core):
    lease_s: float = math.inf
    names_of: dict[int, Collection[str] | None] = attrs.field(factory=dict)
    """Live boot → what its node can run."""
    live_until: dict[int, float] = attrs.field(factory=dict)
    """Live boot → when its lease ends."""
    unknown_job_s: float = 0.0

    # --- boots ---

    def begin(self, boot: int, instead: int | None = None) -> None:
        """A node acts under ``boot`` from now on, and nobody under ``instead``."""
        self.names_of.pop(instead or 0, None)
        self.boot, self.names_of[boot] = boot, ()
        self.live_until[boot] = self.clock() + self.lease_s

    def renew(self) -> bool:
        """Prolong the lease of the node which acts; False: it has run out."""
        self.bury()
        if self.live:
            self.live_until[self.boot] = self.clock() + self.lease_s
        return self.live

    def bury(self) -> None:
        """Forget the boots whose lease has run out."""
        for boot in [boot for boot in self.names_of if self.live_until[boot] <= self.clock()]:
            del self.names_of[boot]

    @property
    def live(self) -> bool:
        """Whether the node which acts may claim, and write into what it claimed."""
        return self.boot in self.names_of

    def orphaned(self, row: Row) -> bool:
        return row.boot not in self.names_of

    def held_by(self, job_id: str, fence: int) -> Row | None:
        return super().held_by(job_id, fence) if self.live else None

    # --- claims ---

    def claim(self, limit: int, per_user: int | None, *, names: Names, begun: Begun | None = None) -> object:
        if not self.live:
            return [], [], None, len(self.queued())
        for row in self.active():
            if row.state == "running" and unbegun(begun, row.boot, row.id, row.attempt):
                row.reason, row.began_after = "released", row.began_after or "released"
                self.wait(row, 0.0)
        self.names_of[self.boot], self.unknown_job_s = names.known, names.unknown_job_s
        for row in self.queued():
            if not self.known(row) and row.unknown_until is None:
                self._tell_unknown(row)
            elif self.known(row) and row.unknown_until is not None:
                row.reason, row.unknown_until = "question" if row.asking else None, None
        return super().claim(limit, per_user, names=names, begun=begun)

    def known(self, row: Row) -> bool:
        """Whether one live node or another can run it."""
        return any(names is None or row.spec.name in names for names in self.names_of.values())

    def can_run(self, row: Row) -> bool:
        names = self.names_of[self.boot]
        return names is None or row.spec.name in names

    def _tell_unknown(self, row: Row) -> None:
        row.reason = "unknown_job"
        row.unknown_until = max(self.clock(), row.run_at) + self.unknown_job_s

    def start(self, row: Row) -> bool:
        if self.can_run(row):
            return super().start(row)
        self.wait(row, 0.0)
        row.reason = row.began_after = "process_death"
        if not self.known(row):
            self._tell_unknown(row)
        return False

    # --- waiting for a node ---

    def wait(self, row: Row, run_at: float) -> None:
        super().wait(row, run_at)
        row.unknown_until = None

    def times(self, row: Row) -> list[float]:
        return [*super().times(row), *([] if row.unknown_until is None else [row.unknown_until])]

    def overdue(self) -> list[Row]:
        first = super().overdue()
        ends = sorted((row.unknown_until, row.place, row) for row in self.queued() if row.unknown_until)
        return [*first, *(row for end, _, row in ends if end <= self.clock() and row not in first)]

    def ending(self, row: Row) -> Ending | None:
        late = row.state == "queued" and row.unknown_until is not None and row.unknown_until <= self.clock()
        return super().ending(row) or (("lost", "unknown_job") if late else None)
