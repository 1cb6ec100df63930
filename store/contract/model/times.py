"""When a job is due, how long it may wait and run, and what a clock that is set does to it (J5)."""

from __future__ import annotations

from trouper.store.contract.model.core import Core
from trouper.store.contract.model.rows import Row
from trouper.store.contract.model.steps import Ending
from trouper.store.protocol import Admission, Finish


class Times(Core):
    def enter(self, spec: Admission) -> Row:
        row = super().enter(spec)
        delayed_to = self.clock() + spec.delay_s if spec.delay_s > 0 else 0.0
        self.wait(row, delayed_to if spec.at is None else spec.at)
        return row

    def due_again(self, row: Row, request: Finish) -> float:
        if request.kind == "released":
            return 0.0
        if request.retry_after_s is not None:
            return self.clock() + request.retry_after_s
        options = row.spec.options
        longest = options.backoff_base_s * options.backoff_factor ** (row.attempts_used - 1)
        return self.clock() + request.jitter * min(options.backoff_max_s, longest)

    def wait(self, row: Row, run_at: float) -> None:
        super().wait(row, run_at)
        limit_s = row.spec.options.queue_timeout_s
        row.expires_at = None if limit_s is None else max(self.clock(), run_at) + limit_s

    def times(self, row: Row) -> list[float]:
        return [*super().times(row), *([] if row.expires_at is None else [row.expires_at])]

    def overdue(self) -> list[Row]:
        ends = sorted((row.expires_at, row.place, row) for row in self.queued() if row.expires_at is not None)
        return [*super().overdue(), *(row for end, _, row in ends if end <= self.clock())]

    def ending(self, row: Row) -> Ending | None:
        late = row.state == "queued" and row.expires_at is not None and row.expires_at <= self.clock()
        ending, limit_s = super().ending(row), row.spec.options.timeout_s
        if limit_s is not None and row.used_ms >= limit_s * 1000 and ending != ("cancelled", "user"):
            return "timed_out", "timeout"
        return ending or (("timed_out", "queue_timeout") if late else None)

    def jumped(self, by_s: float) -> None:
        """What is to happen after a time moves along; what is to happen at a time stays, but for its bounds,
        if by the jump it is late."""
        super().jumped(by_s)
        for row in self.queued():
            at = row.spec.at
            if at is not None and row.run_at == at > self.clock() - by_s:
                by = max(0.0, self.clock() - at)
            else:
                by = by_s
                row.run_at += by if row.run_at > 0 else 0.0
            row.expires_at = None if row.expires_at is None else row.expires_at + by
            row.unknown_until = None if row.unknown_until is None else row.unknown_until + by
