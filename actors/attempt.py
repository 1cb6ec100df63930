"""One attempt of a job while it runs: its row, its log, why it was told to stop.

The job actor drives it; the ``JobContext`` is its face towards the user's function.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import trio

from trouper.actors.job_errors import AttemptOver, BadState, OutputRefused, OutputTooLarge, beyond
from trouper.actors.messages import Bells, Message
from trouper.actors.options import JobLimits
from trouper.actors.pace import Pace
from trouper.actors.questions import NoAnswer
from trouper.actors.unsafe_step import UnsafeStep
from trouper.store.errors import StoreUnavailable
from trouper.store.output_log import ENTRY_BYTES_MAX, OutputHash, OutputLog
from trouper.store.protocol import Notify, RefusalReason, Refused, Savepoint, Store
from trouper.store.questions import Ask
from trouper.store.records import Entry, Job
from trouper.store.seams import Seams
from trouper.store.signals import Heard


class StopCause(enum.StrEnum):
    """Why an attempt was told to stop. The first that is recorded counts."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    IDLE = "idle"
    """No entry came for as long as the job's ``idle_timeout``."""
    ASK = "ask"
    """It asks a person, and goes on in another attempt."""
    RELEASE = "release"
    """This node stops, or its store is down: the job is to be queued again."""
    OUTPUT = "output"
    """The store did not accept part of the output."""
    FENCE = "fence"
    """The attempt is no longer ours: write nothing."""


@attrs.frozen
class Progress:
    """How far a job is; only the latest counts."""

    job_id: str
    attempt: int
    done: float
    total: float | None
    note: str | None


@attrs.frozen(kw_only=True)
class AttemptPorts:
    """What an attempt needs of the runtime around it."""

    store: Store
    seams: Seams
    limits: JobLimits
    bells: Bells
    """Ring when a message to a job that runs here is committed."""
    progress: Callable[[Progress], None]
    """Keeps the job's latest progress where those who watch it, now or later, find it."""
    pace: Pace = attrs.field(factory=Pace)
    """The runtime's, shared by all its attempts."""


