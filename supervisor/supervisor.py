"""The supervisor of children in an order: most known from the start, restarted by a strategy."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from functools import partial

import attrs
import trio

from trouper.actors.ask import ReplySlot
from trouper.actors.reports import Reporter, log_report
from trouper.store.seams import Seams
from trouper.supervisor.child import Child, ChildState
from trouper.supervisor.child_spec import ChildSpec
from trouper.supervisor.errors import BadSpec, ChildExists, NoSuchChild, TooManyChildren
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.legal import is_count, need, need_kind
from trouper.supervisor.ordered import OrderedChildren, Step
from trouper.supervisor.strategy import AutoShutdown, Strategy, may_be_significant


@attrs.frozen
class SupervisorStatistics:
    """The children of a supervisor by what they do, and what happened since it was made."""

    children: int
    running: int
    backoff: int
    stuck: int
    crashes: int
    restarts: int
    max_children: int
    ended: int
    """Ended for good, or until somebody calls ``restart_child``."""


class Supervisor(OrderedChildren):
    """Starts its children in order, restarts them, stops them in the reverse order.

    ``strategy``: who is restarted with a child that failed. ``intensity``: how often it restarts, over all
    children; beyond that, or beyond a child's own, it stops the rest and raises ``MaxRestartIntensity``,
    which is a crash to the supervisor above. ``auto_shutdown``: whether it ends by itself, in order and
    as if it had returned, when significant children have ended. ``max_children``: those declared and
    those added by ``start_child``, together.

    What is asked of it is done one after the other, and a step waits for the children that it starts and
    stops. A child must therefore not await one of these methods before it has said ``started()``, nor
    while it is being stopped.
    """

    def __init__(
        self,
        name: str,
        children: Sequence[ChildSpec] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity | None = None,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        max_children: int = 1000,
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
        what = f"supervisor {name!r}: "
        need_kind(f"{what}strategy", strategy, Strategy)
        need_kind(f"{what}intensity", intensity, Intensity, none=True)
        need_kind(f"{what}auto_shutdown", auto_shutdown, AutoShutdown)
        need(is_count(max_children), f"{what}max_children={max_children!r}: legal is 1 or more")
        self._strategy = strategy
        self._intensity = intensity or Intensity()
        self._auto_shutdown = auto_shutdown
        self._max = max_children
        self._specs = tuple(children)
        for spec in self._specs:
            need_kind(f"{what}a child", spec, ChildSpec)
            self._check_significance(spec)
        names = [spec.name for spec in self._specs]
        need(len(set(names)) == len(names), f"the children of {name!r} need different names, not {names}")
        need(len(names) <= max_children, f"{what}{len(names)} children, but max_children={max_children}")
        self._begin()

    def _check_significance(self, spec: ChildSpec) -> None:
        if spec.significant and not may_be_significant(self._auto_shutdown, spec.restart):
            raise BadSpec(
                f"child {spec.name!r} is significant: legal where auto_shutdown is any_significant or "
                f"all_significant, and {self.name!r} has {self._auto_shutdown.value}"
            )

    # -- for everybody -----------------------------------------------------------------------------

    async def start_child(self, spec: ChildSpec) -> None:
        """Add a child behind the others, start it, and wait until it says ``started()`` or ``ignore()``.
        Its incarnations have the caller's context variables. When the supervisor itself is started again,
        only the children that were declared with it come back.

        Raises: ``BadSpec``; ``ChildExists``; ``TooManyChildren``; ``StartFailed`` or ``StartTimeout``, and
        the child is gone; ``SupervisorStopped``.

        **Cancellation**: the child is ended, or not started at all. **Resources**: the supervisor's.
        """
        need_kind(f"supervisor {self.path!r}: a child", spec, ChildSpec)
        self._check_significance(spec)
        starter: ReplySlot[None] = ReplySlot()
        await self._asked(starter, partial(self._add, spec, copy_context(), starter))

    async def restart_child(self, name: str) -> None:
        """Start a child that has ended again, its failures forgotten, and wait for ``started()``.

        Raises: ``NoSuchChild``, also for one that runs or waits for its restart; ``StartFailed`` or
        ``StartTimeout``, and the child has ended as before; ``SupervisorStopped``.

        **Cancellation**: the child is ended again, or not started at all.
        """
        starter: ReplySlot[None] = ReplySlot()
        await self._asked(starter, partial(self._start_again, name, starter))

    async def terminate_child(self, name: str) -> bool:
        """End a child, also one that waits for its restart, and wait until no task of it is left. It stays
        known: ``restart_child`` starts it again, ``delete_child`` forgets it.

        Returns: whether there is one of that name.

        **Cancellation**: its end goes on.
        """
        if self._nursery is None:
            await trio.lowlevel.checkpoint()
            return False
        waiter: ReplySlot[bool] = ReplySlot()
        refuse = partial(self._answer_ended, name, waiter)
        self._steps.put(Step(partial(self._terminate, name, waiter), refuse))
        return await waiter.wait()

    async def delete_child(self, name: str) -> None:
        """Forget a child that has ended.

        Raises: ``NoSuchChild``, also for one that runs or waits for its restart; ``SupervisorStopped``.

        **Cancellation**: it is forgotten all the same, or not.
        """
        slot: ReplySlot[None] = ReplySlot()
        await self._asked(slot, partial(self._delete, name, slot))

    def state_of(self, name: str) -> ChildState | None:
        """Where the child of that name is in its life; ``None`` if there is none."""
        child = self._children.get(name)
        return None if child is None else child.state

    def statistics(self) -> SupervisorStatistics:
        """The use of the supervisor. (``tree()`` has the children one by one.)"""
        states = [child.state for child in self._children.values()]
        return SupervisorStatistics(
            children=len(states) if self._nursery is not None else len(self._specs),
            running=states.count(ChildState.RUNNING),
            backoff=states.count(ChildState.BACKOFF),
            stuck=sum(child.stuck for child in self._children.values()),
            crashes=self._crashes,
            restarts=self._restarts,
            max_children=self._max,
            ended=states.count(ChildState.ENDED),
        )

    # -- steps of the loop -------------------------------------------------------------------------

    async def _asked(self, slot: ReplySlot[None], run: Callable[[], Awaitable[None]]) -> None:
        if not self.running:
            await trio.lowlevel.checkpoint()
            raise self._refusal()
        self._steps.put(Step(run, lambda: slot.fail(self._refusal())))
        try:
            await slot.wait()
        except trio.Cancelled:
            starting = self._starting
            if starting is not None and starting[1] is slot:
                starting[0].cancel()
            raise

    async def _add(self, spec: ChildSpec, variables: Context, starter: ReplySlot[None]) -> None:
        if starter.abandoned:
            return
        if (other := self._children.get(spec.name)) is not None:
            state = other.state.value
            starter.fail(ChildExists(f"{self.path!r} has a child {spec.name!r} already; it is {state}"))
        elif len(self._children) >= self._max:
            starter.fail(
                TooManyChildren(f"{self.path!r} has {self._max} children, which is its max_children")
            )
        else:
            child = self._children[spec.name] = self._make(spec, variables)
            if not await self._start_for(child, starter):
                del self._children[spec.name]
                child.finish()

    async def _start_again(self, name: str, starter: ReplySlot[None]) -> None:
        if starter.abandoned:
            return
        child = self._children.get(name)
        if child is None or child.state is not ChildState.ENDED:
            starter.fail(self._not_ended(name, child))
            return
        child.budget.forgive()
        if not await self._start_for(child, starter):
            child.finish()

    async def _start_for(self, child: Child, starter: ReplySlot[None]) -> bool:
        """Start a child for somebody who waits for it, and may not wait to the end."""
        self._starting = child, starter
        failed = await self._start(child, wanted=lambda: not starter.abandoned)
        self._starting = None
        if failed is not None:
            starter.fail(failed)
            return False
        if starter.succeed(None):
            return True
        if child.alive:
            await self._stop_one(child, math.inf, wait_for_stuck=True)
        else:
            self._note_end(child)  # it started and ended in the moment in which nobody waited any more
        return False

    async def _terminate(self, name: str, waiter: ReplySlot[bool]) -> None:
        child = self._children.get(name)
        if child is None:
            waiter.succeed(False)
            return
        if child.alive and not child.stuck:
            await self._stop_one(child, math.inf, wait_for_stuck=False)
        if child.alive:  # it is stuck: the others need not wait for it
            self._waiters.setdefault(name, []).append(waiter)
            return
        self._note_crash(child)  # it ended by itself a moment ago
        self._finish(child)
        for each in (waiter, *self._waiters.pop(name, ())):
            each.succeed(True)

    async def _delete(self, name: str, slot: ReplySlot[None]) -> None:
        child = self._children.get(name)
        if child is None or child.state is not ChildState.ENDED:
            slot.fail(self._not_ended(name, child))
        else:
            del self._children[name]
            slot.succeed(None)

    def _not_ended(self, name: str, child: Child | None) -> NoSuchChild:
        state = "there is none" if child is None else f"it is {child.state.value}"
        return NoSuchChild(f"{self.path!r} has no child {name!r} that has ended: {state}")

    def _answer_ended(self, name: str, waiter: ReplySlot[bool]) -> None:
        waiter.succeed(name in self._children)
