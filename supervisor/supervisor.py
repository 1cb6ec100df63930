"""The supervisor of children that are known from the start: ordered, restarted by a strategy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import attrs
import trio

from trouper.actors.reports import Reporter, ReportKind, log_report
from trouper.store.seams import Seams
from trouper.supervisor.base import BaseSupervisor
from trouper.supervisor.child import Child, ChildState
from trouper.supervisor.child_spec import ChildSpec, ExitReason
from trouper.supervisor.errors import BadSpec, MaxRestartIntensity, StartFailed
from trouper.supervisor.intensity import Intensity, RestartWindow
from trouper.supervisor.lane import Lane
from trouper.supervisor.shutdown import ended_within, stop_child
from trouper.supervisor.strategy import Restart, Strategy, affected, is_failure


@attrs.frozen
class SupervisorStatistics:
    """The children of a supervisor by what they do, and what happened since it was made."""

    children: int
    running: int
    backoff: int
    stuck: int
    crashes: int
    restarts: int


class Supervisor(BaseSupervisor):
    """Starts its children in order, restarts them, stops them in the reverse order.

    ``intensity``: how often it restarts, over all children; beyond that, or beyond a child's own, it stops
    the rest and raises ``MaxRestartIntensity``, which is a crash to the supervisor above.
    """

    KIND = "supervisor"

    def __init__(
        self,
        name: str,
        children: Sequence[ChildSpec],
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity | None = None,
        seams: Seams | None = None,
        reporter: Reporter = log_report,
        shutdown_total_s: float = 30.0,
        stuck_after_s: float = 1.0,
    ) -> None:
        super().__init__(
            name,
            seams=seams,
            reporter=reporter,
            shutdown_total_s=shutdown_total_s,
            stuck_after_s=stuck_after_s,
        )
        names = [spec.name for spec in children]
        if len(set(names)) != len(names):
            raise BadSpec(f"the children of {name!r} need different names, not {names}")
        self._specs = tuple(children)
        self._names = tuple(names)
        self._strategy = strategy
        self._intensity = intensity or Intensity()
        self._children: dict[str, Child] = {}
        self._window = RestartWindow(self._intensity)
        self._ends: Lane[tuple[Child, int]] = Lane()
        self._crashes = self._restarts = 0

    def statistics(self) -> SupervisorStatistics:
        """The use of the supervisor."""
        states = [child.state for child in self._children.values()]
        return SupervisorStatistics(
            children=len(self._specs),
            running=states.count(ChildState.RUNNING),
            backoff=states.count(ChildState.BACKOFF),
            stuck=sum(child.stuck for child in self._children.values()),
            crashes=self._crashes,
            restarts=self._restarts,
        )

    # -- the loop ----------------------------------------------------------------------------------

    async def _supervise(self, acknowledge: Callable[[], None]) -> None:
        self._ends = Lane()
        self._window = RestartWindow(self._intensity)
        self._children = {spec.name: Child(spec, self.path, self._variables) for spec in self._specs}
        for child in self._children.values():
            if (failed := await self._start(child)) is not None:
                self._failure = failed
                return
        acknowledge()
        while self._failure is None:
            end = await self._ends.get(until=self._next_restart_at())
            if end is None:
                await self._restart_those_due()
            else:
                await self._child_ended(*end)

    async def _start(self, child: Child) -> StartFailed | None:
        child.spawn(self._body(), lambda number: self._ends.put((child, number)))
        with trio.move_on_after(child.spec.start_timeout_s):
            await child.settled.wait()
        if child.acknowledged:
            return None
        if not child.done.is_set():
            child.timed_out = True
            child.cancel()
            if not await ended_within(child, self._stuck_after_s):
                self._report_stuck(child)
                await child.done.wait()
        crash = child.exit.crash if child.exit is not None else None
        failed = child.start_error()
        self._report(ReportKind.START_FAILED, child, str(failed), crash.text if crash is not None else "")
        child.state = ChildState.WAITING  # what is in the lane about this incarnation is settled
        return failed

    async def _child_ended(self, child: Child, number: int) -> None:
        if number != child.incarnation or child.state is not ChildState.RUNNING:
            return
        assert child.exit is not None
        self._note_crash(child)
        error = child.take_error()
        if not is_failure(child.spec.restart, crashed=child.exit.reason is ExitReason.CRASHED):
            child.finish()
            return
        await self._failed(child, _how(child), error)

    async def _failed(self, child: Child, how: str, error: BaseException | None) -> None:
        """Stop whom the failure affects, and let them wait for their restart."""
        now = trio.current_time()
        if not (child.budget.admit(now) and self._window.admit(now)):
            self._give_up(child, how, error)
            return
        delay_s = child.budget.delay_s(child.lived_s, self.seams.random)
        group = [self._children[name] for name in affected(self._strategy, self._names, child.spec.name)]
        for other in reversed(group):
            if other is child or other.state is not ChildState.RUNNING:
                continue
            if other.done.is_set():
                self._ended_as_well(other)
            else:
                await self._stop_one(other, math.inf, wait_for_stuck=True)
        waiting = [other.restart_at for other in group if other.state is ChildState.BACKOFF]
        restart_at = max([trio.current_time() + delay_s, *waiting])
        for other in group:
            if other.state is ChildState.ENDED:
                continue
            if other.spec.restart is Restart.TEMPORARY:
                other.finish()
            else:
                other.state = ChildState.BACKOFF
                other.restart_at = restart_at

    def _ended_as_well(self, child: Child) -> None:
        """A child of the group ended in the same moment: told, but restarted with it or not at all."""
        assert child.exit is not None
        self._note_crash(child)
        child.take_error()
        if not is_failure(child.spec.restart, crashed=child.exit.reason is ExitReason.CRASHED):
            child.finish()

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
                self._restarts += 1
                self._report(ReportKind.RESTART, child, "started again")

    # -- stopping ----------------------------------------------------------------------------------

    async def _stop_children(self, deadline: float) -> list[str]:
        return [
            await self._stop_one(child, deadline, wait_for_stuck=False)
            for child in reversed(self._children.values())
            if child.alive
        ]

    async def _stop_one(self, child: Child, deadline: float, *, wait_for_stuck: bool) -> str:
        record = await stop_child(
            child,
            deadline=deadline,
            stuck_after_s=self._stuck_after_s,
            on_stuck=self._report_stuck,
            wait_for_stuck=wait_for_stuck,
        )
        if child.state is ChildState.STOPPING and child.done.is_set():
            self._note_crash(child)
            child.take_error()
        return str(record)

    def _note_crash(self, child: Child) -> None:
        if child.exit is not None and child.exit.crash is not None:
            self._crashes += 1
            self._report_crash(child)

    def _after(self) -> None:
        for child in self._children.values():
            child.finish()

    def _all_children(self) -> Iterable[Child]:
        return self._children.values()

    def _note(self) -> str:
        intensity = self._intensity
        return f"{self._strategy.value}, {intensity.restarts} restarts in {intensity.period_s:g} s"


def _how(child: Child) -> str:
    assert child.exit is not None
    return f"crashed ({child.exit.crash.summary})" if child.exit.crash is not None else "returned"
