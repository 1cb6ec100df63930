"""The handle that others hold of an actor. It outlives crashes and restarts of the actor behind it."""

from __future__ import annotations

import math
from typing import Any, Generic, TypeVar

import trio

from trouper.actors.ask import ReplySlot, Request
from trouper.actors.envelope import Delivery as Delivery
from trouper.actors.envelope import Envelope
from trouper.actors.errors import AskTimeout
from trouper.actors.mailbox import Mailbox, MailboxStatistics
from trouper.actors.signals import Stop, StopReason
from trouper.actors.sweeper import sweeper

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")


class ActorRef(Generic[M_contra]):
    """A ref to one actor that handles messages of type ``M``.

    In a handler prefer ``tell``: two actors that ``send`` to each other's full mailboxes wait for ever,
    and two that ``ask`` each other wait until one of them times out.
    """

    def __init__(self, name: str, mailbox: Mailbox[Any] | None = None) -> None:
        self.name = name
        self._own_mailbox: Mailbox[Any] = mailbox or Mailbox()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

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
        return self._mailbox().offer(Envelope(message))

    async def send(self, message: M_contra) -> None:
        """Give the actor a message, waiting for room.

        Raises: ``ActorStopped``; ``MailboxFull`` if the mailbox is of the ``REJECT`` kind.

        **Cancellation**: the message was not given. Always a checkpoint.
        """
        await self._mailbox().put(Envelope(message))

    async def ask(self, request: Request[R], *, timeout: float) -> R:
        """Ask and wait for the answer, ``timeout`` seconds at most, waiting for room included.

        The deadline travels with the request: if it passes, or the asker is cancelled, while the request
        waits, the actor never sees it. If it is being handled, the handler goes on and its answer is lost.

        Raises: ``AskTimeout``; ``ActorStopped``; ``ActorCrashed`` if the handler crashed on it;
        ``MailboxFull``; ``NoReply``; or what the handler gave to ``context.reply_error``.

        **Cancellation**: as above. Always a checkpoint.
        """
        if not 0 < timeout < math.inf:
            raise ValueError(f"timeout is a finite number of seconds above 0, not {timeout!r}")
        slot: ReplySlot[R] = ReplySlot()
        envelope: Envelope[Any] = Envelope(request, slot, trio.current_time() + timeout)
        mailbox = self._mailbox()
        if not mailbox.insert(envelope):  # no checkpoint here: waiting for the answer is one
            with trio.move_on_at(envelope.deadline):
                await mailbox.put(envelope)
        sweeper().add(slot, envelope.deadline)
        try:
            return await slot.wait()
        except AskTimeout:
            if not slot.expired:  # the handler's own answer
                raise
        where = "was being handled" if slot.taken else "still waited in the mailbox"
        raise AskTimeout(
            f"no answer from {self.name!r} to {type(request).__name__} in {timeout} s: it {where}"
        )

    def stop(self) -> None:
        """Ask the actor to end after the message under way. Its supervisor decides whether another
        incarnation follows, which then handles the messages that still wait."""
        if (mailbox := self._mailbox_if_active()) is not None:
            mailbox.post(Stop(StopReason.STOPPED))

    async def join(self) -> StopReason:
        """Wait until the actor has ended for good: no task of it is left and none will be started.

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
