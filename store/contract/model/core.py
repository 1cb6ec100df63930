"""What a store is: jobs are submitted, claimed, write and end, each of them once.

These are the transactions; ``steps`` says what each step is. A store without anything else does just this.
"""

from __future__ import annotations

from trouper.store.contract.model.rows import FENCED, NEVER
from trouper.store.contract.model.steps import Steps
from trouper.store.leases import Begun
from trouper.store.protocol import Admission, Append, Finish, Names, Savepoint


class Core(Steps):
    def admit(self, spec: Admission) -> object:
        before = self.jobs.get(spec.id) or self.by_key(spec.user, spec.idempotency_key)
        if before is not None:
            same = (before.spec.user, before.spec.fingerprint) == (spec.user, spec.fingerprint)
            return ("admitted", before.id, before.id == spec.id) if same else ("conflict", before.id)
        refused = self.refuse(spec)
        if refused is None:
            self.enter(spec)
        return refused or ("admitted", spec.id, True)

    def cancel(self, job_id: str, user: str | None) -> object:
        if (row := self.seen_by(job_id, user)) is None:
            return "unknown"
        if not row.active:
            return "already_ended"
        self.cancel_row(row)
        return "accepted"

    def claim(self, limit: int, per_user: int | None, *, names: Names, begun: Begun | None = None) -> object:
        ended = [self.end_unrun(row) for row in self.overdue()]
        started: list[tuple[str, int]] = []
        while len(started) < limit and (row := self.next(per_user)) is not None:
            row.attempts_used += row.state == "running"  # its process died
            if self.ending(row) is not None:
                ended.append(self.end_unrun(row))
            elif self.start(row):
                started.append((row.id, row.attempt))
        times = [time for row in self.queued() for time in self.times(row)]
        return started, ended, min((time for time in times if time < NEVER), default=None), len(self.queued())

    def append(self, request: Append) -> object:
        if (row := self.held_by(request.job_id, request.fence)) is None:
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
        if (row := self.held_by(request.job_id, request.fence)) is None:
            return FENCED
        if len(row.log) < request.entries:
            return "gap", len(row.log)
        if (row.savepoint, row.saved) != (request.entries, request.saved):
            row.savepoint, row.saved = request.entries, request.saved
            row.used_ms = max(row.used_ms, request.used_ms)
        return "saved"

    def lose(self, job_id: str, fence: int, reason: str) -> object:
        if (row := self.held_by(job_id, fence)) is None:
            return FENCED
        self.end(row, "lost", reason)
        return "finished", row.state

    def finish(self, request: Finish) -> object:
        before = self.jobs.get(request.job_id)
        if before is not None and before.state != "running" and before.attempt > 0:
            raised = request.stuck and before.stuck and before.fence == request.fence + 1
            if raised or before.fence == request.fence:  # it is told again
                return "finished", before.state
        if (row := self.held_by(request.job_id, request.fence)) is None:
            return FENCED
        if len(row.log) != request.entries:
            return "gap", len(row.log)
        if request.kind == "asked" and request.question is None:
            return "poisoned", len(row.log)
        row.attempts_used += request.kind in ("crashed", "idle")
        row.fence, row.stuck = row.fence + request.stuck, request.stuck
        row.used_ms = max(row.used_ms, request.used_ms)
        state, reason = self.state_after(row, str(request.kind))
        if state == "queued":
            row.reason = row.began_after = reason
            self.wait(row, self.due_again(row, request))
        else:
            row.result = request.result if state == "completed" else None
            self.end(row, state, reason)
        return "finished", state
