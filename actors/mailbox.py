"""The mailbox: two lanes, a bound, and what happens at the bound.

          offer / put                                        take
    tell ────────────────> data lane, bounded ─────────┐
    unstash ─────────────> put aside, now its turn ────┼──> one consumer, one message at a time
    post, signal ────────> control lane, one of a kind ┘    (control first, then what was put aside)

It is our own and not a memory channel: those cannot put a control message first, replace an older
message, drop the oldest, or keep their content while one consumer ends and the next begins. It
belongs to the *ref*: what waits here survives a crash of the actor and is handled by its next
incarnation.

Every accepted message ends in exactly one way, and ``statistics()`` has the sums: handled,
superseded by a newer one with its key, returned to its asker as an error, or a dead letter.

Whatever is rare (a control message, a suspension, a stash, a drop, a trace) sets ``_special``, so that a
plain message passes one test for all of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import outcome
import trio

from trouper.actors.data_lane import CHECKPOINT_EVERY as CHECKPOINT_EVERY
from trouper.actors.data_lane import NO_MESSAGES, DataLane
from trouper.actors.envelope import DeadLetterOffice, DeadReason, Delivery, Envelope, OwnEnvelope
from trouper.actors.errors import ActorError, ActorStopped, MailboxFull
from trouper.actors.ledger import Ledger
from trouper.actors.ledger import MailboxStatistics as MailboxStatistics
from trouper.actors.lifeline import Closed
from trouper.actors.overflow import Overflow as Overflow
from trouper.actors.signals import Command, Lagged, Signal, StopReason

if TYPE_CHECKING:
    from trouper.actors.trace import Trace

M = TypeVar("M")

_ACCEPTED: Final = Delivery.ACCEPTED  # a name of our own is found faster than that of an enum


class Mailbox(DataLane, Generic[M]):
    """The mailbox of one actor.

    ``capacity``: messages that may wait. ``conflate_key``: for ``CONFLATE`` only, the key of a message,
    hashable, ``None`` for one that is never replaced; requests never are. ``on_dead_letter`` is called at
    once with each dead letter. Both must neither wait nor raise. ``ledger``: adds up this one and others.
    """

    __slots__ = (
        "_by_key",
        "_choosy",
        "_conflate_key",
        "_in_a_row",
        "_ledger",
        "_senders",
        "capacity",
        "overflow",
    )

    def __init__(
        self,
        capacity: int = 1024,
        overflow: Overflow = Overflow.BLOCK,
        *,
        conflate_key: Callable[[M], Hashable] | None = None,
        on_dead_letter: DeadLetterOffice | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        if type(capacity) is not int or capacity < 1:
            raise ValueError(f"capacity must be at least 1 message, not {capacity!r}")
        if type(overflow) is not Overflow:
            raise ValueError(f"overflow={overflow!r}: legal are {', '.join(map(str, Overflow))}")
        if (overflow is Overflow.CONFLATE) != (conflate_key is not None):
            raise ValueError("conflate_key goes with Overflow.CONFLATE: give both or neither")
        super().__init__()
        self.capacity = capacity
        self.overflow = overflow
        self._conflate_key = conflate_key
        self._on_dead_letter = on_dead_letter
        self._ledger = ledger
        self._choosy = conflate_key is not None  # whether to look at what comes before it goes in
        self._set_room()
        self._in_a_row = 0
        # Made when first needed: most mailboxes never do, and there may be very many.
        self._by_key: dict[Hashable, Envelope[M]] = {}
        self._senders: OrderedDict[trio.lowlevel.Task, Envelope[M]] | None = None
        if ledger is not None:
            ledger.opened(self)

    # -- for senders ------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def tell(self, message: M) -> Delivery:
        """As ``offer``, for a message that nobody waits for."""
        if len(self._data) >= self._room:
            return self.offer(Envelope(message))
        self._data.append(message)
        self._accepted += 1
        if self._consumer is not None:
            self._wake()
        return _ACCEPTED

    @trio.lowlevel.enable_ki_protection
    def offer(self, envelope: Envelope[M]) -> Delivery:
        """Put a message in if that is possible now. Never waits, never raises."""
        if self._closed is not None:
            self._refused += 1
            return self._closed.delivery
        delivery = self._insert(envelope)
        if delivery is Delivery.DROPPED:
            self._refuse(envelope)
        return delivery

    @trio.lowlevel.enable_ki_protection
    def insert(self, envelope: Envelope[M]) -> bool:
        """As ``offer``, for a sender who waits in ``put`` if there is no room: nothing counts as refused."""
        return self._closed is None and self._insert(envelope) is not Delivery.DROPPED

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
            self._refuse(envelope)
            raise MailboxFull(f"all {self.capacity} places of the mailbox are taken")
        task = trio.lowlevel.current_task()
        if self._senders is None:
            self._senders = OrderedDict()
        self._senders[task] = envelope
        self._wrapped += 1

        def abort(_raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            assert self._senders is not None
            del self._senders[task]
            self._wrapped -= 1
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    @trio.lowlevel.enable_ki_protection
    def add_own(self, envelope: OwnEnvelope[M]) -> None:
        """Put a message of the actor to itself in line. Those who call it see to its bound."""
        self._accepted += 1
        if self._closed is not None:
            self._dead_letter(envelope, DeadReason.STOPPED)
            return
        self._own += 1
        self._wrapped += 1
        self._set_room()
        self._append(envelope)
        self._wake()

    @trio.lowlevel.enable_ki_protection
    def withdraw_own(self, envelope: OwnEnvelope[M] | None = None) -> None:
        """Take back one message of the actor to itself, or all of them, where they still wait."""
        if not self._own:
            return
        own = [each for each in self._data if isinstance(each, OwnEnvelope)]
        for each in own if envelope is None else [each for each in own if each is envelope]:
            self._delete(each)
            self._wrapped -= 1
            self._removed(each)
            self._dead_letter(each, DeadReason.WITHDRAWN)

    # -- for the actor's loop ---------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def take(self) -> Command | Signal | Envelope[M] | None:
        """The next that somebody still wants handled, ``None`` if there is nothing now.

        The caller tells what became of a message by ``handled``, ``bury`` or ``stash`` before it takes
        the next, and lets other tasks run at least once in ``CHECKPOINT_EVERY``.
        """
        if self._special:
            return self._take_special()
        data, plain = self._data, self._plain
        while data:
            item = data.popleft()
            if not self._wrapped:
                plain.message = item
                self._taken += 1
                return plain
            envelope = self._unwrapped(item)
            if envelope.slot is None or (reason := envelope.unwanted()) is None:
                self._taken += 1
                return envelope
            self._dead_letter(envelope, reason)
        plain.message = None  # what was handled is not kept
        return None

    async def get(self) -> Command | Signal | Envelope[M]:
        """As ``take``, but waits until there is something.

        **Cancellation**: nothing was taken. A checkpoint at least once in ``CHECKPOINT_EVERY`` messages.
        """
        while True:
            if self._in_a_row >= CHECKPOINT_EVERY:
                self._in_a_row = 0
                await trio.lowlevel.checkpoint()
            if (item := self.take()) is not None:
                self._in_a_row += 1
                return item
            self._in_a_row = 0
            await self.wait()

    def is_empty(self) -> bool:
        """Whether nothing waits. Buries the requests at the head that nobody wants any more."""
        while self._data and isinstance(head := self._data[0], Envelope):
            if (reason := head.unwanted()) is None:
                break
            self._dead_letter(self._unwrapped(self._data.popleft()), reason)
        resumed = self._stash is not None and bool(self._stash.resumed)
        return not (self._data or self._lagged or resumed) and (self._control is None or self._control.empty)

    def end_incarnation(self) -> None:
        """What was said to the incarnation is not said to the next, which gets what was put aside."""
        if self._control is not None:
            self._control.end_incarnation()
        if self._own:
            self.withdraw_own()
        if self._stash is not None:
            self._stash.resume()
            self._special = True

    # -- for whoever starts and stops the actor ---------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def close(
        self,
        reason: StopReason,
        error: Callable[[], ActorError] = lambda: ActorStopped("the actor has ended"),
        delivery: Delivery = Delivery.DEAD,
    ) -> None:
        """The actor has ended for good: askers and waiting senders get ``error``, the rest are dead letters,
        and those who watch are told.

        From now on ``tell`` is told ``delivery``. Closing twice changes nothing.
        """
        if self._closed is not None:
            return
        waiting = list(self._data)
        self._data.clear()
        put_aside = [] if self._stash is None else self._stash.clear()
        self._by_key.clear()
        self._own = self._lagged = self._wrapped = 0
        self._tell_ended(Closed(reason, error, delivery))
        self._set_room()
        if self._control is not None:
            self._control.close(error)
        for item in (*put_aside, *waiting):
            envelope = item if isinstance(item, Envelope) else Envelope(item)
            if envelope.slot is not None and envelope.slot.fail(error()):
                self._returned += 1
            else:
                self._dead_letter(envelope, envelope.unwanted() or DeadReason.STOPPED)
        while self._senders:
            task, _ = self._senders.popitem(last=False)
            self._refused += 1
            trio.lowlevel.reschedule(task, outcome.Error(error()))
        if self._ledger is not None:
            self._ledger.closed(self)

    def reopen(self) -> None:
        """The actor is started again, by a supervisor that was itself restarted: refs work again."""
        if self._closed is not None:
            self._begin_again()
            self._set_room()
            if self._ledger is not None:
                self._ledger.opened(self)

    @property
    def waiting(self) -> int:
        """Messages that an incarnation has still to take, those put aside before and resumed among them."""
        return len(self._data) + (0 if self._stash is None else len(self._stash.resumed))

    def statistics(self) -> MailboxStatistics:
        """What went through and what waits."""
        stash = self._stash
        return MailboxStatistics(
            capacity=self.capacity,
            overflow=self.overflow.value,
            senders_waiting=len(self._senders or ()),
            refused=self._refused,
            accepted=self._accepted,
            waiting=self.waiting,
            stashed=0 if stash is None else len(stash.aside),
            under_way=self._taken - self._handled,
            handled=self._handled,
            superseded=self._superseded,
            returned=self._returned,
            dead=dict.fromkeys(DeadReason, 0) | (self._dead or {}),
        )

    def trace(self, trace: Trace | None) -> None:
        """Note what comes and what is taken in ``trace``, or nowhere any more."""
        self._trace = trace
        self._special = True
        self._choosy = trace is not None or self._conflate_key is not None
        self._set_room()

    def _insert(self, envelope: Envelope[M]) -> Delivery:
        choosy = self._choosy
        if choosy and self._replaces(envelope):
            return Delivery.SUPERSEDED
        if len(self._data) - self._own >= self.capacity:
            if self.overflow is not Overflow.DROP_OLDEST:
                return Delivery.DROPPED
            self._drop_oldest()
        if envelope.slot is None and envelope.key is None:
            self._append(envelope.message)
        else:
            self._append(envelope)
            self._wrapped += 1
        self._accepted += 1
        if choosy:
            self._trace_offered(envelope)
            if envelope.key is not None:
                self._by_key[envelope.key] = envelope
        if self._consumer is not None:
            self._wake()
        return Delivery.ACCEPTED

    def _replaces(self, envelope: Envelope[M]) -> bool:
        if self._conflate_key is None or envelope.slot is not None:
            return False
        envelope.key = self._conflate_key(envelope.message)
        if envelope.key is None or (older := self._by_key.get(envelope.key)) is None:
            return False
        self._trace_offered(envelope)
        older.message = envelope.message  # it keeps the older one's place, so that no key starves
        self._accepted += 1
        self._superseded += 1
        return True

    def _take_special(self) -> Command | Signal | Envelope[M] | None:
        lane = self._control
        if lane is not None:
            if (control := lane.take()) is not None:
                return control
            if lane.suspended:
                return None
        if self._stash is not None and (resumed := self._stash.take(self._dead_letter)) is not None:
            self._taken += 1
            return resumed
        if self._lagged:
            lagged, self._lagged = Lagged(self._lagged), 0
            return lagged
        self._special = False
        item = self.take()
        if self._trace is not None:
            self._special = True
            if isinstance(item, Envelope):
                self._trace.note("taken", item.message)
        return item

    def _set_room(self) -> None:
        slow = self._choosy or self._closed is not None or self._data is NO_MESSAGES
        self._room = 0 if slow else self.capacity + self._own

    def _unwrapped(self, item: Any) -> Envelope[M]:
        """The envelope of what was taken out of ``_data``, or the one that plain messages share."""
        if isinstance(item, Envelope):
            envelope = item
            self._wrapped -= 1
        else:
            envelope = self._plain
            envelope.message = item
        if self._senders or envelope.own or envelope.key is not None:
            self._removed(envelope)
        return envelope

    def _removed(self, envelope: Envelope[M]) -> None:
        if isinstance(envelope, OwnEnvelope):
            self._own -= 1
            self._set_room()
            if envelope.on_left is not None:
                envelope.on_left()
        if envelope.key is not None:
            del self._by_key[envelope.key]
        while self._senders and len(self._data) - self._own < self.capacity:
            task, next_one = self._senders.popitem(last=False)
            self._wrapped -= 1
            self._insert(next_one)
            trio.lowlevel.reschedule(task)
