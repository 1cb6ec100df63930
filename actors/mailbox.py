"""The mailbox: two lanes, a bound, and what happens at the bound.

          offer / put                                        get
    tell ────────────────> data lane, bounded ─────────┐
    post ────────────────> control lane, one of a kind ┴──> one consumer, one message at a time

It is our own and not a memory channel: those cannot put a control message first, replace an older
message, drop the oldest, or keep their content while one consumer ends and the next begins. It
belongs to the *ref*: what waits here survives a crash of the actor and is handled by its next
incarnation.

Every accepted message ends in exactly one way, and ``statistics()`` has the sums: handled,
superseded by a newer one with its key, returned to its asker as an error, or a dead letter.
"""

from __future__ import annotations

import enum
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar

import attrs
import outcome
import trio

from trouper.actors.envelope import DeadLetter, DeadLetterOffice, DeadReason, Delivery, Envelope
from trouper.actors.errors import ActorError, ActorStopped, MailboxFull
from trouper.actors.signals import Signal, StopReason

M = TypeVar("M")

CHECKPOINT_EVERY: Final = 64
"""Messages handed out without letting another task run. A checkpoint at each costs ten times a message;
none at all would let one busy actor starve the loop."""


class Overflow(enum.Enum):
    """What happens to a message that finds no room."""

    BLOCK = "block"
    """``send`` and ``ask`` wait for room; ``tell`` is told ``DROPPED``."""
    REJECT = "reject"
    """``send`` and ``ask`` raise ``MailboxFull``; ``tell`` is told ``DROPPED``."""
    DROP_OLDEST = "drop_oldest"
    """The oldest waiting message makes room."""
    CONFLATE = "conflate"
    """A newer message takes the place of the waiting one with its key, room or not; else as ``BLOCK``."""


@attrs.frozen
class MailboxStatistics:
    """The use of a mailbox. ``accepted`` is the sum of all the fields after it."""

    capacity: int
    overflow: str
    senders_waiting: int
    """Tasks in ``send`` or ``ask`` that wait for room; their messages are not accepted yet."""
    refused: int
    """Told ``DROPPED`` or ``DEAD``, so never accepted."""
    accepted: int
    waiting: int
    under_way: int
    handled: int
    superseded: int
    returned: int
    """Requests that will not be handled, whose askers were given an error."""
    dead: dict[DeadReason, int]

    @property
    def unaccounted(self) -> int:
        """Accepted messages of which nobody knows what became: always 0."""
        ended = self.handled + self.superseded + self.returned + sum(self.dead.values())
        return self.accepted - ended - self.waiting - self.under_way


@attrs.frozen
class _Closed:
    reason: StopReason
    error: Callable[[], ActorError]  # a new one for each caller: an exception collects its raisers' frames
    delivery: Delivery


