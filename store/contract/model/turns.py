"""Whose turn it is, how many may wait and run, and the places in the queue (J4)."""

from __future__ import annotations

import attrs

from trouper.store.contract.model.core import Core
from trouper.store.contract.model.rows import Row
from trouper.store.protocol import Admission


@attrs.define(slots=False, kw_only=True)
class Turns(Core):
    starts: int = 0
    served: dict[str, int] = attrs.field(factory=dict)
    """User → the start that was this user's last."""
    since: dict[str, int] = attrs.field(factory=dict)
    """User → the job with which the present wait began."""

    def refuse(self, spec: Admission) -> object:
        leaving = sum(row.state == "queued" for row in self.displaced(spec))
        if len(self.queued()) - leaving >= spec.max_queued:
            return "full", False
        if len(self.queued(spec.user)) - leaving >= spec.max_queued_per_user:
            return "full", True
        return super().refuse(spec)

    def enter(self, spec: Admission) -> Row:
        if not self.queued(spec.user):
            self.since[spec.user] = len(self.jobs)
        return super().enter(spec)

    def may_start(self, row: Row, per_user: int | None = None) -> bool:
        running = sum(other.state == "running" for other in self.active(row.spec.user))
        return super().may_start(row, per_user) and (per_user is None or running < per_user)

    def turn(self, row: Row) -> tuple[int, ...]:
        """Users take turns; of each the oldest is first."""
        user = row.spec.user
        return self.served.get(user, -1), self.since[user], *super().turn(row)

    def start(self, row: Row) -> bool:
        if row.state == "queued":  # one that its process left had its turn
            self.starts += 1
            self.served[row.spec.user] = self.starts
        return super().start(row)

    def places(self) -> dict[str, int]:
        """Of those that may start: users take turns, each with the oldest first."""
        free = [row for row in self.queued() if self.may_start(row) and row.unknown_until is None]
        threads = [(row.spec.user, row.spec.thread or row.id) for row in free]
        due = [row for at, row in enumerate(free) if threads[at] not in threads[:at]]
        rounds = [sum(row.spec.user == other.spec.user for other in due[:n]) for n, row in enumerate(due)]
        line = sorted(zip(rounds, map(self.turn, due), due, strict=True), key=lambda each: each[:2])
        return {row.id: place for place, (_, _, row) in enumerate(line, 1)}
