"""The handle that others hold of an actor. It outlives crashes and restarts of the actor behind it."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

import trio

from trouper.actors.ask import ReplySlot, Request
from trouper.actors.ask_chain import deadline_here, link_from_here, running_actor
from trouper.actors.envelope import Delivery as Delivery
from trouper.actors.envelope import Envelope
from trouper.actors.errors import AskTimeout
from trouper.actors.mailbox import Mailbox, MailboxStatistics
from trouper.actors.signals import Stop, StopReason
from trouper.actors.sweeper import sweeper

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")


class ActorRef(Generic[M_contra]):
    """A ref to one actor that handles messages of type ``M``. Two refs to one actor are equal.

    In a handler prefer ``tell``: two actors that ``send`` to each other's full mailboxes wait for ever.
    (Two that ``ask`` each other get ``AskCycle``.)
    """

    __slots__ = ("__weakref__", "_own_mailbox", "name")

    def __init__(self, name: str, mailbox: Mailbox[Any] | None = None) -> None:
        self.name = name
        self._own_mailbox: Mailbox[Any] = mailbox or Mailbox()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> Hashable:
        """What makes it the ref of this actor and no other."""
        return self._own_mailbox

    def _mailbox(self) -> Mailbox[Any]:
        """Where messages go. A ref that holds a key instead of a mailbox starts the actor here."""
        return self._own_mailbox

    def _mailbox_if_active(self) -> Mailbox[Any] | None:
        """The mailbox if there is an incarnation, or one is about to be; starts nothing."""
        return self._own_mailbox

    def tell(self, message: M_contra) -> Delivery:
        """Give the actor a message, now or not at all. Never waits, never raises.

        Returns: ``ACCEPTED`` or ``SUPERSEDED`` (accepted in the place of an older one with its key),
        ``DROPPED`` (no room) or ``DEAD`` (no actor, and none will come).
        """
        return self._own_mailbox.tell(message)

    async def send(self, message: M_contra) -> None:
        """Give the actor a message, waiting for room.

        Raises: ``ActorStopped``; ``MailboxFull`` if the mailbox is of the ``REJECT`` kind.

        **Cancellation**: the message was not given. Always a checkpoint.
        """
        await self._mailbox().put(Envelope(message))

    async def ask(self, request: Request[R], *, timeout: float | None = None) -> R:
        """Ask and wait for the answer, ``timeout`` seconds at most, waiting for room included.

        The deadline travels with the request: if it passes, or the asker is cancelled, while the request
        waits, the actor never sees it. If it is being handled, the handler goes on and its answer is lost.

        A handler of a request that asks in its turn waits no longer than its own asker does, whatever
        ``timeout`` says; there, and only there, it may be left out.

        Raises: ``AskTimeout``; ``ActorStopped``; ``ActorCrashed`` if the handler crashed on it;
        ``AskCycle`` at once if the actor, itself waiting in its handler, waits for the one who asks;
        ``MailboxFull``; ``NoReply``; or what the handler gave to ``context.reply_error``.

        **Cancellation**: as above. Always a checkpoint.
        """
        inside = running_actor.get() is not None
        limit = deadline_here() if inside else math.inf
        deadline = limit if timeout is None else trio.current_time() + timeout
        if not (timeout is None or timeout > 0) or not deadline < math.inf:
            raise ValueError(
                "timeout is a finite number of seconds above 0, to be left out only where a request with a"
                f" deadline is being handled; not {timeout!r}"
            )
        slot: ReplySlot[R] = ReplySlot()
        envelope: Envelope[Any] = Envelope(request, slot, min(deadline, limit))
        mailbox = self._mailbox()
        if inside:
            envelope.chain = link_from_here(slot, mailbox, self.name)
        if not mailbox.insert(envelope):  # no checkpoint here: waiting for the answer is one
            with trio.move_on_at(envelope.deadline):
                await mailbox.put(envelope)
        sweeper().add(slot, envelope.deadline)
        try:
            return await slot.wait()
        except AskTimeout:
            if not slot.expired:  # the handler's own answer
                raise
        raise self._timed_out(request, slot, timeout, inherited=limit <= deadline)

    def _timed_out(
        self, request: object, slot: ReplySlot[Any], timeout: float | None, *, inherited: bool
    ) -> AskTimeout:
        where = "was being handled" if slot.taken else "still waited in the mailbox"
        within = "in the time of the request being handled" if inherited else f"in {timeout} s"
        error = AskTimeout(f"no answer from {self.name!r} to {type(request).__name__} {within}: it {where}")
        error.inherited = inherited
        return error

    def stop(self) -> None:
        """Ask the actor to end after the message under way. Its supervisor decides whether another
        incarnation follows, which then handles the messages that still wait."""
        if (mailbox := self._mailbox_if_active()) is not None:
            mailbox.post(Stop(StopReason.STOPPED))

    async def join(self) -> StopReason:
        """Wait until the actor has ended for good: no task of it is left and none will be started.

        (An actor that shall hear of it instead of waiting uses ``context.watch``.)

        Returns: why its last incarnation ended. **Cancellation**: changes nothing.
        """
        if (mailbox := self._mailbox_if_active()) is None:
            await trio.lowlevel.checkpoint()
            return StopReason.STOPPED
        return await mailbox.wait_closed()

    def statistics(self) -> MailboxStatistics | None:
        """The use of the mailbox; ``None`` for the ref of a key that has no actor now."""
        mailbox = self._mailbox_if_active()
        return None if mailbox is None else mailbox.statistics()
