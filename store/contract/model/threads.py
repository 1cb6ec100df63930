"""Threads: one of their jobs at a time, and what a submit does to those of a busy one (J4)."""

from __future__ import annotations

from trouper.store.contract.model.inbox import Inbox
from trouper.store.contract.model.rows import Row
from trouper.store.contract.model.steps import Ending
from trouper.store.protocol import Admission


class Threads(Inbox):
    def refuse(self, spec: Admission) -> object:
        if spec.on_busy == "reject" and (busy := self._in_thread(spec)):
            return "busy", busy[0].id
        return super().refuse(spec)

    def _in_thread(self, spec: Admission) -> list[Row]:
        """Who makes the thread busy: whoever is not put off."""
        rows = [row for row in self.active(spec.user) if row.spec.thread == spec.thread is not None]
        return [row for row in rows if row.attempt > 0 or row.run_at <= self.clock()]

    def displaced(self, spec: Admission) -> list[Row]:
        return self._in_thread(spec) if spec.on_busy in ("interrupt", "rollback") else []

    def enter(self, spec: Admission) -> Row:
        for row in self.displaced(spec):
            row.superseded = "rollback" if row.superseded == "rollback" else spec.on_busy
            self.cancel_row(row)
        return super().enter(spec)

    def may_start(self, row: Row, per_user: int | None = None) -> bool:
        thread = [other for other in self.active(row.spec.user) if other.spec.thread == row.spec.thread]
        busy = any(other.state == "running" or other.held for other in thread if other is not row)
        return super().may_start(row, per_user) and not (busy and row.spec.thread is not None)

    def state_after(self, row: Row, kind: str) -> Ending:
        return ("cancelled", "superseded") if row.superseded else super().state_after(row, kind)

    def end_unrun(self, row: Row) -> tuple[str, str]:
        if row.superseded == "rollback" and self.ending(row) == ("cancelled", "user"):
            row.log = []
        return super().end_unrun(row)

    def end(self, row: Row, state: str, reason: str | None) -> None:
        superseded = state == "cancelled" and row.superseded is not None
        super().end(row, state, "superseded" if superseded else reason)
        if superseded and row.superseded == "rollback":
            if row.log:  # to those who hold some of it, as a further attempt that keeps nothing
                row.attempt, row.keeps = row.attempt + 1, (*row.keeps, 0)
            row.log, row.savepoint, row.saved = [], 0, None
            for key in [key for key in self.notes if key[0] == row.id]:
                del self.notes[key]
