"""The record that a supervisor keeps of one child, and the task that runs one incarnation of it.

The child's cancel scope is unshielded until the child says ``started()`` and shielded from then on: an
outer cancellation ends a start at once, but reaches what runs only through the supervisor, in order.

Not ``nursery.start``: it can wait for ever on a nursery that is being cancelled, it costs eight times
``start_soon``, and it does not let the context variables be chosen.
"""

from __future__ import annotations

import enum
import traceback
from collections.abc import Callable, Iterator
from contextvars import Context
from functools import partial
from itertools import islice
from typing import Any, Final, Self

import attrs
import trio

from trouper.actors.reports import Crash, split_crash
from trouper.supervisor.budget import RestartBudget
from trouper.supervisor.child_spec import ChildContext, ChildExit, ChildSpec, ExitReason, Surroundings
from trouper.supervisor.errors import StartFailed, StartTimeout
from trouper.supervisor.lane import Latch
from trouper.supervisor.tree import TreeNode

STACK_TASKS_MAX: Final = 20
"""Bound of the tasks of a stuck child whose stacks are told."""


class ChildState(enum.Enum):
    """Where a child is in its life."""

    WAITING = "waiting"
    """Declared, not started yet."""
    STARTING = "starting"
    """It has not said ``started()``."""
    RUNNING = "running"
    STOPPING = "stopping"
    """It was asked to end, or cancelled, and has not ended."""
    BACKOFF = "backoff"
    """It will be started again; no task of it is there."""
    ENDED = "ended"
    GAVE_UP = "gave_up"
    """It failed too often; it is started again only if somebody asks for it."""


ALIVE: Final = frozenset({ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING})


