"""What travels through a mailbox around a message, and what can become of it."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import attrs
import trio

from trouper.actors.ask import ReplySlot

if TYPE_CHECKING:
    from trouper.actors.ask_chain import AskLink

M = TypeVar("M")


class Delivery(enum.Enum):
    """What ``tell`` found."""

    ACCEPTED = "accepted"
    SUPERSEDED = "superseded"
    """Accepted in the place of an older message with the same key, which nobody will see."""
    DROPPED = "dropped"
    """No room."""
    DEAD = "dead"
    """There is no actor behind the ref, and none will come."""

    @property
    def accepted(self) -> bool:
        """Whether the message is in the mailbox."""
        return self in (Delivery.ACCEPTED, Delivery.SUPERSEDED)


class DeadReason(enum.Enum):
    """Why an accepted message will not be handled."""

    DROPPED_OLDEST = "dropped_oldest"
    """It was the oldest when a newer one needed the room."""
    EXPIRED = "expired"
    """The deadline of its asker passed while it waited."""
    ABANDONED = "abandoned"
    """Its asker was cancelled while it waited."""
    CRASHED = "crashed"
    """The actor crashed while it handled it. It is never handed out again: it may be the cause."""
    CANCELLED = "cancelled"
    """The actor was cancelled while it handled it."""
    STOPPED = "stopped"
    """The actor ended for good while it waited."""
    WITHDRAWN = "withdrawn"
    """It was the actor's own, of a timer that was cancelled or of an incarnation that has ended."""


@attrs.frozen
class DeadLetter(Generic[M]):
    """An accepted message that will not be handled, and why."""

    message: M
    reason: DeadReason


DeadLetterOffice = Callable[[DeadLetter[Any]], None]


@attrs.define(eq=False)
class Envelope(Generic[M]):
    """One message on its way. Mutable for conflation alone, which replaces ``message`` in place."""

    message: M
    slot: ReplySlot[Any] | None = None
    """Where the answer goes; ``None`` for a message that nobody waits for."""
    deadline: float = math.inf
    """On trio's clock: a request that is still waiting then is dropped, not handled."""
    key: Hashable = None
    """What it is conflated by; ``None`` for never."""
    chain: AskLink | None = None
    """The actors whose handlers wait for this one's answer, the asker first."""

    own: ClassVar[bool] = False

    def unwanted(self) -> DeadReason | None:
        """Why nobody wants this to be handled any more, if so. Free for what is not a request."""
        if self.slot is None:
            return None
        # The asker's own timer abandons the slot, a step before or after: the time tells which it was.
        if trio.current_time() >= self.deadline:
            return DeadReason.EXPIRED
        return DeadReason.ABANDONED if self.slot.abandoned else None


@attrs.define(eq=False)
class OwnEnvelope(Envelope[M]):
    """A message of an actor to itself: a timer that ran out, the result of a task.

    It waits in line with the others, but takes none of their places, is never dropped for newer ones, and
    does not outlive the incarnation that it belongs to.
    """

    on_left: Callable[[], None] | None = None
    """Called when it waits no longer, whether it is handled or not."""

    own: ClassVar[bool] = True
