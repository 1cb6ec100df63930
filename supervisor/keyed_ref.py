"""What a keyed supervisor knows of one key, and the ref that holds a key."""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import Context
from typing import Any, Protocol, TypeVar

import trio

from trouper.actors.envelope import Delivery
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.signals import StopReason
from trouper.supervisor.budget import RestartBudget
from trouper.supervisor.child import Child
from trouper.supervisor.child_spec import ChildSpec, ExitReason, Surroundings

M_contra = TypeVar("M_contra", contravariant=True)


class Entry(Child):
    """The actor of one key."""

    __slots__ = ("_handled", "evicted", "leaving", "mailbox", "returned")

    def __init__(
        self,
        spec: ChildSpec,
        supervisor_path: str,
        variables: Context,
        budget: RestartBudget,
        surroundings: Surroundings,
        mailbox: Mailbox[Any],
    ) -> None:
        super().__init__(spec, supervisor_path, variables, budget, surroundings)
        self.mailbox = mailbox
        self.leaving = False
        """It was found idle and is ending; what comes now is for the next incarnation."""
        self.evicted = False
        """It is leaving to make room, and needs a place anew for another incarnation."""
        self.returned = StopReason.SHUTDOWN
        """Why the last incarnation that ended by itself did so."""
        self._handled = 0

    def has_progressed(self) -> bool:
        """Whether messages were handled since this was last asked."""
        before, self._handled = self._handled, self.mailbox.progress()[1]
        return self._handled != before

    def end_reason(self) -> StopReason:
        """Why the last incarnation ended."""
        match self.exit and self.exit.reason:
            case ExitReason.CRASHED:
                return StopReason.CRASHED
            case ExitReason.CANCELLED:
                return StopReason.CANCELLED
            case _:
                return self.returned


class Switchboard(Protocol):
    """Who knows the mailbox of each key, now."""

    def mailbox_of(self, key: str) -> Mailbox[Any]:
        """Where a message to ``key`` goes, if need be to an actor that is started for it."""
        ...

    def mailbox_if_active(self, key: str) -> Mailbox[Any] | None:
        """The same, if there is an incarnation that could still handle it or one is about to be."""
        ...

    def mailbox_in_use(self, key: str) -> Mailbox[Any] | None:
        """The mailbox of the actor of ``key``, also of one that is leaving."""
        ...


class KeyedRef(ActorRef[M_contra]):
    """A ref that holds a key. What is sent to it starts the actor if there is none."""

    def __init__(self, key: str, supervisor: Switchboard) -> None:
        # Not the base's: a mailbox of its own is what this ref does not have.
        self.name = key
        self._supervisor = supervisor

    def _identity(self) -> Hashable:
        return (self._supervisor, self.name)

    def _mailbox(self) -> Mailbox[Any]:
        return self._supervisor.mailbox_of(self.name)

    def _mailbox_if_active(self) -> Mailbox[Any] | None:
        return self._supervisor.mailbox_if_active(self.name)

    def tell(self, message: M_contra) -> Delivery:
        """As the base says, starting the actor if need be."""
        return self._mailbox().tell(message)

    async def join(self) -> StopReason:
        """Wait until the key has no actor and none is about to start, as it may be already.

        Returns: why the last incarnation ended. **Cancellation**: changes nothing.
        """
        mailbox = self._supervisor.mailbox_in_use(self.name)
        if mailbox is None:
            await trio.lowlevel.checkpoint()
            return StopReason.STOPPED
        return await mailbox.wait_closed()
