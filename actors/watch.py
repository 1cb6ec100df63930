"""Hearing of the end of other actors: ``context.watch`` and ``context.link``.

The end is that of the *ref*: an actor that is restarted has not ended. What is heard is a ``Terminated`` in
the control lane, one for each watched ref, also if it had ended before it was watched. A watch belongs to
one incarnation of the watcher, and nothing of it is left when that ends.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from trouper.actors.errors import LimitReached, LinkedActorEnded
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.signals import StopReason, Terminated

WATCHES_MAX: Final = 10_000
"""Bound of the actors that one actor watches."""

BAD_ENDS: Final = frozenset({StopReason.CRASHED, StopReason.CANCELLED})
"""The ends of an actor that are also the end of those linked to it."""


class Watches:
    """Whom one incarnation watches."""

    __slots__ = ("_linked", "_mailbox", "_observed", "_watched")

    def __init__(self, mailbox: Mailbox[Any]) -> None:
        self._mailbox = mailbox  # the watcher's
        self._observed: dict[ActorRef[Any], Mailbox[Any]] = {}
        self._watched: set[ActorRef[Any]] = set()
        self._linked: set[ActorRef[Any]] = set()

    def __len__(self) -> int:
        return len(self._observed)

    def watch(self, ref: ActorRef[Any]) -> None:
        """Begin to watch. Again changes nothing. Raises: ``LimitReached``."""
        self._observe(ref)
        self._watched.add(ref)

    def unwatch(self, ref: ActorRef[Any]) -> None:
        """End watching: no ``Terminated`` of it comes after this, also if one waits already."""
        self._watched.discard(ref)
        self._let_go(ref)

    def link(self, ref: ActorRef[Any]) -> None:
        """Begin to end badly if ``ref`` does. Again changes nothing. Raises: ``LimitReached``."""
        self._observe(ref)
        self._linked.add(ref)

    def unlink(self, ref: ActorRef[Any]) -> None:
        """End that."""
        self._linked.discard(ref)
        self._let_go(ref)

    def heard(self, signal: Terminated) -> bool:
        """Judge a ``Terminated`` by the links. Returns: whether the actor's own code is to hear of it.

        Raises: ``LinkedActorEnded``.
        """
        watched, linked = signal.ref in self._watched, signal.ref in self._linked
        self._watched.discard(signal.ref)
        self._linked.discard(signal.ref)
        if linked and signal.reason in BAD_ENDS:
            why = signal.crash or signal.reason.value
            raise LinkedActorEnded(f"{signal.ref.name!r}, to which it is linked, has ended: {why}")
        return watched

    def end(self) -> None:
        """The incarnation has ended."""
        observed, self._observed = self._observed, {}
        for target in observed.values():
            target.remove_watcher(self)

    def _observe(self, ref: ActorRef[Any]) -> None:
        if ref in self._observed:
            return
        if len(self._observed) >= WATCHES_MAX:
            raise LimitReached(f"the actor watches {WATCHES_MAX} others already")
        target = ref._mailbox_if_active()
        if target is None:
            self._ended(ref, StopReason.STOPPED, None)
        else:
            self._observed[ref] = target
            target.add_watcher(self, partial(self._ended, ref))

    def _let_go(self, ref: ActorRef[Any]) -> None:
        if ref in self._watched or ref in self._linked:
            return
        target = self._observed.pop(ref, None)
        if target is not None:
            target.remove_watcher(self)
        self._mailbox.withdraw_signal((Terminated, ref))

    def _ended(self, ref: ActorRef[Any], reason: StopReason, crash: str | None) -> None:
        self._observed.pop(ref, None)
        self._mailbox.signal((Terminated, ref), Terminated(ref, reason, crash))
