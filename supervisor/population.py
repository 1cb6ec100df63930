"""Children that come and go: what dynamic and keyed supervisors share.

All that is done here is a step without ``await``, one after the other, and none waits for a child: starting,
stopping and backing off are states of the child, each with at most one timer. So a thousand children can
start, stop and fail at once, and one that takes long keeps nobody waiting.

A step is taken by the task that asks for it, if none is under way or in line: starts, ends and restarts
are then a task switch cheaper each. The loop takes those in line, those of the timers, and all of the stop,
which it waits for: a step that another task took would not wake it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Generic, TypeVar

import attrs
import trio

from trouper.actors.reports import Reporter, ReportKind
from trouper.store.seams import Seams
from trouper.supervisor.base import BaseSupervisor
from trouper.supervisor.child import ALIVE, Child, ChildState
from trouper.supervisor.child_spec import ExitReason
from trouper.supervisor.errors import StartFailed
from trouper.supervisor.lane import Lane, Timers
from trouper.supervisor.legal import is_count, need
from trouper.supervisor.shutdown import STUCK_AFTER_ROUNDS, Ending, StopRecord

C = TypeVar("C", bound=Child)

STEPS_IN_A_ROW: Final = 64
"""Steps taken before other tasks run, and the timers are looked at."""


@attrs.frozen
class PopulationStatistics:
    """The children of a dynamic or keyed supervisor by what they do, and what happened since it was made."""

    children: int
    max_children: int
    starting: int
    running: int
    stopping: int
    backoff: int
    gave_up: int
    """Not started again because they failed too often. Of a keyed supervisor: the keys in quarantine."""
    stuck: int
    started: int
    """Incarnations."""
    crashes: int
    waiting: int = 0
    """Of a keyed supervisor: actors that wait for another to make room."""
    evicted: int = 0
    """Of a keyed supervisor: actors that were ended to make room."""


class Population(BaseSupervisor, Generic[C]):
    """Children by name. See ``DynamicSupervisor`` and ``KeyedSupervisor``."""

    def __init__(
        self,
        name: str,
        max_children: int,
        *,
        seams: Seams | None,
        reporter: Reporter,
        shutdown_total_s: float,
        stuck_after_s: float,
    ) -> None:
        super().__init__(
            name,
            seams=seams,
            reporter=reporter,
            shutdown_total_s=shutdown_total_s,
            stuck_after_s=stuck_after_s,
        )
        room = f"supervisor {name!r} has room for {max_children!r}: legal is 1 child or more"
        need(is_count(max_children), room)
        self._max = max_children
        self._started = self._crashes = 0
        self._members: dict[str, C] = {}
        self._steps: Lane[Callable[[], None]] = Lane()
        self._timers = Timers()
        self._ringing = trio.CancelScope()
        """Around the loop's waits; its deadline is when the next timer is due, or earlier."""
        self._stepping = False
        """A step is under way: what it asks for comes after it, in line."""
        self._on_ended: Callable[[C, int], None] = self._task_ended  # one object for all children
        self._on_started: Callable[[C], None] = self._acknowledged
        self._on_left: Callable[[C], None] = self._left_with_stuck_below
        self._stops: dict[str, StopRecord] = {}
        """Of the stop under way, by name."""

    def _count(self, gave_up: int) -> PopulationStatistics:
        states = [member.state for member in self._members.values()]
        return PopulationStatistics(
            children=len(states),
            max_children=self._max,
            starting=states.count(ChildState.STARTING),
            running=states.count(ChildState.RUNNING),
            stopping=states.count(ChildState.STOPPING),
            backoff=states.count(ChildState.BACKOFF),
            gave_up=gave_up,
            stuck=sum(member.stuck for member in self._members.values()),
            started=self._started,
            crashes=self._crashes,
        )

    # -- the loop ----------------------------------------------------------------------------------

    async def _supervise(self, acknowledge: Callable[[], None]) -> None:
        acknowledge()
        await self._take_steps(until=lambda: False)

    async def _take_steps(self, until: Callable[[], bool]) -> None:
        while not until():
            # One scope for many waits, its deadline moved along: made anew only when a timer has rung. A
            # scope for each wait would cost as much as all else that the loop does for a child.
            with trio.CancelScope() as self._ringing:
                await self._take_steps_until_it_rings(until)
            self._fire_timers()

    async def _take_steps_until_it_rings(self, until: Callable[[], bool]) -> None:
        in_a_row = 0
        while not until():
            if (step := self._steps.take_now()) is not None:
                self._take(step)
                in_a_row += 1
                if in_a_row < STEPS_IN_A_ROW:
                    continue
            in_a_row = 0
            self._fire_timers()
            if (at := self._timers.next_at()) != self._ringing.deadline:
                self._ringing.deadline = at
            await self._steps.arrival()

    def _fire_timers(self) -> None:
        self._take(partial(self._timers.fire, trio.current_time()))

    def _take(self, step: Callable[[], None]) -> None:
        self._stepping = True
        try:
            step()
        finally:
            self._stepping = False

    @trio.lowlevel.enable_ki_protection
    def _do(self, step: Callable[[], None]) -> None:
        """Take a step now, in whatever task this is, or have the loop take it in its turn.

        Never now in a task that is cancelled: where all of us is, the loop may not have seen it yet, and what
        is started again then would say that it runs, be shielded, and never be stopped.
        """
        in_line = self._stepping or self._steps or not self.running
        if in_line or trio.current_effective_deadline() == -math.inf:
            self._steps.put(step)
            return
        try:
            self._take(step)
        except BaseException as error:  # noqa: ASYNC103  # the supervisor's task raises it
            self._steps.put(partial(_raise, error))  # it is the supervisor's failure, not that of the caller
        if (at := self._timers.next_at()) < self._ringing.deadline:
            self._ringing.deadline = at

    # -- one member --------------------------------------------------------------------------------

    def _spawn(self, member: C) -> None:
        self._started += 1
        member.on_left = self._on_left
        member.spawn(self._body(), self._on_ended, self._on_started)
        at = trio.current_time() + member.spec.start_timeout_s
        self._timers.set(member.spec.name, at, partial(self._start_timed_out, member))

    def _acknowledged(self, member: C) -> None:
        """In the member's own task."""
        self._timers.clear(member.spec.name)

    def _task_ended(self, member: C, number: int) -> None:
        """In the member's own task, in its last step. What is done after this finds it ended."""
        self._do(partial(self._settle, member, number))

    def _settle(self, member: C, number: int) -> None:
        if number != member.incarnation or self._members.get(member.spec.name) is not member:
            return
        self._timers.clear(member.spec.name)
        exit = member.exit
        assert exit is not None
        if self._stopping and member.state is ChildState.STOPPING:
            self._note_stop(member, Ending.CANCELLED if member.cancelled else Ending.ASKED)
        member.state = ChildState.ENDED
        if exit.crash is not None:
            self._crashes += 1
        if member.acknowledged or exit.reason is ExitReason.IGNORED:
            self._report_crash(member)
            member.take_error()
            self._ended(member, None)
        else:
            failed = member.start_error()
            if member.timed_out or exit.reason is not ExitReason.CANCELLED:
                text = "" if exit.crash is None else exit.crash.text
                self._report(ReportKind.START_FAILED, member, str(failed), text, exit)
            self._ended(member, failed)

    @abstractmethod
    def _ended(self, member: C, failed: StartFailed | None) -> None:
        """A member's task has ended: start it again, later or never. ``failed``: it had not started."""

    def _start_timed_out(self, member: C) -> None:
        if member.state is ChildState.STARTING:
            member.timed_out = True
            self._cancel(member)

    def _begin_stop(self, member: C, deadline: float) -> None:
        """Ask a member that has a task to end, by its grace or ``deadline``."""
        now = trio.current_time()
        by = max(now, min(now + member.spec.shutdown_s, deadline))
        member.asked_at, member.grace_s, member.cancelled = now, by - now, False
        if member.state is ChildState.STARTING or by <= now:
            self._cancel(member)
        else:
            member.ask_to_stop(by)
            self._timers.set(member.spec.name, by, partial(self._cancel, member))

    def _cancel(self, member: C) -> None:
        member.cancel()
        member.cancelled = True
        at = trio.current_time() + self._stuck_after_s
        self._timers.set(member.spec.name, at, partial(self._wait_for, member, STUCK_AFTER_ROUNDS))

    def _wait_for(self, member: C, rounds: int) -> None:
        """Its time is over: it is stuck after ``rounds`` of the loop (see ``STUCK_AFTER_ROUNDS``)."""
        if rounds:
            again = partial(self._wait_for, member, rounds - 1)
            self._timers.set(member.spec.name, trio.current_time(), again)
        elif not member.stuck:
            self._report_stuck(member)

    def _left_with_stuck_below(self, _: C) -> None:
        """In the task of a member that is a supervisor, which has reported it: a stop is to look again."""
        self._steps.put(_nothing)

    def _back_off(self, member: C) -> None:
        """Let a member that may be restarted wait for it."""
        delay_s = member.budget.delay_s(member.lived_s, self.seams.random)
        member.state = ChildState.BACKOFF
        member.restart_at = trio.current_time() + delay_s
        if delay_s > 0:
            self._timers.set(member.spec.name, member.restart_at, partial(self._restart, member))
        else:
            self._restart(member)

    def _restart(self, member: C) -> None:
        if member.state is ChildState.BACKOFF:
            self._spawn(member)
            self._report(ReportKind.RESTART, member, "started again")

    def _remove(self, member: C) -> None:
        """The member is gone for good."""
        if self._members.get(member.spec.name) is member:
            del self._members[member.spec.name]
        self._timers.clear(member.spec.name)
        member.finish()

    # -- stopping ----------------------------------------------------------------------------------

    async def _stop_children(self, deadline: float) -> Iterable[StopRecord]:
        self._stops = {}
        for member in list(self._members.values()):
            if member.state not in ALIVE:
                self._remove(member)
            # The step of one that has just ended is in the lane; others may be stopping already.
            elif member.alive and member.state is not ChildState.STOPPING:
                self._begin_stop(member, deadline)
        self._timers.set(_DEADLINE, deadline, self._cancel_those_left)
        await self._take_steps(until=self._only_stuck_left)
        for member in self._members.values():
            if member.alive:
                self._note_stop(member, Ending.STUCK)
        return self._stops.values()

    def _note_stop(self, member: C, ending: Ending) -> None:
        seconds = trio.current_time() - member.asked_at
        name = member.spec.name
        self._stops[name] = StopRecord(name, ending, seconds, member.grace_s)

    def _cancel_those_left(self) -> None:
        for member in self._members.values():
            if member.alive and not member.stuck:
                self._cancel(member)

    def _only_stuck_left(self) -> bool:
        return all(member.stuck for member in self._members.values() if member.state in ALIVE)

    def _after(self) -> None:
        while (step := self._steps.take_now()) is not None:
            step()  # answers those who still wait: nothing is started any more
        for member in list(self._members.values()):
            self._remove(member)
        self._timers = Timers()

    def _all_children(self) -> Iterable[Child]:
        return self._members.values()

    def _note(self) -> str:
        return f"{len(self._members)} of {self._max}"


def _nothing() -> None:
    """A step by which the loop comes round."""


def _raise(error: BaseException) -> None:
    raise error


_DEADLINE: Final = ("the deadline of the stop",)  # a timer's key that is no name
