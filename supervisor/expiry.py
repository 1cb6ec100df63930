"""Expiry: claims due rows and starts their actors; finishes attempts whose actor died unrecorded.

Queue, delay, back-off and recovery after a process death are one thing to it: a claim of due rows. It
is woken by commits that make something due, by the clock at the next due time, and, against clock
jumps and lost wake-ups, every ``sweep_interval_s``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import attrs
import trio

from trouper.actors.actor import Actor, StopReason
from trouper.actors.patience import hash_log
from trouper.actors.reports import Crash, Report, Reporter, ReportKind, deliver
from trouper.store.errors import StoreCorrupt, StoreUnavailable
from trouper.store.protocol import Claims, EndingKind, Finish, Names, Refused, Store
from trouper.store.records import Job, JobState
from trouper.store.seams import Seams
from trouper.store.usage import StoreUsage
from trouper.supervisor.begun import Begun
from trouper.supervisor.errors import StartFailed
from trouper.supervisor.options import RuntimeOptions
from trouper.supervisor.usage import LARGEST_USERS

_STORE_RETRY_S = 1.0
_GIVE_BACK_S = 1.0  # for telling the store, while the runtime stops, that nothing of a claim was begun


@attrs.frozen
class Due:
    """There may be something to claim. Conflated."""


@attrs.frozen
class ActorGone:
    """The actor of an attempt is gone: was the end of the attempt recorded?"""

    job_id: str


ExpiryMessage = Due | ActorGone


def conflation_key(message: ExpiryMessage) -> object:
    return message


@attrs.frozen(kw_only=True)
class ExpiryPorts:
    """What it needs of the runtime around it."""

    store: Store
    seams: Seams
    options: RuntimeOptions
    running: Mapping[str, Any]
    """Job id → actor, of the attempts that run here."""
    begun: Begun
    """Those whose actor was started, until their end is recorded."""
    stopping: Callable[[], bool]
    """Whether the runtime is being stopped: then nothing is claimed."""
    wake_notifiers: Callable[[], None]
    """See that every user with sessions has a notifier."""
    room: Callable[[], int]
    """How many more attempts may run here now."""
    claimed: Callable[[Claims], None]
    """Told of each claim."""
    used: Callable[[StoreUsage], None]
    """Told how far the bounds of users and jobs are used, at each sweep."""
    names: Collection[str]
    """The jobs that can run here."""
    owns: Callable[[int | None], bool]
    """Whether what was claimed under this boot is still this node's."""
    enter: Callable[[Job], Callable[[], Awaitable[None]]]
    """Enter the actor of a claimed row into ``running``; what it gives starts it and waits until it runs."""
    reporter: Reporter
    look: Callable[[Job], None]
    """See that the attempt that runs here does as its row says."""