class Child:
    """One child over all its incarnations.

    ``variables``: the context variables of whoever asked for the child, for each incarnation alike.
    """

    # There may be very many.
    __slots__ = (
        *("spec", "path", "state", "incarnation", "budget", "restart_at", "asked_at", "grace_s", "cancelled"),
        *("stuck", "acknowledged", "timed_out", "exit", "error", "done", "settled", "__weakref__"),
        *("_variables", "_surroundings", "_started_at", "_ended_at", "_scope", "_context", "_task"),
        *("_on_started", "_finished", "on_left"),
    )

    def __init__(
        self,
        spec: ChildSpec,
        supervisor_path: str,
        variables: Context,
        budget: RestartBudget | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.spec = spec
        self.path = f"{supervisor_path}/{spec.name}"
        self.state = ChildState.WAITING
        self.incarnation = 0
        self.budget = budget or RestartBudget(spec.intensity, spec.backoff)
        self.restart_at = 0.0
        """In ``BACKOFF``: when to start it, on trio's clock."""
        self.asked_at = self.grace_s = 0.0
        self.cancelled = False
        """When it was asked to end, on trio's clock; the grace that it got; whether that was over."""
        self.stuck = False
        """It was cancelled and reported, and has not ended; or so it is with all that is left of it."""
        self.acknowledged = False
        self.timed_out = False
        """It did not say ``started()`` in time."""
        self.exit: ChildExit | None = None
        self.error: BaseException | None = None
        """What the last incarnation crashed of, until the supervisor has seen it: not kept, since it keeps
        the frames it went through."""
        self.done = Latch()
        """The incarnation has ended."""
        self.settled = Latch()
        """It has said ``started()``, or has ended."""
        self._variables = variables
        self._surroundings = surroundings
        self._started_at = self._ended_at = 0.0
        self._scope = trio.CancelScope()
        self._context: ChildContext | None = None
        self._task: trio.lowlevel.Task | None = None
        self._on_started: Callable[[Any], None] | None = None
        self._finished = False
        self.on_left: Callable[[Any], None] | None = None
        """Called with it when all that is left of it is stuck: whoever waits for its end is to know."""

    # -- one incarnation ---------------------------------------------------------------------------

    def spawn(
        self: Self,
        nursery: trio.Nursery,
        on_ended: Callable[[Self, int], None],
        on_started: Callable[[Self], None] | None = None,
    ) -> None:
        """Start the next incarnation in ``nursery``. ``on_ended`` is called with its number in the step in
        which its task ends, ``on_started`` in the one in which it says ``started()``."""
        assert self.state not in ALIVE, f"{self.path} is {self.state.value}"
        number = self.incarnation = self.incarnation + 1
        self.state = ChildState.STARTING
        self.stuck = self.acknowledged = self.timed_out = self._finished = False
        self.exit = self.error = None
        if number > 1:
            self.done, self.settled, self._scope = Latch(), Latch(), trio.CancelScope()
        self._on_started = on_started
        context = self._context = ChildContext(
            self.spec.name,
            self.path,
            number,
            acknowledge=self._acknowledge,
            healthy=self._mark_healthy,
            only_stuck=self._is_left_with_stuck,
            surroundings=self._surroundings,
        )
        live = partial(self._live, context, self._scope, on_ended)
        name = f"{self.path}#{number}"
        self._variables.run(lambda: nursery.start_soon(live, name=name))

    async def _live(
        self: Self, context: ChildContext, scope: trio.CancelScope, on_ended: Callable[[Self, int], None]
    ) -> None:
        self._task = trio.lowlevel.current_task()
        passing: BaseException | None = None
        try:
            with scope:
                await self.spec.start(context)
        # Outside the scope, which has taken its own Cancelled out by now. What must pass is raised below.
        except BaseException as error:  # noqa: ASYNC103
            crash, passing = split_crash(error)
            if crash is not None:
                context.record_crash(crash)
        self._end(context, cancelled=scope.cancelled_caught or passing is not None)
        on_ended(self, context.incarnation)
        if passing is not None:
            raise passing

    @trio.lowlevel.enable_ki_protection
    def _acknowledge(self, number: int) -> None:
        # The state changes here and not in whoever waits for it: a child that says started() and crashes
        # in one step would else look like one that failed to start.
        if number != self.incarnation or self.state is not ChildState.STARTING or self.acknowledged:
            return
        self.acknowledged = True
        self.state = ChildState.RUNNING
        self._scope.shield = True
        self._started_at = trio.current_time()
        self.settled.set()
        if self._on_started is not None:
            self._on_started(self)

    def _mark_healthy(self, number: int) -> None:
        if number == self.incarnation and self.state is ChildState.RUNNING:
            self.budget.mark_healthy()

    def _is_left_with_stuck(self, number: int) -> None:
        if number == self.incarnation and self.alive:
            self.stuck = True
            if self.on_left is not None:
                self.on_left(self)

    @trio.lowlevel.enable_ki_protection
    def _end(self, context: ChildContext, *, cancelled: bool) -> None:
        crash = context.crash
        if crash is not None:
            reason = ExitReason.CRASHED
        elif cancelled:
            reason = ExitReason.CANCELLED
        elif context.asked_to_stop:
            reason = ExitReason.STOPPED
        elif context.ignored and not self.acknowledged:
            reason = ExitReason.IGNORED
        else:
            reason = ExitReason.RETURNED
        self.exit = ChildExit(
            name=self.spec.name,
            incarnation=context.incarnation,
            reason=reason,
            crash=None if crash is None else Crash.of(crash),
            started=self.acknowledged,
        )
        self.error = crash
        self._ended_at = trio.current_time()  # its supervisor may come to it much later
        context.crash = self._context = self._task = None
        self.stuck = False
        self.settled.set()
        self.done.set()

    # -- stopping ----------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether a task of it is there."""
        return self.state in ALIVE and not self.done.is_set()

    def ask_to_stop(self, by: float) -> None:
        """Ask it to end; it will be cancelled at ``by``. One that is still starting is cancelled at once:
        it is not ready to be asked."""
        starting = self.state is ChildState.STARTING
        self.state = ChildState.STOPPING
        if starting:
            self.cancel()
        elif self._context is not None:
            self._context.ask_to_stop(by)

    def cancel(self) -> None:
        """Cancel it. It may shield itself, or block; then it is stuck."""
        self.state = ChildState.STOPPING
        self._scope.cancel()

    def kill(self) -> None:
        """Give up all order: cancel it, within it, and take its shield away."""
        if self.alive:
            self._scope.shield = False
            self.cancel()
            if self._context is not None:
                self._context.kill()

    def finish(self, state: ChildState = ChildState.ENDED) -> None:
        """No further incarnation will come."""
        self.state = state
        if not self._finished:
            self._finished = True
            if self.spec.on_ended is not None:
                self.spec.on_ended(self.exit)

    # -- failing -----------------------------------------------------------------------------------

    def take_error(self) -> BaseException | None:
        """What the last incarnation crashed of, once."""
        error, self.error = self.error, None
        return error

    def start_error(self) -> StartFailed:
        """What to raise to whoever waits for the start of a child that ended without ``started()``."""
        failed: StartFailed
        if self.timed_out:
            failed = StartTimeout(f"{self.path} did not say started() within {self.spec.start_timeout_s} s")
        else:
            assert self.exit is not None
            why = self.exit.crash.summary if self.exit.crash is not None else self.exit.reason.value
            failed = StartFailed(f"{self.path} ended before it said started(): {why}")
        failed.__cause__ = self.take_error()
        return failed

    @property
    def lived_s(self) -> float:
        """How long the last incarnation was running, in seconds; 0 if it never said ``started()``."""
        return self._ended_at - self._started_at if self.acknowledged else 0.0

    # -- looking -----------------------------------------------------------------------------------

    def node(self) -> TreeNode:
        """Its node of the tree."""
        own = self.spec.inspect() if self.spec.inspect is not None else TreeNode(self.spec.name, "child", "")
        state = "stuck" if self.stuck else self.state.value
        waits = self.state is ChildState.BACKOFF
        below = () if self._context is None else self._context.below()
        return attrs.evolve(
            own,
            name=self.spec.name,
            state=state,
            incarnation=self.incarnation,
            restarts=max(0, self.incarnation - 1),
            restart_in_s=max(0.0, self.restart_at - trio.current_time()) if waits else None,
            failures=self.budget.failures,
            children=own.children + below,
        )

    def stack(self) -> str:
        """The stacks of its tasks, the outermost first; what a stuck child waits in."""
        tasks = list(islice(_tasks_below(self._task), STACK_TASKS_MAX))
        return "\n".join(f"task {task.name}:\n{_stack_of(task)}" for task in tasks)


def _tasks_below(task: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    if task is not None:
        yield task
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                yield from _tasks_below(child)


def _stack_of(task: trio.lowlevel.Task) -> str:
    frames = traceback.StackSummary.extract(task.iter_await_frames())
    return "".join(frames.format()) or "  (it has not run)\n"