class Mailbox(Generic[M]):
    """The mailbox of one actor.

    ``capacity``: messages that may wait. ``conflate_key``: for ``CONFLATE`` only, the key of a message,
    ``None`` for one that is never replaced; requests never are. ``on_dead_letter`` is called at once with
    each dead letter; it must neither wait nor raise.
    """

    def __init__(
        self,
        capacity: int = 1024,
        overflow: Overflow = Overflow.BLOCK,
        *,
        conflate_key: Callable[[M], Hashable] | None = None,
        on_dead_letter: DeadLetterOffice | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1 message, not {capacity!r}")
        if (overflow is Overflow.CONFLATE) != (conflate_key is not None):
            raise ValueError("conflate_key goes with Overflow.CONFLATE: give both or neither")
        self.capacity = capacity
        self.overflow = overflow
        self._conflate_key = conflate_key
        self._on_dead_letter = on_dead_letter
        self._control: dict[type[Signal], Signal] = {}
        self._data: deque[Envelope[M]] = deque()
        self._by_key: dict[Hashable, Envelope[M]] = {}
        self._senders: OrderedDict[trio.lowlevel.Task, Envelope[M]] = OrderedDict()
        self._consumer: trio.lowlevel.Task | None = None  # set only while it is parked
        self._closed: _Closed | None = None
        self._closing: trio.Event | None = None  # made by the first ``wait_closed``: most never need it
        self._in_a_row = 0
        self._accepted = self._refused = self._handled = self._superseded = self._returned = 0
        self._under_way = 0
        self._dead = dict.fromkeys(DeadReason, 0)

    # -- for senders ------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def offer(self, envelope: Envelope[M]) -> Delivery:
        """Put a message in if that is possible now. Never waits, never raises."""
        if self._closed is not None:
            self._refused += 1
            return self._closed.delivery
        delivery = self._insert(envelope)
        if delivery is Delivery.DROPPED:
            self._refused += 1
        return delivery

    @trio.lowlevel.enable_ki_protection
    def insert(self, envelope: Envelope[M]) -> bool:
        """As ``offer``, for a sender who waits in ``put`` if there is no room: nothing counts as refused."""
        return self._closed is None and self._insert(envelope).accepted

    async def put(self, envelope: Envelope[M]) -> None:
        """Put a message in, waiting for room where the overflow rule lets senders wait.

        Raises: what the mailbox was closed with; ``MailboxFull`` under ``REJECT``.

        **Cancellation**: the message was not put in. Always a checkpoint.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed is not None:
            self._refused += 1
            raise self._closed.error()
        if self.insert(envelope):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        if self.overflow is Overflow.REJECT:
            self._refused += 1
            raise MailboxFull(f"all {self.capacity} places of the mailbox are taken")
        task = trio.lowlevel.current_task()
        self._senders[task] = envelope

        def abort(_raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            del self._senders[task]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    @trio.lowlevel.enable_ki_protection
    def post(self, signal: Signal) -> None:
        """Put a signal in the control lane: handed out before any message, never refused, one of a kind."""
        if self._closed is None:
            self._control.setdefault(type(signal), signal)
            self._wake()

    # -- for the actor's loop ---------------------------------------------------------------------

    async def get(self) -> Signal | Envelope[M]:
        """The next signal, or else the next message that somebody still wants handled.

        The caller tells what became of a message by ``handled`` or ``bury``, before it takes the next.

        **Cancellation**: nothing was taken. A checkpoint at least once in ``CHECKPOINT_EVERY`` messages.
        """
        while True:
            if self._in_a_row >= CHECKPOINT_EVERY:
                self._in_a_row = 0
                await trio.lowlevel.checkpoint()
            if (item := self._take()) is not None:
                self._in_a_row += 1
                return item
            self._in_a_row = 0
            if self._consumer is not None:
                raise RuntimeError("a mailbox has one consumer, and another task is waiting already")
            self._consumer = trio.lowlevel.current_task()

            def abort(_raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
                self._consumer = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)

    def is_empty(self) -> bool:
        """Whether ``get`` would wait. Buries the requests at the head that nobody wants any more."""
        self._bury_unwanted()
        return not self._data and not self._control

    def handled(self, _envelope: Envelope[M]) -> None:
        """The message that ``get`` gave was handled."""
        self._under_way -= 1
        self._handled += 1

    def bury(self, envelope: Envelope[M], reason: DeadReason, error: ActorError | None = None) -> None:
        """The message that ``get`` gave will not be handled; its asker, if any, gets ``error``."""
        self._under_way -= 1
        self._dead_letter(envelope, reason)
        if envelope.slot is not None and error is not None:
            envelope.slot.fail(error)

    def forget_signals(self) -> None:
        """An incarnation has ended: what was said to it is not said to the next."""
        self._control.clear()

    # -- for whoever starts and stops the actor ---------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether the actor has ended for good."""
        return self._closed is not None

    @trio.lowlevel.enable_ki_protection
    def close(
        self,
        reason: StopReason,
        error: Callable[[], ActorError] = lambda: ActorStopped("the actor has ended"),
        delivery: Delivery = Delivery.DEAD,
    ) -> None:
        """The actor has ended for good: askers and waiting senders get ``error``, the rest are dead letters.

        From now on ``tell`` is told ``delivery``. Closing twice changes nothing.
        """
        if self._closed is not None:
            return
        self._closed = _Closed(reason, error, delivery)
        self._control.clear()
        self._by_key.clear()
        waiting, self._data = self._data, deque()
        for envelope in waiting:
            if envelope.slot is not None and envelope.slot.fail(error()):
                self._returned += 1
            else:
                self._dead_letter(envelope, envelope.unwanted() or DeadReason.STOPPED)
        while self._senders:
            task, _ = self._senders.popitem(last=False)
            self._refused += 1
            trio.lowlevel.reschedule(task, outcome.Error(error()))
        if self._closing is not None:
            self._closing.set()

    def reopen(self) -> None:
        """The actor is started again, by a supervisor that was itself restarted: refs work again."""
        self._closed = self._closing = None

    def closed_error(self) -> ActorError:
        """A new error to raise to somebody who talks to a closed mailbox."""
        assert self._closed is not None, "the mailbox is open"
        return self._closed.error()

    async def wait_closed(self) -> StopReason:
        """Wait until the actor has ended for good. **Cancellation**: changes nothing."""
        await trio.lowlevel.checkpoint()
        while self._closed is None:
            if self._closing is None:
                self._closing = trio.Event()
            await self._closing.wait()
        return self._closed.reason

    def statistics(self) -> MailboxStatistics:
        """What went through and what waits."""
        return MailboxStatistics(
            capacity=self.capacity,
            overflow=self.overflow.value,
            senders_waiting=len(self._senders),
            refused=self._refused,
            accepted=self._accepted,
            waiting=len(self._data),
            under_way=self._under_way,
            handled=self._handled,
            superseded=self._superseded,
            returned=self._returned,
            dead=dict(self._dead),
        )

    # -- inside -----------------------------------------------------------------------------------

    def _insert(self, envelope: Envelope[M]) -> Delivery:
        if self._conflate_key is not None and envelope.slot is None:
            envelope.key = self._conflate_key(envelope.message)
            if envelope.key is not None and (older := self._by_key.get(envelope.key)) is not None:
                older.message = envelope.message  # it keeps the older one's place, so that no key starves
                self._accepted += 1
                self._superseded += 1
                return Delivery.SUPERSEDED
        if len(self._data) >= self.capacity:
            if self.overflow is not Overflow.DROP_OLDEST:
                return Delivery.DROPPED
            self._drop_oldest()
        self._data.append(envelope)
        self._accepted += 1
        if envelope.key is not None:
            self._by_key[envelope.key] = envelope
        self._wake()
        return Delivery.ACCEPTED

    def _drop_oldest(self) -> None:
        oldest = self._data.popleft()
        if oldest.slot is not None and oldest.slot.fail(MailboxFull("newer messages took its place")):
            self._returned += 1
        else:
            self._dead_letter(oldest, DeadReason.DROPPED_OLDEST)

    @trio.lowlevel.enable_ki_protection
    def _take(self) -> Signal | Envelope[M] | None:
        if self._control:
            return self._control.pop(next(iter(self._control)))
        self._bury_unwanted()
        if not self._data:
            return None
        self._under_way += 1
        return self._remove_head()

    def _bury_unwanted(self) -> None:
        while self._data and (reason := self._data[0].unwanted()) is not None:
            self._dead_letter(self._remove_head(), reason)

    def _remove_head(self) -> Envelope[M]:
        envelope = self._data.popleft()
        if envelope.key is not None:
            del self._by_key[envelope.key]
        while self._senders and len(self._data) < self.capacity:
            task, next_one = self._senders.popitem(last=False)
            self._insert(next_one)
            trio.lowlevel.reschedule(task)
        return envelope

    def _dead_letter(self, envelope: Envelope[M], reason: DeadReason) -> None:
        self._dead[reason] += 1
        if self._on_dead_letter is not None:
            self._on_dead_letter(DeadLetter(envelope.message, reason))

    def _wake(self) -> None:
        if self._consumer is not None:
            trio.lowlevel.reschedule(self._consumer)
            self._consumer = None