class Attempt:
    """The state of one attempt. ``on_stop`` is called when a reason to stop has been recorded."""

    def __init__(
        self, job: Job, prefix: OutputHash, ports: AttemptPorts, on_stop: Callable[[], None]
    ) -> None:
        self.job = job
        self.ports = ports
        self.limits = ports.limits
        self.reason: StopCause | None = None
        self.step = UnsafeStep(self._mark_unsafe, self._release_if_asked)
        self.closed = False
        self.bell = ports.bells.open(job)
        self.heard = job.heard
        """How many of the messages to it the job has been given."""
        self._hearing = trio.Lock()
        self.question: Ask | None = None
        """What it asks as it ends."""
        self._release_asked = False
        self._on_stop = on_stop
        self._now = ports.seams.now
        self._started = self._now()
        self._room = trio.lowlevel.ParkingLot()
        self._down_since: float | None = None
        self._entry_at = self._started
        self._store_waits = 0
        self._store_waits_since = 0.0
        self.log = OutputLog(
            job,
            prefix,
            on_dirty=ports.store.dirty,
            on_change=self._settled,
            used_ms=self._used_ms_by_then,
            pending_bytes_max=self.limits.pending_bytes,
            tail_bytes_max=self.limits.tail_bytes,
        )

    def used_ms(self) -> int:
        """Running time over all attempts up to now, in milliseconds."""
        return self.job.used_ms + round((self.ports.seams.now() - self._started) * 1000)

    def _used_ms_by_then(self) -> int:
        """The same up to the last entry, which is what a commit of output tells: no clock is read for it."""
        return self.job.used_ms + int((self._entry_at - self._started) * 1000)

    def idle_s(self) -> float:
        """How long no entry has come, in seconds; 0 while the job waits for the store to take what it has."""
        return 0.0 if self._store_waits else self.ports.seams.now() - self._entry_at

    @contextmanager
    def _waiting_for_store(self) -> Iterator[None]:
        """Take the time that the block takes out of that without an entry."""
        if not self._store_waits:
            self._store_waits_since = self.ports.seams.now()
        self._store_waits += 1
        try:
            yield
        finally:
            self._store_waits -= 1
            if not self._store_waits:
                now = self.ports.seams.now()
                self._entry_at = min(now, self._entry_at + now - self._store_waits_since)

    # --- stopping ---

    def stop(self, reason: StopCause) -> None:
        """Record why, unless a reason is recorded, and have the function's scope cancelled.

        A release never falls into an unsafe step, nor behind one: it waits for the savepoint after it.
        """
        if self.reason is not None or self.closed:
            return
        if reason is StopCause.RELEASE and self.step.name is not None:
            self._release_asked = True
            return
        self.reason = reason
        self._on_stop()

    def close(self) -> None:
        """Refuse everything from now on: the function has ended, or its job is ended without it. Whoever
        still holds the context (a task of another nursery, a callback) is told so by each of its calls."""
        self.closed = True
        self._room.unpark_all()

    def _check_open(self) -> None:
        if self.closed:
            raise AttemptOver(f"attempt {self.job.attempt} of job {self.job.id} is over")

    # --- what the store says ---

    def _settled(self) -> None:
        """An append failed or was refused, or one that somebody waited for went through."""
        if self._store_waits:
            self._room.unpark_all()
        if self.log.refusal is not None:
            fenced = self.log.refusal.reason is RefusalReason.FENCED
            self.stop(StopCause.FENCE if fenced else StopCause.OUTPUT)
        elif self.log.failure is None:
            self._down_since = None
        else:
            self.store_is_down()

    def store_is_down(self) -> None:
        """Note a failure of the store; after ``store_patience_s`` of them the attempt is given back."""
        now = self.ports.seams.now()
        self.log.awaited = True  # output that goes through says that it is up again
        if self._down_since is None:
            self._down_since = now
        elif now - self._down_since >= self.limits.store_patience_s:
            self.stop(StopCause.RELEASE)

    async def persist(self, transaction: Callable[[], Awaitable[Any]]) -> Any:
        """Carry out a transaction, again and again while the store is down.

        Raises ``AttemptOver`` when the store refuses it because the attempt is over, and ``BadState`` when
        it cannot take the data.
        """
        self._check_open()
        pause_s = 0.1
        try:
            with self._waiting_for_store():
                while True:
                    try:
                        result = await transaction()
                    except StoreUnavailable:
                        self.store_is_down()
                        await trio.sleep(pause_s)
                        pause_s = min(2 * pause_s, 2.0)
                        continue
                    return self._accepted(result)
        finally:
            self._down_since = None  # given up or carried out: this says nothing of the store any more

    def _accepted(self, result: Any) -> Any:
        match result:
            case Refused(reason=RefusalReason.POISONED, detail=detail):
                raise BadState(f"the store cannot take this: {detail}")
            case Refused(reason=reason, detail=detail):
                self.stop(StopCause.FENCE if reason is RefusalReason.FENCED else StopCause.OUTPUT)
                raise AttemptOver(f"attempt {self.job.attempt} of job {self.job.id}: {reason} {detail}")
            case _:
                return result

    # --- output ---

    async def append(self, entries: Sequence[tuple[Entry, int]]) -> None:
        """Put entries, each with its payload in bytes, into the log; wait while the store is behind."""
        if self.closed:
            self._check_open()
        log, limits, now = self.log, self.limits, self._now
        most, so_far = limits.output_bytes, log.bytes_total
        # Added up only near the limit: no entry is larger than one may be.
        if so_far + ENTRY_BYTES_MAX * len(entries) > most:
            size = so_far + sum(size for _, size in entries)
            if size > most:
                what = f"with this the output of job {self.job.id} (what earlier attempts left counts)"
                raise OutputTooLarge(beyond(what, size, "bytes", most, "output_bytes"))
        moment = now()  # once: reading the clock is a good part of what a write costs
        if entries:
            self._entry_at = moment
        full = False
        for entry, size in entries:
            full = log.append(entry, size)
        pace = self.ports.pace
        while full:
            log.awaited = True
            with self._waiting_for_store():
                await self._wait_for_room()
            self._check_open()
            moment, full = now(), log.full
            pace.gave_way(moment)
        if pace.wrote(moment, limits.writes_per_checkpoint, limits.checkpoint_s):
            await trio.lowlevel.checkpoint()
            pace.gave_way(now())

    async def _wait_for_room(self) -> None:
        # A store that fails tells so; one that hangs tells nothing.
        with trio.move_on_after(self.limits.store_patience_s) as patience:
            await self._room.park()
        if patience.cancelled_caught:
            self.stop(StopCause.RELEASE)
            await trio.lowlevel.checkpoint()

    def check_event(self, name: str, data: str) -> int:
        """Its payload in bytes, if it may be one."""
        if not name or "\0" in name or len(name) > 100:
            raise OutputRefused(
                f"event name {name!r:.40} has {len(name)}: legal are 1 to 100 characters without NUL"
            )
        size = len(name.encode()) + len(data.encode())
        if size > ENTRY_BYTES_MAX:
            raise OutputRefused(f"event {name!r} has {size} bytes of JSON: legal are up to {ENTRY_BYTES_MAX}")
        return size

    # --- transactions ---

    async def savepoint(self, saved: str) -> None:
        if (size := len(saved.encode())) > (most := self.limits.saved_bytes):
            raise BadState(beyond("the JSON of the state to save", size, "bytes", most, "saved_bytes"))
        entries = self.log.entries
        request = Savepoint(self.job.id, self.job.fence, entries, saved, self.used_ms(), self.heard)
        await self.persist(lambda: self.ports.store.savepoint(request))
        self.log.savepoint = entries
        await self.step.saved()

    async def next_message(self) -> Message:
        """The next message to the job, as soon as there is one; each is given to one of those who wait.

        **Cancellation**: none was given.
        """
        async with self._hearing:
            while True:
                self._check_open()
                await self.bell.more_than(self.heard)
                heard: Heard = await self.persist(self._hear)
                self.heard = heard.upto  # what cannot be read any more is passed over
                if heard.row is not None:
                    return Message.of(heard.row)

    async def _hear(self) -> Heard | Refused:
        return await self.ports.store.hear(self.job.id, self.job.fence, self.heard)

    async def ask(self, ask: Ask) -> str:
        """The answer (JSON) that was given to this question; if it was not asked yet, the end of the attempt.

        Raises ``NoAnswer``, and ``BadState`` for one question too many.
        """
        if self.step.name is not None:  # the attempt that finds the answer would repeat it
            remedy = "ask before it" if self.step.under_way else "save before you ask"
            raise BadState(f"question {ask.key!r} {self.step.place}: {remedy}")
        asked = await self.persist(lambda: self.ports.store.question_of(self.job.id, ask.key))
        if asked.question is not None:
            if asked.question.answer is None:  # it runs again without one: its time was over
                raise NoAnswer(f"nobody answered {ask.key!r} in time")
            return str(asked.question.answer)
        if asked.count >= self.limits.questions:
            what = f"with this job {self.job.id}"
            raise BadState(beyond(what, asked.count + 1, "questions", self.limits.questions, "questions"))
        if self.reason is None:
            self.question = ask
            self.stop(StopCause.ASK)
        await trio.sleep_forever()  # until the stop, which is under way, cancels it
        raise AssertionError("not reached")

    async def _mark_unsafe(self, step: str | None) -> None:
        await self.persist(lambda: self.ports.store.unsafe(self.job.id, self.job.fence, step, self.used_ms()))

    def _release_if_asked(self) -> None:
        if self._release_asked:
            self.stop(StopCause.RELEASE)

    async def notify(self, key: str, title: str, body: str) -> None:
        size = len(title.encode()) + len(body.encode())
        if size > (most := self.limits.notification_bytes):
            what = f"notification {key!r}, title and body,"
            raise BadState(beyond(what, size, "bytes", most, "notification_bytes"))
        request = Notify(
            id=self.ports.seams.new_id(),
            job_id=self.job.id,
            fence=self.job.fence,
            key=key,
            title=title,
            body=body,
            used_ms=self.used_ms(),
        )
        await self.persist(lambda: self.ports.store.notify(request))

    def progress(self, done: float, total: float | None, note: str | None) -> None:
        self._check_open()
        for what, number in (("done", done), ("total", total)):
            if number is not None and not _is_countable(number):
                raise BadState(f"progress {what}={number!r:.40}: legal are finite numbers up to 2^53")
        if note is not None:
            try:
                note.encode()
            except (UnicodeEncodeError, AttributeError):
                raise BadState(f"progress note {note!r:.40}: legal is valid Unicode text") from None
            note = note[: self.limits.note_chars]
        self.ports.progress(Progress(self.job.id, self.job.attempt, done, total, note))


def _is_countable(number: object) -> bool:
    return isinstance(number, int | float) and -(2**53) <= number <= 2**53  # NaN is not
