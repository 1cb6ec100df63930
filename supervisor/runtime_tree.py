"""The runtime's tree, and what its parts share.

::

    runtime                     rest_for_one
    ├── store                   the writer and its one thread
    ├── core                    one_for_one
    │   ├── lease               renews the node's lease, where the store has one
    │   ├── notifiers           keyed: one per user with sessions; passivated
    │   ├── jobs                dynamic: one job actor per running attempt (temporary)
    │   ├── expiry              claims due rows, recovery
    │   └── completions         runs the hooks of jobs that have ended
    └── gateways                dynamic: listeners

The heads of outputs and the open channels (``audience``) and the waiters are not actors: they are looked
at in the step after each commit, without a message.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from trouper.actors.attempt import AttemptPorts, StopCause
from trouper.actors.job_actor import JobActor, JobMessage, Stop
from trouper.actors.job_spec import JobSpec
from trouper.actors.mailbox import Mailbox, Overflow
from trouper.actors.messages import Bells
from trouper.actors.ref import ActorRef
from trouper.actors.reports import Report, Reporter, ReportKind, deliver
from trouper.store.errors import StoreAbandoned, StoreError
from trouper.store.options import StoreOptions
from trouper.store.protocol import Claims, CommitNotice, Store
from trouper.store.records import Job, JobState
from trouper.store.seams import Seams
from trouper.store.urls import StoreFactory, create_store
from trouper.store.usage import StoreUsage
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.audience import Audience
from trouper.supervisor.begun import Begun
from trouper.supervisor.child_spec import ChildContext, ChildSpec, Restart
from trouper.supervisor.completions import CompletionsPorts, HooksDue, completions_child
from trouper.supervisor.dynamic import ChildExit, DynamicSupervisor
from trouper.supervisor.errors import StartFailed
from trouper.supervisor.expiry import ActorGone, Due, Expiry, ExpiryPorts
from trouper.supervisor.expiry import conflation_key as expiry_key
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.lease import LeaseKeeper
from trouper.supervisor.options import RuntimeOptions
from trouper.supervisor.strategy import Strategy
from trouper.supervisor.supervisor import Supervisor
from trouper.supervisor.usage import NOTHING
from trouper.supervisor.waiters import Waiters

_SETTLE_S = 5.0  # a job's grace, and then this long for its end to be recorded
_CLOSE_LEAST_S = 0.5  # for the store's end, however short the whole stop is to be


class RuntimeTree:
    """Builds the tree and ties its parts together. Internal: applications hold a ``Runtime``."""

    def __init__(
        self,
        url: str | StoreFactory,
        specs: Mapping[str, JobSpec[Any, Any]],
        options: RuntimeOptions,
        store_options: StoreOptions,
        seams: Seams,
        reporter: Reporter,
    ) -> None:
        self.specs = specs
        self.options = options
        self.seams = seams
        self.reporter = reporter
        self.stopping = False
        self.ready = False
        self._opened = False
        # However the rest goes, the store is to have its time, and the whole to end in its own.
        close_s = min(store_options.close_s, max(_CLOSE_LEAST_S, options.shutdown_total_s / 2))
        self.store_options = attrs.evolve(store_options, close_s=close_s)
        self._close_store_at = math.inf
        self._serving = trio.CancelScope()
        """Of the store's child; ends when the store is to."""
        self.running: dict[str, ActorRef[JobMessage]] = {}
        """Job id → actor, of the attempts that run here."""
        self.begun = Begun()
        self.store: Store = create_store(url, seams, self.store_options)
        self.store.listen(self._committed)
        self.audience = Audience(self.store, options, seams, reporter)
        self.lease = LeaseKeeper(self.store, seams, self._lease_lost)
        self.used = NOTHING
        self._ahead_s = 0.0
        self.waiters = Waiters()
        self.bells = Bells()
        self._idle = trio.Event()
        self._root_ended = trio.Event()
        self._store_error: BaseException | None = None
        self._build()

    def _build(self) -> None:
        options = self.options
        self.jobs = DynamicSupervisor(
            "jobs",
            max_children=2 * options.max_running,  # tasks that would not end still take a place
            seams=self.seams,
            reporter=self.reporter,
            on_exit=self._job_actor_gone,
        )
        expiry_spec, self.expiry = actor_child(
            "expiry",
            self._make_expiry,
            mailbox=Mailbox(options.expiry_mailbox, Overflow.CONFLATE, conflate_key=expiry_key),
        )
        self.hooks = CompletionsPorts(
            store=self.store,
            seams=self.seams,
            options=options,
            specs=self.specs,
            reporter=self.reporter,
            stopping=lambda: self.stopping,
            owns=self.lease.owns,
        )
        completions_spec, self.completions = completions_child(self.hooks)
        core = Supervisor(
            "core",
            [
                ChildSpec("lease", self.lease.run),
                self.audience.notifiers.child_spec(),
                self.jobs.child_spec(),
                expiry_spec,
                ChildSpec("queue_board", self.audience.board.run),
                completions_spec,
            ],
            strategy=Strategy.ONE_FOR_ONE,
            intensity=Intensity(5, 10.0),
            seams=self.seams,
            reporter=self.reporter,
        )
        self.gateways = DynamicSupervisor(
            "gateways", max_children=64, seams=self.seams, reporter=self.reporter
        )
        self.root = Supervisor(
            "runtime",
            [ChildSpec("store", self._run_store), core.child_spec(), self.gateways.child_spec()],
            strategy=Strategy.REST_FOR_ONE,
            intensity=Intensity(3, 30.0),
            shutdown_total_s=options.shutdown_total_s,
            stuck_after_s=self.store_options.close_s + 1.0,  # the store's own time, if its turn comes last
            seams=self.seams,
            reporter=self._report_of_the_root,
        )

    def _report_of_the_root(self, report: Report) -> None:
        # A store that cannot be had comes out of ``open``: whoever is told twice looks for two errors.
        told = report.kind is ReportKind.START_FAILED and self._store_error is not None
        if self._opened or not told:
            self.reporter(report)

    # --- open and close ---

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Start the tree, and at the end drain it and stop it in order.

        Raises what the store could not be opened for. A second Ctrl-C, or any exception inside the stop,
        gives up all order and grace, and passes on.
        """
        async with trio.open_nursery() as nursery:
            failure = await nursery.start(self._run_root)
            if failure is None:
                self.ready = self._opened = True
                try:
                    yield
                except Exception as error:
                    failure = error
                finally:
                    self.ready = False
                    self.stopping = True
                    with trio.CancelScope(shield=True):
                        await self._stop()
        if failure is not None:  # raised here: our nursery is no reason to wrap a caller's error in a group
            raise failure

    async def _run_root(self, *, task_status: trio.TaskStatus[BaseException | None]) -> None:
        try:
            await self.root.run(task_status=task_status)
        except StartFailed as failure:
            task_status.started(self._store_error or failure)
        finally:
            self._root_ended.set()
            self.waiters.wake_all()
            self.audience.subscribers.close_all()

    @property
    def ended(self) -> bool:
        """Nothing of it runs any more."""
        return self._root_ended.is_set()

    async def _stop(self) -> None:
        at = trio.current_time() + self.options.shutdown_total_s - self.store_options.close_s
        # Not in its turn, if that comes later: those before it may be waiting for a disk that hangs.
        self._close_store_at = self._serving.deadline = at
        try:
            if not self.ended:
                await self._drain()
            self.root.stop(by=at)
            await self._root_ended.wait()
        except BaseException:
            self.root.kill()
            raise

    async def _drain(self) -> None:
        """Have every running attempt given back, while sessions still watch; bounded."""
        for ref in list(self.running.values()):
            ref.tell(Stop(StopCause.RELEASE))
        settled_at = trio.current_time() + self.options.jobs.grace_s + _SETTLE_S
        with trio.move_on_at(min(settled_at, self._close_store_at)):
            while self.running:
                self._idle = trio.Event()
                await self._idle.wait()

    # --- the children ---

    async def _run_store(self, context: ChildContext) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self.lease.begin()
                await nursery.start(self.store.run)
                context.started()
                with trio.CancelScope(deadline=self._close_store_at) as self._serving:
                    await context.stopping.wait()
                nursery.cancel_scope.cancel()
        except* StoreAbandoned as group:
            if not self.stopping:  # it could not be opened, or has crashed
                self._store_error = group.exceptions[0]
                raise
            self._report_abandoned(group.exceptions[0])
        except* StoreError as group:
            self._store_error = group.exceptions[0]
            raise
        if self._serving.cancelled_caught:  # its end came before its turn
            await context.stopping.wait()

    def _report_abandoned(self, why: BaseException) -> None:
        reason = f"{why}. An attempt whose end was not recorded is a process death to the next start"
        report = Report(ReportKind.ABANDONED, "runtime", "store", 0, reason, "", self.seams.wall())
        deliver(self.reporter, report)

    def _make_expiry(self) -> Expiry:
        self.waiters.wake_all()  # a store that crashed may not have told of its last commit
        ports = ExpiryPorts(
            store=self.store,
            seams=self.seams,
            options=self.options,
            running=self.running,
            begun=self.begun,
            stopping=lambda: self.stopping,
            wake_notifiers=self.audience.wake_notifiers,
            room=self._room,
            claimed=self._claimed,
            used=self._used,
            enter=self._enter_job,
            reporter=self.reporter,
            look=self._row_changed,
            names=frozenset(self.specs),
            owns=self.lease.owns,
        )
        return Expiry(ports)

    def _room(self) -> int:
        """Places for attempts: those that run, and those whose task would not end, take one."""
        if not self.jobs.running or not self.lease.held:
            return 0
        stuck_too = 2 * self.options.max_running - self.jobs.statistics().children
        return max(0, min(self.options.max_running - len(self.running), stuck_too))

    def _enter_job(self, job: Job) -> Callable[[], Awaitable[None]]:
        ports = AttemptPorts(
            store=self.store,
            seams=self.seams,
            limits=self.options.jobs,
            bells=self.bells,
            progress=self.audience.outputs.progressed,
            pace=self.audience.outputs.pace,
        )
        spec, ref = actor_child(
            f"{job.id}#{job.attempt}",
            lambda: JobActor(job, self.specs[job.name], ports, self.audience.outputs, self.reporter),
            restart=Restart.TEMPORARY,
            shutdown_s=self.options.jobs.grace_s,
        )
        self.running[job.id] = ref

        async def start() -> None:
            self.begun.begin(job.id, job.attempt)
            try:
                await self.jobs.start_child(spec)
            except BaseException as error:
                if isinstance(error, Exception):  # else nobody knows whether it begins
                    self.begun.over(job.id)
                if self.running.get(job.id) is ref:
                    del self.running[job.id]
                    self._check_idle()
                raise
            if self.stopping:
                ref.tell(Stop(StopCause.RELEASE))

        return start

    # --- what happens ---

    def _committed(self, notice: CommitNotice) -> None:
        """The step after each commit."""
        self.audience.committed(notice)
        for job in notice.jobs:
            if job.state.terminal:
                if job.options.on_ended:
                    self.completions.tell(HooksDue())
                self.waiters.wake(job.id)
            self.bells.ring(job)
            self._row_changed(job)
        if notice.due:
            self.expiry.tell(Due())

    def _claimed(self, claims: Claims) -> None:
        self.audience.board.counted(claims.queued)
        if self.store.lease is not None:
            self._ahead_s = claims.now - self.seams.wall()

    def now(self) -> float:
        """By the clock that the times of rows are by. (A store that nodes share has one of its own, and what
        it shows comes with every claim, so at least once a sweep.)"""
        return self.seams.wall() + self._ahead_s

    def _used(self, used: StoreUsage) -> None:
        self.used = used

    def _row_changed(self, job: Job) -> None:
        """See that the attempt that runs here, if one does, does as its row says."""
        ref = self.running.get(job.id)
        if ref is None:
            return
        if ref.name != f"{job.id}#{job.attempt}":  # somebody claimed it anew: this attempt is over
            ref.tell(Stop(StopCause.FENCE))
        elif job.state is JobState.RUNNING and job.cancel_requested:
            ref.tell(Stop(StopCause.CANCEL))
        if job.stuck and job.state is not JobState.RUNNING:
            del self.running[job.id]
            self._check_idle()  # its task goes on, but its place is free

    def _lease_lost(self, why: str) -> None:
        """What runs here may soon run elsewhere: stop it all, and write nothing."""
        reason = f"{why}: {len(self.running)} attempts are stopped here, and others may run them"
        at = self.seams.wall()
        deliver(self.reporter, Report(ReportKind.LEASE_LOST, "runtime/core", "lease", 0, reason, "", at))
        for ref in list(self.running.values()):
            ref.tell(Stop(StopCause.FENCE))

    def _job_actor_gone(self, exit: ChildExit) -> None:
        job_id = exit.name.rpartition("#")[0]
        ref = self.running.get(job_id)
        if ref is None or ref.name != exit.name:
            return  # a stuck task has ended at last; its place was given away long ago
        del self.running[job_id]
        self.expiry.tell(ActorGone(job_id))
        self.expiry.tell(Due())
        self._check_idle()

    def _check_idle(self) -> None:
        if not self.running:
            self._idle.set()
