"""What the runtime says to an actor, apart from the messages of others.

*Commands* are for the actor's loop, which obeys them between two messages; the actor's code never sees
one. *Signals* are for the actor's own code (``Actor.signalled``). Both go through the mailbox's control
lane: they are made by the runtime only, and at most one of a kind waits.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from trouper.actors.ask import ReplySlot
    from trouper.actors.ref import ActorRef


class StopReason(enum.Enum):
    """Why an incarnation ended."""

    STOPPED = "stopped"
    """It was asked to: ``ref.stop()`` or ``context.stop()``."""
    SHUTDOWN = "shutdown"
    """Its supervisor stops it, alone or with the whole tree."""
    PASSIVATED = "passivated"
    """It had nothing to do; the next message to its key starts another incarnation."""
    CANCELLED = "cancelled"
    """It did not end within its grace, or was cancelled from outside."""
    CRASHED = "crashed"
    """An exception came out of one of its methods or tasks."""


@attrs.frozen
class Stop:
    """End after the message under way."""

    reason: StopReason


@attrs.frozen
class ConsiderPassivation:
    """End if there is nothing to do (``context.maybe_passivate``)."""


@attrs.frozen(eq=False)
class Inspect:
    """Call ``look`` with the incarnation, between two messages, and give the result to ``slot``."""

    look: Callable[[Any], Any]
    slot: ReplySlot[Any]


Command = Stop | ConsiderPassivation | Inspect


@attrs.frozen
class Terminated:
    """An actor that this one watches has ended for good, or had ended when it was first watched."""

    ref: ActorRef[Any]
    reason: StopReason
    """Why its last incarnation ended."""
    crash: str | None
    """What that one crashed of, ``ValueError: no such model``; ``None`` if it did not."""


@attrs.frozen
class Lagged:
    """At this place of the stream ``count`` messages were dropped to make room for newer ones."""

    count: int


@attrs.frozen
class IdleTimeout:
    """Nothing waited and nothing was handled for as long as ``context.set_idle_timeout`` says."""


Signal = Terminated | Lagged | IdleTimeout
