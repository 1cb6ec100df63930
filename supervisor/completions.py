"""Completions: runs the hooks of jobs that have ended, until each has returned once or is given up.

As *expiry* does for jobs, it claims what is due, woken by commits that ended a job, by the clock at the
next due time, and every ``sweep_interval_s``. Each hook runs in a task of its own, so one that hangs holds
up nobody: only its place, one of ``max_hooks``, is taken until it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from trouper.actors.actor import Actor
from trouper.actors.ended_hook import EndedHook
from trouper.actors.job_spec import JobSpec
from trouper.actors.mailbox import Mailbox, Overflow
from trouper.actors.patience import patiently
from trouper.actors.ref import ActorRef
from trouper.actors.reports import Crash, Report, Reporter, ReportKind, deliver, split_failure
from trouper.store.completions import Completion, SettleCompletion, TryEnd
from trouper.store.errors import StoreUnavailable
from trouper.store.protocol import Store
from trouper.store.records import Job, JobOptions
from trouper.store.rules import UNDECODABLE, backoff_s
from trouper.store.seams import Seams
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.begun import Begun
from trouper.supervisor.child_spec import ChildSpec
from trouper.supervisor.options import RuntimeOptions

_STORE_RETRY_S = 1.0
_GIVE_BACK_S = 1.0  # for telling the store, while the runtime stops, that a hook did not come to its end


@attrs.frozen
class HooksDue:
    """There may be a hook to run. Conflated."""


@attrs.frozen(kw_only=True)
class CompletionsPorts:
    """What it needs of the runtime around it."""

    store: Store
    seams: Seams
    options: RuntimeOptions
    specs: Mapping[str, JobSpec[Any, Any]]
    reporter: Reporter
    stopping: Callable[[], bool]
    """Whether the runtime is being stopped: then no further hook is begun."""
    owns: Callable[[int | None], bool]
    """Whether what was claimed under this boot is still this node's: else no hook of it is begun."""
    begun: Begun = attrs.field(factory=Begun)
    unsettled: dict[tuple[str, int], SettleCompletion] = attrs.field(factory=dict)
    """Of the tries that were begun: how they ended, as far as that is known; until the store has heard it."""
    counters: dict[str, int] = attrs.field(
        factory=lambda: dict.fromkeys(("running", "done", "failed", "given_up", "dead"), 0)
    )
    """``done``, ``failed``, ``given_up`` so far; ``running``, ``dead`` now. They outlive the actor."""


def completions_child(ports: CompletionsPorts) -> tuple[ChildSpec, ActorRef[HooksDue]]:
    """The actor as a child, and the ref to it."""
    mailbox: Mailbox[HooksDue] = Mailbox(1, Overflow.CONFLATE, conflate_key=lambda message: message)
    return actor_child("completions", lambda: Completions(ports), mailbox=mailbox)


