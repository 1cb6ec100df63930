"""Children in an order: what a ``Supervisor``'s loop does.

One step after the other, and a step waits for the children it starts and stops, because the next in order
may need them. Only back-off is no waiting of the loop: it is a state of the child, with a time at which
the loop looks at it again.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final

import attrs
import trio

from trouper.actors.ask import ReplySlot
from trouper.actors.reports import ReportKind
from trouper.supervisor.base import BaseSupervisor
from trouper.supervisor.child import ALIVE, Child, ChildState
from trouper.supervisor.child_spec import ChildSpec, ExitReason
from trouper.supervisor.errors import MaxRestartIntensity, StartFailed
from trouper.supervisor.intensity import Intensity, RestartWindow
from trouper.supervisor.lane import Lane
from trouper.supervisor.shutdown import StopRecord, ended_within, stop_child
from trouper.supervisor.strategy import (
    AutoShutdown,
    Restart,
    Strategy,
    affected,
    calls_for_restart,
    shuts_down,
)

STEPS_IN_A_ROW: Final = 64
"""Steps taken before it is looked for restarts that are due, however many more wait."""
ACTIVE: Final = frozenset({ChildState.STARTING, ChildState.RUNNING, ChildState.BACKOFF})


@attrs.frozen
class Step:
    """Something for the loop to do, and the answer if it never comes to it."""

    run: Callable[[], Awaitable[None]]
    refuse: Callable[[], object] = lambda: None


class OrderedChildren(BaseSupervisor):
    """See ``Supervisor``, which adds what others may ask of it."""

    KIND = "supervisor"
    _strategy: Strategy
    _auto_shutdown: AutoShutdown
    _intensity: Intensity
    _specs: tuple[ChildSpec, ...]
    _keeps_ended = True
    """Whether a child that has ended for good stays known."""
    _crashes = 0
    _restarts = 0

    def _begin(self) -> None:
        """Forget an earlier run."""
        self._steps: Lane[Step] = Lane()
        self._current: Step | None = None
        self._window = RestartWindow(self._intensity)
        self._children: dict[str, Child] = {}
        self._waiters: dict[str, list[ReplySlot[bool]]] = {}
        """Those who wait for the end of a child that is stuck."""
        self._starting: tuple[Child, ReplySlot[Any]] | None = None
        """The child whose start somebody waits for, and who."""
        self._over = False

    # -- the loop ----------------------------------------------------------------------------------

    async def _supervise(self, acknowledge: Callable[[], None]) -> None:
        self._begin()
        self._children = {spec.name: self._make(spec, self._variables) for spec in self._specs}
        for child in self._children.values():
            if (failed := await self._start(child)) is not None:
                self._failure = failed
                return
        acknowledge()
        in_a_row = 0
        while self._failure is None and not self._over:
            in_a_row += 1
            self._current = None
            if in_a_row <= STEPS_IN_A_ROW:
                self._current = await self._steps.get(until=self._next_restart_at())
            if self._current is None:
                in_a_row = 0
                await self._restart_those_due()
            else:
                await self._current.run()

    def _make(self, spec: ChildSpec, variables: Context) -> Child:
        return Child(spec, self.path, variables, surroundings=self._surroundings)

    async def _start(self, child: Child, wanted: Callable[[], bool] = lambda: True) -> StartFailed | None:
        """Start an incarnation and wait until it is up, or had nothing to run; else why not."""
        child.spawn(self._body(), self._task_ended)
        with trio.move_on_after(child.spec.start_timeout_s):
            await child.settled.wait()
        if child.acknowledged:
            return None
        if not child.done.is_set():
            child.timed_out = True
            child.cancel()
            if not await ended_within(child, self._stuck_after_s):
                if not child.stuck:
                    self._report_stuck(child)
                await child.done.wait()
        assert child.exit is not None
        if child.exit.reason is ExitReason.IGNORED:
            child.finish()
            return None
        crash = child.exit.crash
        failed = child.start_error()
        if crash is not None or wanted():  # one whose caller left was cancelled: no news, but a crash is
            detail = crash.text if crash is not None else ""
            self._report(ReportKind.START_FAILED, child, str(failed), detail, child.exit)
        child.state = ChildState.WAITING  # what is in the lane about this incarnation is settled
        return failed

    def _task_ended(self, child: Child, number: int) -> None:
        """In the child's own task, in its last step."""
        self._steps.put(Step(partial(self._ended, child, number)))

    # -- a child has ended -------------------------------------------------------------------------

    async def _ended(self, child: Child, number: int) -> None:
        if number != child.incarnation:
            return
        if child.state is ChildState.STOPPING:
            self._end_late(child)
        if child.state is not ChildState.RUNNING:
            return
        error = self._note_end(child)
        assert child.exit is not None
        if calls_for_restart(child.spec.restart, child.exit.reason):
            await self._failed(child, _how(child), error)
        else:
            self._finish_by_itself(child)

    def _end_late(self, child: Child) -> None:
        """One that was stuck has ended after all."""
        if (waiters := self._waiters.pop(child.spec.name, None)) is not None:
            self._note_end(child)
            self._finish(child)
            for waiter in waiters:
                waiter.succeed(True)

    def _finish(self, child: Child) -> None:
        child.finish()
        if not self._keeps_ended:
            del self._children[child.spec.name]

    def _finish_by_itself(self, child: Child) -> None:
        self._finish(child)
        if not child.spec.significant:
            return
        others = sum(
            other.spec.significant and other.state in ACTIVE
            for other in self._children.values()
            if other is not child
        )
        if shuts_down(self._auto_shutdown, others):
            self._why_stopped = f"its significant child {child.spec.name!r} {_how(child)}"
            self._over = True

    def _note_end(self, child: Child) -> BaseException | None:
        if child.exit is not None and child.exit.crash is not None:
            self._crashes += 1
            self._report_crash(child)
        return child.take_error()

    # -- failing -----------------------------------------------------------------------------------

    async def _failed(self, child: Child, how: str, error: BaseException | None) -> None:
        """Stop whom the failure affects, and let them wait for their restart."""
        now = trio.current_time()
        if not (child.budget.admit(now) and self._window.admit(now)):
            self._give_up(child, how, error)
            return
        delay_s = child.budget.delay_s(child.lived_s, self.seams.random)
        names = affected(self._strategy, list(self._children), child.spec.name)
        group = [self._children[name] for name in names]
        await self._stop_group([other for other in group if other is not child])
        if self._over:
            return
        # Those that wait already for a longer time have the whole group wait: it comes back in order.
        waiting = [other.restart_at for other in group if other.state is ChildState.BACKOFF]
        restart_at = max([trio.current_time() + delay_s, *waiting])
        for other in group:
            if other.state is ChildState.ENDED or other.alive:
                continue
            if other.spec.name in self._waiters:
                self._end_late(other)  # it was terminated before, and has ended while the others were stopped
            elif other.spec.restart is Restart.TEMPORARY:
                other.finish()
            else:
                other.state = ChildState.BACKOFF
                other.restart_at = restart_at

    async def _stop_group(self, group: Sequence[Child]) -> None:
        for other in reversed(group):
            if other.state is not ChildState.RUNNING:
                continue
            if not other.done.is_set():
                await self._stop_one(other, math.inf, wait_for_stuck=True)
                continue
            # It ended in the same moment: told, but restarted with the group or not at all.
            self._note_end(other)
            assert other.exit is not None
            if not calls_for_restart(other.spec.restart, other.exit.reason):
                self._finish_by_itself(other)

    def _give_up(self, child: Child, how: str, error: BaseException | None) -> None:
        failure = MaxRestartIntensity(f"{child.path} {how}, and that was too often; {self.path!r} ends")
        failure.__cause__ = error
        self._report(ReportKind.GIVE_UP, child, str(failure))
        self._failure = failure

    def _next_restart_at(self) -> float:
        waiting = [c.restart_at for c in self._children.values() if c.state is ChildState.BACKOFF]
        return min(waiting, default=math.inf)

    async def _restart_those_due(self) -> None:
        now = trio.current_time()
        for child in self._children.values():
            if child.state is ChildState.BACKOFF and child.restart_at <= now:
                failed = await self._start(child)
                if failed is not None:
                    await self._failed(child, "failed to start", failed)
                    return
                if child.acknowledged:  # it may have had nothing to run
                    self._restarts += 1
                    self._report(ReportKind.RESTART, child, "started again")

    # -- stopping ----------------------------------------------------------------------------------

    async def _stop_children(self, deadline: float) -> Iterable[StopRecord]:
        stops = []
        for child in reversed(self._children.values()):
            if child.alive:
                stops.append(await self._stop_one(child, deadline, wait_for_stuck=False))
            else:
                self._note_crash(child)  # it came before its turn
        return stops

    def _note_crash(self, child: Child) -> None:
        """Tell of a crash of which the step is in the lane, to which the loop does not come any more."""
        if child.state in ALIVE and child.error is not None:
            self._note_end(child)

    async def _stop_one(self, child: Child, deadline: float, *, wait_for_stuck: bool) -> StopRecord:
        record = await stop_child(
            child,
            deadline=deadline,
            stuck_after_s=self._stuck_after_s,
            on_stuck=self._report_stuck,
            wait_for_stuck=wait_for_stuck,
        )
        if child.state in ALIVE and child.done.is_set():
            self._note_end(child)
        return record

    def _after(self) -> None:
        for child in self._children.values():
            self._note_crash(child)  # it was stuck, and crashed when nobody waited for it any more
            child.finish()
        if self._current is not None:
            self._current.refuse()
        while (step := self._steps.take_now()) is not None:
            step.refuse()
        for waiter in [waiter for waiters in self._waiters.values() for waiter in waiters]:
            waiter.succeed(True)
        self._current = None

    def _all_children(self) -> Iterable[Child]:
        return self._children.values()

    def _note(self) -> str:
        intensity = self._intensity
        return f"{self._strategy.value}, {intensity.restarts} restarts in {intensity.period_s:g} s"


def _how(child: Child) -> str:
    exit: Any = child.exit
    return f"crashed ({exit.crash.summary})" if exit.crash is not None else exit.reason.value
