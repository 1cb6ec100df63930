"""The base class of actors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from trouper.actors.context import ActorContext as ActorContext
from trouper.actors.signals import StopReason as StopReason

M = TypeVar("M")


class Actor(ABC, Generic[M]):
    """State that only one task touches, changed by one message at a time.

    An instance is one incarnation: after a crash a new one is made by the factory, and state that shall
    survive comes back in ``started``. An exception out of any method, or out of a task of
    ``context.nursery``, is the actor's crash.
    """

    context: ActorContext[M]
    """Set before ``started``; not there in ``__init__``."""

    async def started(self) -> None:
        """Make ready. Messages wait until it returns. **Cancellation**: the start was given up."""

    @abstractmethod
    async def receive(self, message: M) -> None:
        """Handle one message. A ``Request`` is answered by ``context.reply`` before returning.

        **Cancellation**: the actor was asked to end, and its grace is over; the message is not handed out
        again.
        """

    async def stopped(self, reason: StopReason) -> None:
        """Clean up. Called once if ``started`` returned, however the incarnation ended; the tasks of
        ``context.nursery`` have ended by then. The next incarnation starts after it.

        **Cancellation**: with ``CANCELLED`` each ``await`` in it raises at once unless it is shielded.
        """

    def passivable(self) -> bool:
        """Whether the actor may end while nothing waits for it. Asked by keyed supervisors only."""
        return True
