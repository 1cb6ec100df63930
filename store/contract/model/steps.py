"""The steps that transactions are made of: to these the other chapters add, each for its own."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from trouper.store.contract.model.rows import Row
from trouper.store.options import StoreOptions
from trouper.store.protocol import Admission, Finish

Ending = tuple[str, str | None]
"""State and reason."""

AGAIN = ("crashed", "idle", "released", "asked")
"""The ends of an attempt that another one may follow."""


@attrs.define(slots=False, kw_only=True)
class Steps:
    clock: Callable[[], float]
    options: StoreOptions
    boot: int = 1
    """That of the node which acts."""
    jobs: dict[str, Row] = attrs.field(factory=dict)
    """By id, the oldest first."""

    # --- steps: who starts, and who does not ---

    def refuse(self, spec: Admission) -> object:
        """Why a submit is not accepted; None: it is."""
        return None

    def enter(self, spec: Admission) -> Row:
        row = self.jobs[spec.id] = Row(spec.id, spec, place=len(self.jobs))
        self.wait(row, 0.0)
        return row

    def displaced(self, spec: Admission) -> list[Row]:
        """Those that a submit wants ended."""
        return []

    def overdue(self) -> list[Row]:
        """Those that have waited too long."""
        return []

    def next(self, per_user: int | None) -> Row | None:
        orphans = [row for row in self.active() if row.state == "running" and self.orphaned(row)]
        due = [row for row in self.queued() if self.may_start(row, per_user) and self.can_run(row)]
        return orphans[0] if orphans else min(due, key=self.turn, default=None)

    def orphaned(self, row: Row) -> bool:
        """Whether nobody lives who could run it on."""
        return row.boot != self.boot

    def may_start(self, row: Row, per_user: int | None = None) -> bool:
        return row.run_at <= self.clock()

    def can_run(self, row: Row) -> bool:
        """Whether the node which acts can."""
        return True

    def turn(self, row: Row) -> tuple[int, ...]:
        """Whose is the least starts next."""
        return (row.place,)

    def times(self, row: Row) -> list[float]:
        """When something happens to a row that waits."""
        return [row.run_at] if row.run_at > self.clock() else []

    def ending(self, row: Row) -> Ending | None:
        """What it is claimed for only to become; None: it runs."""
        options = row.spec.options
        if row.cancel_requested:
            return "cancelled", "user"
        if row.state == "running" and options.on_process_death == "end":
            return "lost", "process_death"
        if row.state == "running" and row.attempts_used >= options.attempts:
            return "lost", "attempts"
        return None

    # --- steps: what becomes of a row ---

    def start(self, row: Row) -> bool:
        """The next attempt: what was written behind the savepoint is gone. False: it waits instead."""
        row.began_after = "process_death" if row.state == "running" else row.began_after
        row.state, row.reason, row.boot, row.stuck = "running", None, self.boot, False
        row.attempt, row.fence, row.keeps = row.attempt + 1, row.fence + 1, (*row.keeps, row.savepoint)
        del row.log[row.savepoint :]
        return True

    def state_after(self, row: Row, kind: str) -> Ending:
        """Of an attempt that ended so."""
        if kind not in AGAIN:
            reasons = {"returned": None, "failed": "fail", "cancelled": "user", "timed_out": "timeout"}
            return "completed" if kind == "returned" else kind, reasons[kind]
        if row.cancel_requested:
            return "cancelled", "user"
        reason = {"crashed": "crash", "idle": "idle_timeout", "asked": "question"}.get(kind, kind)
        if kind in ("released", "asked") or row.attempts_used < row.spec.options.attempts:
            return "queued", reason
        return "timed_out" if kind == "idle" else "failed", reason

    def due_again(self, row: Row, request: Finish) -> float:
        """When the next attempt may begin."""
        return 0.0

    def wait(self, row: Row, run_at: float) -> None:
        """It is in the queue from now on, due at ``run_at``."""
        row.state, row.boot, row.run_at = "queued", None, run_at

    def cancel_row(self, row: Row) -> None:
        row.cancel_requested = True
        if row.state == "queued":
            self.end(row, "cancelled", "user")

    def end_unrun(self, row: Row) -> tuple[str, str]:
        """A claim made only to end it cuts nothing."""
        ending = self.ending(row)
        assert ending is not None
        row.attempt, row.fence, row.keeps = row.attempt + 1, row.fence + 1, (*row.keeps, len(row.log))
        self.end(row, *ending)
        return row.id, row.state

    def end(self, row: Row, state: str, reason: str | None) -> None:
        row.state, row.reason, row.boot = state, reason, None

    def jumped(self, by_s: float) -> None:
        """The wall clock was set."""

    # --- which rows ---

    def active(self, user: str | None = None) -> list[Row]:
        return [row for row in self.jobs.values() if row.active and user in (None, row.spec.user)]

    def queued(self, user: str | None = None) -> list[Row]:
        return [row for row in self.active(user) if row.state == "queued"]

    def by_key(self, user: str, key: str | None) -> Row | None:
        keys = {(row.spec.user, row.spec.idempotency_key): row for row in self.jobs.values()}
        return keys.get((user, key)) if key is not None else None

    def seen_by(self, job_id: str, user: str | None) -> Row | None:
        """The job, if it is one of ``user`` (None: of anybody)."""
        row = self.jobs.get(job_id)
        return row if row is not None and user in (None, row.spec.user) else None

    def held_by(self, job_id: str, fence: int) -> Row | None:
        """The job, if ``fence`` is that of an attempt that runs here."""
        row = self.jobs.get(job_id)
        here = row is not None and (row.state, row.fence, row.boot) == ("running", fence, self.boot)
        return row if here else None
