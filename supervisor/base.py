"""What every supervisor has: one nursery whose body is its loop, and an ordered stop.

    run()
    └── nursery
        ├── body: the work, until stop(), a cancellation, or a failure; then always the ordered stop
        └── a task for each child, in a cancel scope of its own

The loop is the nursery's body and no task in it: who would handle the crash of a loop that is a child?
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from typing import ClassVar

import trio

from trouper.actors.reports import Crash, Report, Reporter, ReportKind, deliver, log_report, summary_of
from trouper.actors.sweeper import sweeper
from trouper.store.seams import Seams
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.child import Child
from trouper.supervisor.child_spec import ChildContext, ChildSpec, Surroundings
from trouper.supervisor.errors import SupervisorStopped
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.legal import need, need_kind, need_seconds
from trouper.supervisor.shutdown import ShutdownRecord, StopRecord
from trouper.supervisor.strategy import Restart
from trouper.supervisor.tree import NODES_PER_SUPERVISOR, TreeNode, rooted


class BaseSupervisor(ABC):
    """See ``Supervisor``, ``DynamicSupervisor``, ``KeyedSupervisor``.

    ``shutdown_total_s``: how long the ordered stop may take; a nested supervisor has no more than what is
    left to the one above it. ``stuck_after_s``: how long after being cancelled a child counts as stuck.
    """

    KIND: ClassVar[str]

    def __init__(
        self,
        name: str,
        *,
        seams: Seams | None = None,
        reporter: Reporter = log_report,
        shutdown_total_s: float = 30.0,
        stuck_after_s: float = 1.0,
    ) -> None:
        need_kind("a supervisor's name", name, str)
        need(bool(name) and "/" not in name, f"a supervisor's name is not empty and has no '/', as {name!r}")
        need_seconds(f"supervisor {name!r}: shutdown_total_s", shutdown_total_s, zero=True)
        need_seconds(f"supervisor {name!r}: stuck_after_s", stuck_after_s)
        need_kind(f"supervisor {name!r}: seams", seams, Seams, none=True)
        need(callable(reporter), f"supervisor {name!r}: reporter is a function of a Report, not {reporter!r}")
        self.name = name
        self.path = name
        """Its name after those of the supervisors above it, once it runs."""
        self.seams = seams or Seams()
        self._reporter = reporter
        self._shutdown_total_s = shutdown_total_s
        self._stuck_after_s = stuck_after_s
        self._surroundings = Surroundings(self.seams, reporter, shutdown_total_s, stuck_after_s)
        self._nursery: trio.Nursery | None = None
        self._variables = Context()
        self._work = trio.CancelScope()
        self._stop = trio.CancelScope()
        self._stop_by = math.inf
        self._stopping = False
        self._stop_first = False
        """It was asked to stop while it did not run."""
        self._killed = False
        self._failure: Exception | None = None
        self._why_stopped = ""
        self._left_with_stuck: Callable[[], None] = lambda: None
        self.last_shutdown: ShutdownRecord | None = None
        """The last ordered stop, once there was one."""

    # -- running -----------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the children, keep them running, stop them in order.

        ``task_status.started()`` is called when all static children have said that they started. Returns
        after ``stop()``. Raises: ``StartFailed``; ``MaxRestartIntensity``, from the last crash; a group with
        what must pass (``KeyboardInterrupt``, ``SystemExit``) if that came out of a child.

        **Cancellation**: an ordered stop, shielded, within ``shutdown_total_s``; then ``Cancelled`` passes
        on. An exception inside the stop, as a second Ctrl-C if this is the main task, cancels all that is
        left, and passes; where another task gets that Ctrl-C, it calls ``kill``.
        **Resources**: no task of a child is left. It can be run again afterwards.
        """
        self.path = self.name
        with rooted(self.tree):
            await self._run(lambda: task_status.started())

    def child_spec(
        self,
        *,
        restart: Restart = Restart.PERMANENT,
        shutdown_s: float = math.inf,
        start_timeout_s: float = 60.0,
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
        significant: bool = False,
    ) -> ChildSpec:
        """This supervisor as a child of another. Its grace is by default all that the other has left."""
        return ChildSpec(
            self.name,
            self._run_as_child,
            restart=restart,
            shutdown_s=shutdown_s,
            start_timeout_s=start_timeout_s,
            intensity=intensity,
            backoff=backoff,
            significant=significant,
            inspect=self.tree,
        )

    def stop(self, by: float = math.inf) -> None:
        """Ask for the ordered stop, after which ``run`` returns. It has ``shutdown_total_s``, but no longer
        than ``by``, on trio's clock.

        As with a cancel scope, it may be asked before: the next ``run`` then starts nothing, says
        ``started()`` and returns. Else whoever stops what another task is just about to run would be
        ignored, and wait for its end for ever.
        """
        self._stop_first = self._nursery is None
        self._stop_by = min(self._stop_by, by)
        self._work.cancel()

    def kill(self) -> None:
        """Give up all order and grace: cancel everything that is left, nested supervisors included.

        For whoever waits for the stop in another task and gets the second Ctrl-C there.
        """
        self._stop_first = self._nursery is None
        self._killed = True
        for child in list(self._all_children()):
            child.kill()
        self._work.cancel()
        self._stop.cancel()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def _run_as_child(self, context: ChildContext) -> None:
        def asked() -> None:
            self._stop_by = context.stop_by
            self.stop()

        self.path = context.path
        context.on_stop(asked)
        context.on_kill(self.kill)
        self._left_with_stuck = context.left_with_stuck
        await self._run(context.started)

    async def _run(self, acknowledge: Callable[[], None]) -> None:
        if self._nursery is not None:
            raise RuntimeError(f"supervisor {self.path!r} is running already")
        self._variables = copy_context()
        self._work, self._stop = trio.CancelScope(), trio.CancelScope(shield=True)
        self._stop_by = math.inf
        self._stopping = self._killed = False
        self._failure = None
        self._why_stopped = "it was asked to"
        stop_first, self._stop_first = self._stop_first, False
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    with self._work:
                        if stop_first:
                            acknowledge()
                        else:
                            await self._supervise(acknowledge)
                except BaseException as error:
                    cancelled = isinstance(error, trio.Cancelled)
                    self._why_stopped = "it was cancelled" if cancelled else summary_of(error)
                    raise
                finally:
                    await self._stop_in_order()  # noqa: ASYNC102  # it shields itself, with a deadline
        finally:
            self._nursery = None
            self._after()
            await sweeper().rest()  # noqa: ASYNC102  # it shields itself, for one step
        # Raised here and not in the body, so that the nursery does not wrap it in a group.
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure

    async def _stop_in_order(self) -> None:
        self._stopping = True
        began = trio.current_time()
        deadline = min(began + self._shutdown_total_s, self._stop_by)
        why = f"{self._failure}" if self._failure is not None else self._why_stopped
        try:
            with self._stop:
                if not self._killed:
                    stops = await self._stop_children(deadline)
                    took_s = trio.current_time() - began
                    record = self.last_shutdown = ShutdownRecord.of(self.path, why, took_s, stops)
                    self._report(ReportKind.SHUTDOWN, None, f"stopped: {why}", str(record), record)
                    if any(child.alive for child in self._all_children()):
                        self._left_with_stuck()
        except BaseException:
            # The children are shielded: nothing from outside would ever reach them again.
            self.kill()
            raise

    # -- what each kind of supervisor adds ---------------------------------------------------------

    @abstractmethod
    async def _supervise(self, acknowledge: Callable[[], None]) -> None:
        """Start what there is, acknowledge, work. Sets ``_failure`` and returns in order to fail."""

    @abstractmethod
    async def _stop_children(self, deadline: float) -> Iterable[StopRecord]:
        """Stop all children by ``deadline``; how each ended, in order."""

    @abstractmethod
    def _after(self) -> None:
        """No task is left: end what still waits for something."""

    @abstractmethod
    def _all_children(self) -> Iterable[Child]:
        """The children, in the order of their start."""

    @abstractmethod
    def _note(self) -> str:
        """What to say of it in the tree."""

    # -- shared ------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it runs and is not stopping."""
        return self._nursery is not None and not (self._stopping or self._killed)

    def tree(self) -> TreeNode:
        """It and what is below it, as it is now."""
        children = list(self._all_children())
        shown = children[:NODES_PER_SUPERVISOR]
        state = "stopped" if self._nursery is None else "stopping" if self._stopping else "running"
        return TreeNode(
            self.name,
            self.KIND,
            state,
            note=self._note(),
            children=tuple(child.node() for child in shown),
            hidden=len(children) - len(shown),
        )

    def _body(self) -> trio.Nursery:
        assert self._nursery is not None, f"supervisor {self.path!r} is not running"
        return self._nursery

    def _refusal(self) -> SupervisorStopped:
        state = "is stopping" if self._stopping and self._nursery is not None else "is not running"
        return SupervisorStopped(f"supervisor {self.path!r} {state}: it starts nothing")

    def _report(
        self,
        kind: ReportKind,
        child: Child | None,
        reason: str,
        detail: str | Crash = "",
        value: object = None,
    ) -> None:
        name, number = (None, 0) if child is None else (child.spec.name, child.incarnation)
        report = Report(kind, self.path, name, number, reason, detail, self.seams.wall(), value)
        deliver(self._reporter, report)

    def _report_crash(self, child: Child) -> None:
        exit = child.exit
        if exit is not None and exit.crash is not None:
            self._report(ReportKind.CRASH, child, exit.crash.summary, exit.crash, exit)

    def _report_stuck(self, child: Child) -> None:
        child.stuck = True
        why = f"cancelled {self._stuck_after_s} s ago, and has not ended"
        self._report(ReportKind.STUCK, child, why, child.stack())
