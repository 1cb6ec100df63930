"""The base class of actors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from trouper.actors.context import ActorContext as ActorContext
from trouper.actors.signals import IdleTimeout as IdleTimeout
from trouper.actors.signals import Lagged as Lagged
from trouper.actors.signals import Signal
from trouper.actors.signals import StopReason as StopReason
from trouper.actors.signals import Terminated as Terminated

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
        """Handle one message. A ``Request`` is answered by ``context.reply`` before returning, or its answer
        is put off by ``context.deferred_reply``.

        An ``AskTimeout`` that comes out of it because the asker's own time was up is no crash.

        **Cancellation**: the actor was asked to end, and its grace is over; the message is not handed out
        again.
        """

    async def signalled(self, signal: Signal) -> None:
        """Hear what the runtime says: ``Terminated`` of a watched actor, ``IdleTimeout``, ``Lagged``.

        The first two come only to who asked for them, so an actor that does must override this. ``Lagged``
        comes to every actor whose mailbox drops the oldest; one that does not care need do nothing.

        **Cancellation**: as of ``receive``.
        """
        if not isinstance(signal, Lagged):
            raise NotImplementedError(
                f"{self.context.name!r} asked for {type(signal).__name__}, but {type(self).__name__} has no"
                " signalled() to hear it"
            )

    async def stopped(self, reason: StopReason) -> None:
        """Clean up. Called once if ``started`` returned, however the incarnation ended; the tasks of
        ``context.nursery`` have ended by then. The next incarnation starts after it.

        **Cancellation**: with ``CANCELLED`` each ``await`` in it raises at once unless it is shielded.
        """

    def passivable(self) -> bool:
        """Whether the actor may end while nothing waits for it. Asked by keyed supervisors only."""
        return True

    def get_state(self) -> Any:
        """What an inspection shows. By default the attributes, which are shared with the actor and not
        copied: whoever looks must not change them. Called between two messages."""
        return {name: value for name, value in vars(self).items() if name != "context"}

    def set_state(self, state: Any) -> None:
        """Take over what an inspection has made of ``get_state``. By default a mapping of attributes.
        Called between two messages."""
        if not isinstance(state, Mapping):
            raise TypeError(f"the state of {type(self).__name__} is a mapping of attributes, not {state!r}")
        vars(self).update(state)