class Completions(Actor[HooksDue]):
    """One actor for the runtime."""

    def __init__(self, ports: CompletionsPorts) -> None:
        self._ports = ports
        self._running: set[tuple[str, int]] = set()
        self._timer = trio.CancelScope()

    async def started(self) -> None:
        self._ports.counters["running"] = 0
        for settle in list(self._ports.unsettled.values()):  # of an incarnation before
            self.context.nursery.start_soon(self._settle_left, settle)
        self.context.nursery.start_soon(self._sweep_forever)
        self.context.ref.tell(HooksDue())

    async def receive(self, message: HooksDue) -> None:
        if self._ports.stopping():
            return
        try:
            await self._claim()
        except StoreUnavailable:
            self._wake_after(_STORE_RETRY_S)

    async def _claim(self) -> None:
        room = self._ports.options.max_hooks - len(self._running)
        store = self._ports.store
        if room <= 0 or not self._ports.owns(store.boot):
            return  # the end of one wakes this again, or the sweep once there is a lease
        with self._ports.begun.claiming(store.boot) as begun:
            claims = await store.claim_completions(room, names=self._ports.specs.keys(), begun=begun)
            if claims.started and not self._ports.owns(claims.started[0][0].claimed_by):
                raise StoreUnavailable("the answer came too late: what was claimed is others' to run by now")
        self._ports.counters["dead"] = claims.dead
        for row, job in claims.started:
            self._running.add((row.job, row.tries))
            self._ports.begun.begin(row.job, row.tries)
            self.context.nursery.start_soon(self._carry_out, row, job)
        self._ports.counters["running"] = len(self._running)
        if claims.next_due_at is not None:
            self._wake_after(max(0.0, claims.next_due_at - claims.now))

    def _wake_after(self, delay_s: float) -> None:
        self._timer.cancel()
        self._timer = trio.CancelScope()
        self.context.nursery.start_soon(self._wake, self._timer, delay_s)

    async def _wake(self, timer: trio.CancelScope, delay_s: float) -> None:
        with timer:
            await trio.sleep(delay_s)
            self.context.ref.tell(HooksDue())

    async def _sweep_forever(self) -> None:
        while True:
            await trio.sleep(self._ports.options.sweep_interval_s)
            self.context.ref.tell(HooksDue())

    # --- one hook ---

    async def _carry_out(self, row: Completion, job: Job) -> None:
        unsettled = self._ports.unsettled
        of = (row.job, row.tries)  # after a lost lease a later try may run beside this one
        unsettled[of] = SettleCompletion(job_id=row.job, tries=row.tries, end=TryEnd.RELEASED)
        try:
            unsettled[of] = self._judge(row, job, await self._try(row, job))
            await self._settle(unsettled[of])
        finally:
            if of in unsettled:
                # The runtime stops. If the store does not hear of it, the next start takes it for a try.
                with trio.move_on_after(_GIVE_BACK_S, shield=True):
                    await self._settle(unsettled[of])
            if of in unsettled:
                what = f"the end of a run of the hook of {job.name!r} was not recorded, or that is not known"
                self._report(ReportKind.UNRECORDED, row, f"{what}: the next start counts it as a try", "")
            self._running.discard(of)
            self._ports.counters["running"] = len(self._running)
        self.context.ref.tell(HooksDue())

    async def _settle(self, settle: SettleCompletion) -> None:
        """Tell the store how a try ended, until it has heard it."""
        await patiently(lambda: self._ports.store.settle_completion(settle))
        of = (settle.job_id, settle.tries)
        self._ports.unsettled.pop(of, None)
        if of in self._ports.begun:
            self._ports.begun.over(settle.job_id)

    async def _settle_left(self, settle: SettleCompletion) -> None:
        """Tell how a try of an incarnation before ended, and look whether it is to be tried again."""
        await self._settle(settle)
        self.context.ref.tell(HooksDue())

    def _hook(self, job: Job) -> EndedHook | None:
        spec = self._ports.specs.get(job.name)
        return None if spec is None else spec.hook

    async def _try(self, row: Completion, job: Job) -> Crash | str | None:
        """Run the hook once; what went wrong."""
        hook = self._hook(job)
        if hook is None and job.reason == UNDECODABLE and job.name in self._ports.specs:
            return None  # its row could not be read, so that it was not known that there is none
        if hook is None:
            return f"no job named {job.name!r} with an on_ended hook is registered here"
        if row.tries > hook.retry.attempts:
            return row.error or "the process died while it ran"  # its last try never came to an end
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, row, job, hook)
            error = await _run(hook, job)
            nursery.cancel_scope.cancel()
        return error

    async def _watch(self, row: Completion, job: Job, hook: EndedHook) -> None:
        """Tell of a hook that does not end though it was cancelled: nothing can kill it."""
        late_s = hook.timeout_s + self._ports.options.jobs.grace_s
        await trio.sleep(late_s)
        self._report(ReportKind.STUCK, row, f"the hook of {job.name!r} has not ended after {late_s:g} s", "")

    def _judge(self, row: Completion, job: Job, error: Crash | str | None) -> SettleCompletion:
        counters = self._ports.counters
        if error is None:
            counters["done"] += 1
            return SettleCompletion(job_id=row.job, tries=row.tries, end=TryEnd.DONE)
        counters["failed"] += 1
        text, detail = (error.summary, error.text) if isinstance(error, Crash) else (error, "")
        hook = self._hook(job)
        retry = EndedHook.RETRY if hook is None else hook.retry
        what = f"the hook of {job.name!r} failed ({row.tries} of {retry.attempts}): {text}"
        after_s: float | None = None
        if row.tries < retry.attempts:
            backoff = retry.backoff
            options = JobOptions(
                backoff_base_s=backoff.base, backoff_factor=backoff.factor, backoff_max_s=backoff.max
            )
            after_s = backoff_s(options, row.tries, self._ports.seams.random.random())
            self._report(ReportKind.CRASH, row, f"{what}; again in {after_s:.1f} s", detail)
        else:
            counters["given_up"] += 1
            self._report(ReportKind.GIVE_UP, row, what, detail)
        return SettleCompletion(
            job_id=row.job, tries=row.tries, end=TryEnd.FAILED, error=text, retry_after_s=after_s
        )

    def _report(self, kind: ReportKind, row: Completion, reason: str, detail: str) -> None:
        at = self._ports.seams.wall()
        path = "runtime/core/completions"
        deliver(self._ports.reporter, Report(kind, path, row.job, row.tries, reason, detail, at))


async def _run(hook: EndedHook, job: Job) -> Crash | str | None:
    """Run the hook within its time; what went wrong."""
    try:
        with trio.move_on_after(hook.timeout_s) as scope:
            await hook.function(job)
    except BaseException as error:  # noqa: ASYNC103  # what must pass does
        crash, passing = split_failure(error)
        if crash is None or passing is not None:
            raise
        return Crash.of(crash)  # noqa: ASYNC104
    return f"it took more than {hook.timeout_s:g} s" if scope.cancelled_caught else None
