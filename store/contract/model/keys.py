"""Keys that are cancelled before their job comes: remembered for a time, so many of a user (J2)."""

from __future__ import annotations

import attrs

from trouper.store.contract.model.core import Core
from trouper.store.contract.model.rows import Row
from trouper.store.protocol import Admission


@attrs.define(slots=False, kw_only=True)
class Keys(Core):
    tombstones: dict[tuple[str, str], float] = attrs.field(factory=dict)
    """(user, key) → until when."""

    def cancel_key(self, user: str, key: str) -> object:
        row = self.by_key(user, key)
        if row is not None:
            return self.cancel(row.id, user)
        self.tombstones[user, key] = self.clock() + self.options.tombstone_age_s
        left = {place: end for place, end in self.tombstones.items() if end > self.clock()}
        own = sorted((end, place) for place, end in left.items() if place[0] == user)
        for _, place in own[: max(0, len(own) - self.options.tombstones_per_user_max)]:
            del left[place]
        self.tombstones = left
        return "accepted"

    def _cancelled(self, spec: Admission) -> bool:
        return self.tombstones.get((spec.user, spec.idempotency_key or ""), 0.0) > self.clock()

    def refuse(self, spec: Admission) -> object:
        return None if self._cancelled(spec) else super().refuse(spec)

    def enter(self, spec: Admission) -> Row:
        if not self._cancelled(spec):
            return super().enter(spec)
        del self.tombstones[spec.user, spec.idempotency_key or ""]
        row = super().enter(attrs.evolve(spec, on_busy="enqueue"))  # it displaces nobody
        self.cancel_row(row)
        return row

    def jumped(self, by_s: float) -> None:
        super().jumped(by_s)
        self.tombstones = {key: end + by_s for key, end in self.tombstones.items()}