class Expiry(Actor[ExpiryMessage]):
    """One actor for the runtime."""

    def __init__(self, ports: ExpiryPorts) -> None:
        self._ports = ports
        self._timer = trio.CancelScope()

    async def started(self) -> None:
        self.context.nursery.start_soon(self._sweep_forever)
        self._ports.wake_notifiers()  # if we are started again, so were they, without their actors
        self.context.ref.tell(Due())

    async def receive(self, message: ExpiryMessage) -> None:
        try:
            match message:
                case Due():
                    await self._claim()
                case ActorGone(job_id=job_id):
                    await self._bury(job_id)
        except StoreUnavailable:
            self.context.nursery.start_soon(self._tell_after, _STORE_RETRY_S, message)

    # --- claiming ---

    async def _claim(self) -> None:
        if self._ports.stopping():
            return
        claims = await self._claim_up_to(self._ports.room())
        self._ports.claimed(claims)
        # All of them are known before the first is waited for: a cancel must find every one.
        starts = [self._ports.enter(job) for job in claims.started]
        for job, start in zip(claims.started, starts, strict=True):
            try:
                await start()
            except Exception as error:
                # No actor, so no attempt was used: the row is queued again.
                self._report_start(job, error)
                self.context.ref.tell(ActorGone(job.id))
        self._timer.cancel()
        if claims.next_due_at is not None:
            delay_s = max(0.0, claims.next_due_at - claims.now)
            self._timer = trio.CancelScope()
            self.context.nursery.start_soon(self._wake, self._timer, delay_s)

    async def _claim_up_to(self, limit: int) -> Claims:
        store, options = self._ports.store, self._ports.options
        names = Names(self._ports.names, options.unknown_job_s)
        with self._ports.begun.claiming(store.boot) as begun:
            claims = await store.claim(limit, options.max_running_per_user, names=names, begun=begun)
            if claims.started and not self._ports.owns(claims.started[0].boot):
                raise StoreUnavailable("the answer came too late: what was claimed is others' to run by now")
            return claims

    async def stopped(self, reason: StopReason) -> None:
        """What may have been claimed without an answer is given back: nothing of it will run here."""
        if reason is StopReason.CRASHED or not (self._ports.stopping() and self._ports.begun.unsure):
            return
        try:
            with trio.move_on_after(_GIVE_BACK_S, shield=True):
                await self._claim_up_to(0)
        except StoreUnavailable:
            pass
        if self._ports.begun.unsure:
            what = "a claim was not answered: of what it may have claimed, the next start counts an attempt"
            at = self._ports.seams.wall()
            report = Report(ReportKind.UNRECORDED, "runtime/core", "expiry", 0, what, "", at)
            deliver(self._ports.reporter, report)

    def _report_start(self, job: Job, error: Exception) -> None:
        if isinstance(error, StartFailed):  # its supervisor has reported it
            return
        crash, at = Crash.of(error), self._ports.seams.wall()
        reason = f"no actor for {job.name!r}, which is queued again: {crash.summary}"
        report = Report(ReportKind.START_FAILED, "runtime/core/jobs", job.id, job.attempt, reason, crash, at)
        deliver(self._ports.reporter, report)

    async def _wake(self, timer: trio.CancelScope, delay_s: float) -> None:
        with timer:
            await trio.sleep(delay_s)
            self.context.ref.tell(Due())

    async def _tell_after(self, seconds: float, message: ExpiryMessage) -> None:
        await trio.sleep(seconds)
        self.context.ref.tell(message)

    # --- attempts without an actor ---

    async def _sweep_forever(self) -> None:
        while True:
            await trio.sleep(self._ports.options.sweep_interval_s)
            self._ports.wake_notifiers()  # one that was in quarantine may be started again now
            with suppress(StoreUnavailable):
                await self._sweep()
            self.context.ref.tell(Due())  # last: while a claim is under way, nothing may be forgotten

    async def _sweep(self) -> None:
        store, running = self._ports.store, self._ports.running
        boot, rows = store.boot, await store.running()
        if store.boot == boot:  # else they are of one of the two
            self._ports.begun.keep(boot, {*running, *(job.id for job in rows)})
        for job in rows:
            if job.id not in running:
                self.context.ref.tell(ActorGone(job.id))
            elif job.cancel_requested:
                self._ports.look(job)  # should the word of it have been lost
        self._ports.used(await store.usage(LARGEST_USERS))

    async def _bury(self, job_id: str) -> None:
        """Finish an attempt whose actor died of a bug of ours without recording an end (J6), or give back one
        that never began: its start failed, or its claim was not answered."""
        store = self._ports.store
        head = await store.output_head(job_id)
        if job_id in self._ports.running:
            return
        if head is None or head.job.state is not JobState.RUNNING:
            self._ports.begun.over(job_id)
            return
        if not self._ports.owns(head.job.boot):
            return  # another node's by now, or nobody's: a claim has it, which takes it for a process death
        try:
            sha256 = (await hash_log(store, job_id, head.entries)).hexdigest()
        except StoreCorrupt:
            result = await store.lose(job_id, head.job.fence, "undecodable")
        else:
            result = await store.finish(self._end_of(head.job, head.entries, sha256))
        if isinstance(result, Refused):
            return  # it is orphaned, and a claim is still to be told that it began
        self._ports.begun.over(job_id)

    def _end_of(self, job: Job, entries: int, sha256: str) -> Finish:
        # By the attempt in the row: the actor that is gone may have run an earlier one.
        crashed = (job.id, job.attempt) in self._ports.begun
        return Finish(
            job_id=job.id,
            fence=job.fence,
            kind=EndingKind.CRASHED if crashed else EndingKind.RELEASED,
            entries=entries,
            sha256=sha256,
            used_ms=job.used_ms,
            error="the attempt's actor ended without recording how" if crashed else None,
            reason="actor_died" if crashed else "released",
            jitter=self._ports.seams.random.random(),
        )
