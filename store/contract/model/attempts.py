"""What a running attempt writes, and what its end means (J5, J6, J8, O2)."""

from __future__ import annotations

from trouper.store.contract.model.rows import FENCED, NEVER, NO_ANSWER, Note, Row, Rows
from trouper.store.protocol import Append, Finish, Savepoint

AGAIN = ("crashed", "idle", "released", "asked")
"""The ends of an attempt that another one may follow."""


class Attempts(Rows):
    def append(self, request: Append) -> object:
        row = self.held_by(request.job_id, request.fence)
        if row is None:
            return FENCED
        known = len(row.log) - request.start
        repeats = 0 <= known <= len(request.entries) and request.start >= 0
        if not repeats or row.log[request.start :] != list(request.entries[:known]):
            return "gap", len(row.log)
        if request.entries[known:]:
            row.log += request.entries[known:]
            row.used_ms = max(row.used_ms, request.used_ms)
        return "appended"

    def savepoint(self, request: Savepoint) -> object:
        row = self.held_by(request.job_id, request.fence)
        if row is None:
            return FENCED
        if len(row.log) < request.entries:
            return "gap", len(row.log)
        heard = max(row.heard, min(request.heard, row.signals))
        if (row.savepoint, row.saved, row.heard) != (request.entries, request.saved, heard):
            row.savepoint, row.saved, row.heard = request.entries, request.saved, heard
            row.used_ms = max(row.used_ms, request.used_ms)
        return "saved"

    def unsafe(self, job_id: str, fence: int, step: str | None) -> object:
        row = self.held_by(job_id, fence)
        if row is None:
            return FENCED
        row.unsafe = step
        return "saved"

    def lose(self, job_id: str, fence: int, reason: str) -> object:
        row = self.held_by(job_id, fence)
        if row is None:
            return FENCED
        self.end(row, "lost", reason)
        return "finished", row.state

    def finish(self, request: Finish) -> object:
        before = self.jobs.get(request.job_id)
        if before is not None and before.state != "running" and before.attempt > 0:
            raised = request.stuck and before.stuck and before.fence == request.fence + 1
            if raised or before.fence == request.fence:  # it is told again
                return "finished", before.state
        row = self.held_by(request.job_id, request.fence)
        if row is None:
            return FENCED
        if len(row.log) != request.entries:
            return "gap", len(row.log)
        if request.kind == "asked" and request.question is None:
            return "poisoned", len(row.log)
        row.attempts_used += request.kind in ("crashed", "idle")
        row.fence, row.stuck = row.fence + request.stuck, request.stuck
        row.used_ms = max(row.used_ms, request.used_ms)
        state, reason = self._state_after(row, str(request.kind))
        if state != "queued":
            row.result = request.result if state == "completed" else None
            self.end(row, state, reason)
        else:
            row.reason = row.began_after = reason
            self.wait(row, self._due_again(row, request))
        return "finished", state

    def _state_after(self, row: Row, kind: str) -> tuple[str, str | None]:
        if kind in AGAIN and row.unsafe is not None:
            return "lost", f"unsafe:{row.unsafe}"
        if row.superseded:
            return "cancelled", "superseded"
        if kind not in AGAIN:
            reasons = {"returned": None, "failed": "fail", "cancelled": "user", "timed_out": "timeout"}
            return "completed" if kind == "returned" else kind, reasons[kind]
        if row.cancel_requested:
            return "cancelled", "user"
        reason = {"crashed": "crash", "idle": "idle_timeout", "asked": "question"}.get(kind, kind)
        if kind in ("released", "asked") or row.attempts_used < row.spec.options.attempts:
            return "queued", reason
        return "timed_out" if kind == "idle" else "failed", reason

    def _due_again(self, row: Row, request: Finish) -> float:
        if request.kind == "released":
            return 0.0
        ask = request.question
        if request.kind == "asked" and ask is not None:
            row.asking = ask.key
            row.asking_until = None if ask.timeout_s is None else self.clock() + ask.timeout_s
            self.questions.setdefault((row.id, ask.key), NO_ANSWER)
            self.notes.setdefault((row.id, "question", ask.key), Note(row.spec.user))
            return NEVER if ask.timeout_s is None else self.clock() + ask.timeout_s
        if request.retry_after_s is not None:
            return self.clock() + request.retry_after_s
        options = row.spec.options
        longest = options.backoff_base_s * options.backoff_factor ** (row.attempts_used - 1)
        return self.clock() + request.jitter * min(options.backoff_max_s, longest)
