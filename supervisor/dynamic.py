"""The supervisor of children that are started and ended while it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial

import trio

from trouper.actors.ask import ReplySlot
from trouper.actors.reports import Reporter, ReportKind, log_report
from trouper.store.seams import Seams
from trouper.supervisor.budget import RestartBudget
from trouper.supervisor.child import ALIVE, Child, ChildState
from trouper.supervisor.child_spec import ChildExit as ChildExit
from trouper.supervisor.child_spec import ChildSpec, ExitReason, Surroundings
from trouper.supervisor.errors import ChildExists, NoSuchChild, StartFailed, TooManyChildren
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.legal import need, need_kind
from trouper.supervisor.population import Population, PopulationStatistics
from trouper.supervisor.strategy import calls_for_restart


class Member(Child):
    """A child, and who waits for it."""

    __slots__ = ("starter", "terminating", "waiters")

    def __init__(
        self,
        spec: ChildSpec,
        supervisor_path: str,
        variables: Context,
        budget: RestartBudget,
        surroundings: Surroundings,
        starter: ReplySlot[None],
    ) -> None:
        super().__init__(spec, supervisor_path, variables, budget, surroundings)
        self.starter = starter
        """Whoever waits for ``started()``."""
        self.terminating = False
        self.waiters: list[ReplySlot[bool]] = []
        """Those who wait for its end."""


class DynamicSupervisor(Population[Member]):
    """Runs children that come and go, each on its own: none is restarted for another, and one that fails
    too often is given up alone, until ``restart_child`` or ``terminate_child``.

    ``max_children``: those that are running, waiting for a restart, given up or stuck, together.
    ``intensity``: of each child whose spec has none. ``on_exit`` is called with the end of each incarnation,
    in the last step of its task; it must neither wait nor raise.
    """

    KIND = "dynamic"

    def __init__(
        self,
        name: str,
        *,
        max_children: int = 1000,
        on_exit: Callable[[ChildExit], None] | None = None,
        intensity: Intensity | None = None,
        seams: Seams | None = None,
        reporter: Reporter = log_report,
        shutdown_total_s: float = 30.0,
        stuck_after_s: float = 1.0,
    ) -> None:
        super().__init__(
            name,
            max_children,
            seams=seams,
            reporter=reporter,
            shutdown_total_s=shutdown_total_s,
            stuck_after_s=stuck_after_s,
        )
        need_kind(f"supervisor {name!r}: intensity", intensity, Intensity, none=True)
        self._on_exit = on_exit
        self._intensity = intensity or Intensity()

    # -- for everybody -----------------------------------------------------------------------------

    async def start_child(self, spec: ChildSpec) -> None:
        """Start a child, and wait until it says ``started()``, or ``ignore()`` and is gone again. Its
        incarnations have the caller's context variables.

        Raises: ``BadSpec`` (here no child is significant); ``ChildExists``; ``TooManyChildren``;
        ``StartFailed`` or ``StartTimeout``, and the child is gone; ``SupervisorStopped``.

        **Cancellation**: the child is ended, or not started at all. **Resources**: the supervisor's; the
        caller need not end it.
        """
        need_kind(f"supervisor {self.path!r}: a child", spec, ChildSpec)
        need(
            not spec.significant,
            f"child {spec.name!r} is significant: legal under a Supervisor with auto_shutdown",
        )
        starter: ReplySlot[None] = ReplySlot()
        await self._started_by(spec.name, starter, partial(self._start, spec, copy_context(), starter))

    async def restart_child(self, name: str) -> None:
        """Start a child that was given up again, its failures forgotten, and wait for ``started()``.

        Raises and **Cancellation**: as ``start_child``, but a child that fails is given up, not gone; and
        ``NoSuchChild`` if none of that name was given up.
        """
        starter: ReplySlot[None] = ReplySlot()
        await self._started_by(name, starter, partial(self._start_again, name, starter))

    async def terminate_child(self, name: str) -> bool:
        """End a child, also one that waits for its restart, and wait until no task of it is left.

        Returns: whether there was one of that name.

        **Cancellation**: its end goes on.
        """
        if self._nursery is None:
            await trio.lowlevel.checkpoint()
            return False
        waiter: ReplySlot[bool] = ReplySlot()
        self._do(partial(self._terminate, name, waiter))
        return await waiter.wait()

    def state_of(self, name: str) -> ChildState | None:
        """Where the child of that name is in its life; ``None`` if there is none."""
        member = self._members.get(name)
        return None if member is None else member.state

    def statistics(self) -> PopulationStatistics:
        """The use of the supervisor."""
        states = [member.state for member in self._members.values()]
        return self._count(gave_up=states.count(ChildState.GAVE_UP))

    # -- steps of the loop -------------------------------------------------------------------------

    async def _started_by(self, name: str, starter: ReplySlot[None], step: Callable[[], None]) -> None:
        if not self.running:
            await trio.lowlevel.checkpoint()
            raise self._refusal()
        self._do(step)
        try:
            await starter.wait()
        except trio.Cancelled:
            self._do(partial(self._abandon, name, starter))
            raise

    def _start(self, spec: ChildSpec, variables: Context, starter: ReplySlot[None]) -> None:
        if starter.abandoned:
            return
        if not self.running:
            starter.fail(self._refusal())
        elif spec.name in self._members:
            state = self._members[spec.name].state.value
            starter.fail(ChildExists(f"{self.path!r} has a child {spec.name!r} already; it is {state}"))
        elif len(self._members) >= self._max:
            starter.fail(
                TooManyChildren(f"{self.path!r} has {self._max} children, which is its max_children")
            )
        else:
            budget = RestartBudget(spec.intensity or self._intensity, spec.backoff)
            member = Member(spec, self.path, variables, budget, self._surroundings, starter)
            self._members[spec.name] = member
            self._spawn(member)

    def _start_again(self, name: str, starter: ReplySlot[None]) -> None:
        member = self._members.get(name)
        if starter.abandoned:
            return
        if not self.running:
            starter.fail(self._refusal())
        elif member is None or member.state is not ChildState.GAVE_UP:
            state = "there is none" if member is None else f"it is {member.state.value}"
            starter.fail(NoSuchChild(f"{self.path!r} has not given up a child {name!r}: {state}"))
        else:
            member.budget.forgive()
            member.starter = starter
            self._spawn(member)

    def _abandon(self, name: str, starter: ReplySlot[None]) -> None:
        member = self._members.get(name)
        if member is None or member.starter is not starter:
            return
        if member.state is ChildState.BACKOFF:  # it started and crashed in that very moment
            self._remove(member)
        elif member.state in ALIVE:
            member.terminating = True
            if member.alive:
                self._begin_stop_once(member)

    def _terminate(self, name: str, waiter: ReplySlot[bool]) -> None:
        member = self._members.get(name)
        if member is None:
            waiter.succeed(False)
            return
        member.waiters.append(waiter)
        member.terminating = True
        if member.state in (ChildState.BACKOFF, ChildState.GAVE_UP):
            self._remove(member)
        elif member.alive:
            self._begin_stop_once(member)

    def _begin_stop_once(self, member: Member) -> None:
        if member.state is not ChildState.STOPPING:
            self._begin_stop(member, float("inf"))

    def _acknowledged(self, member: Member) -> None:
        super()._acknowledged(member)
        member.starter.succeed(None)

    def _task_ended(self, member: Member, number: int) -> None:
        exit = member.exit  # of this incarnation: it may have been started again in a moment
        super()._task_ended(member, number)
        if self._on_exit is not None and exit is not None:
            self._on_exit(exit)

    def _ended(self, member: Member, failed: StartFailed | None) -> None:
        assert member.exit is not None
        wanted = failed is not None and member.starter.fail(failed)
        if member.terminating or not self.running or (failed is not None and member.incarnation == 1):
            self._remove(member)
        elif wanted:
            member.finish(ChildState.GAVE_UP)
        elif failed is None and not calls_for_restart(member.spec.restart, member.exit.reason):
            if member.exit.reason is ExitReason.IGNORED:
                member.starter.succeed(None)
            self._remove(member)
        elif member.budget.admit(trio.current_time()):
            self._back_off(member)
        else:
            member.finish(ChildState.GAVE_UP)
            self._report(ReportKind.GIVE_UP, member, "failed too often; it waits for restart_child")

    def _remove(self, member: Member) -> None:
        super()._remove(member)
        member.starter.fail(self._refusal())  # if it still waits for a restart that will not come
        for waiter in member.waiters:
            waiter.succeed(True)
