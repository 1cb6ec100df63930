"""What an actor can do besides handling messages: answer, end, run tasks of its own."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import trio

from trouper.actors.envelope import Envelope
from trouper.actors.errors import NothingToReply
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.signals import ConsiderPassivation, Stop, StopReason

M = TypeVar("M")


class ActorContext(Generic[M]):
    """The context of one incarnation. Made by the actor's loop, and of no use after its end."""

    def __init__(self, ref: ActorRef[M], incarnation: int, mailbox: Mailbox[M]) -> None:
        self.ref = ref
        """The actor's own ref, which survives this incarnation."""
        self.incarnation = incarnation
        """Rises with each restart."""
        self._mailbox = mailbox
        self._nursery: trio.Nursery | None = None
        self._current: Envelope[Any] | None = None

    @property
    def name(self) -> str:
        """The ref's name: of a keyed actor, its key."""
        return self.ref.name

    @property
    def nursery(self) -> trio.Nursery:
        """The actor's own nursery, from ``started`` on.

        Its tasks are cancelled, and have ended, before ``stopped`` is called; a crash of one is the
        actor's crash.
        """
        if self._nursery is None:
            raise RuntimeError("the nursery is open from started() on, not before and not in stopped()")
        return self._nursery

    def reply(self, value: object) -> None:
        """Answer the request being handled. An answer that nobody waits for any more is dropped.

        Raises: ``NothingToReply`` for a plain message, or the second time.
        """
        self._open_request().succeed(value)

    def reply_error(self, error: Exception) -> None:
        """Make the ``ask`` of the request being handled raise ``error``: a refusal, not a crash.

        Raises: ``NothingToReply`` for a plain message, or the second time.
        """
        self._open_request().fail(error)

    def stop(self) -> None:
        """End after the message under way, as ``ref.stop()``."""
        self._mailbox.post(Stop(StopReason.STOPPED))

    def maybe_passivate(self) -> None:
        """End if there is nothing to do: nothing waits, nothing is handled, and ``passivable()``.

        For what becomes idle outside a handler, as when the last subscriber leaves. Judged by the actor's
        own task a little later. Nothing happens unless a keyed supervisor runs the actor.
        """
        self._mailbox.post(ConsiderPassivation())

    def _open_request(self) -> Any:
        envelope = self._current
        if envelope is None or envelope.slot is None:
            raise NothingToReply(f"{self.name!r} is not handling a Request: only those can be answered")
        if not envelope.slot.open and not envelope.slot.abandoned:
            raise NothingToReply(f"{self.name!r} has answered {type(envelope.message).__name__} already")
        return envelope.slot
