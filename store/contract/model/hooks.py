"""Completions: what is still to be done for a job that has ended (N1)."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from trouper.store.completions import SettleCompletion
from trouper.store.contract.model.nodes import Nodes, unbegun
from trouper.store.contract.model.rows import Hook, Row
from trouper.store.leases import Begun


@attrs.define(slots=False, kw_only=True)
class Hooks(Nodes):
    hooks: dict[str, Hook] = attrs.field(factory=dict)
    """Job → what is to be done for it."""

    def end(self, row: Row, state: str, reason: str | None) -> None:
        super().end(row, state, reason)
        if row.spec.options.on_ended:
            self.hooks[row.id] = Hook()

    def jumped(self, by_s: float) -> None:
        super().jumped(by_s)
        for hook in self.hooks.values():
            hook.run_at += by_s if hook.waits and hook.run_at > 0 else 0.0

    def claim_completions(
        self, limit: int, *, names: Collection[str] | None = None, begun: Begun | None = None
    ) -> object:
        dead = sum(hook.dead for hook in self.hooks.values())
        if not self.live:
            return [], None, dead
        for id, hook in self.hooks.items():
            given_back = hook.claimed_by is not None and unbegun(begun, hook.claimed_by, id, hook.tries)
            if given_back or hook.claimed_by not in (None, *self.names_of):  # by one that is gone
                hook.claimed_by, hook.run_at, hook.tries = None, 0.0, hook.tries - given_back
        waiting = [(hook.run_at, id, hook) for id, hook in self.hooks.items() if hook.waits]
        due = sorted((each for each in waiting if each[0] <= self.clock()), key=lambda each: each[0])
        if names is not None and None not in self.names_of.values():
            elsewhere = {name for of in self.names_of.values() for name in of or ()} - {*names}
            due = [each for each in due if self.jobs[each[1]].spec.name not in elsewhere]
        for _, _, hook in due[:limit]:
            hook.tries, hook.claimed_by = hook.tries + 1, self.boot
        later = [run_at for run_at, _, _ in waiting if run_at > self.clock()]
        started = [(id, hook.tries) for _, id, hook in due[:limit]]
        return started, min(later, default=None), dead

    def settle_completion(self, request: SettleCompletion) -> object:
        hook = self.hooks.get(request.job_id)
        if hook is None or request.end == "done":
            self.hooks.pop(request.job_id, None)
            return None
        if hook.claimed_by is not None and hook.tries == request.tries:
            hook.claimed_by = None
            if request.end == "released":
                hook.tries, hook.run_at = hook.tries - 1, 0.0
            elif request.retry_after_s is None:
                hook.dead, hook.error = True, request.error
            else:
                hook.run_at, hook.error = self.clock() + request.retry_after_s, request.error
        return self.hook_of(request.job_id)

    def retry_completion(self, job_id: str) -> object:
        hook = self.hooks.get(job_id)
        if hook is None or not hook.dead:
            return False
        self.hooks[job_id] = Hook(error=hook.error)
        return True

    def hook_of(self, job_id: str) -> tuple[object, ...]:
        hook = self.hooks[job_id]
        return job_id, hook.tries, hook.claimed_by is not None, hook.dead, hook.error
