"""Actors by name, and groups of actors. Who has ended is taken out without anybody's doing.

    users = Registry[str, Message]()                    # one actor for each key
    rooms = Registry[str, Message](duplicate=True)      # any number: a group
    rooms.register("lobby", ref)
    rooms.dispatch("lobby", Said("ada", "hello"))

No ``await``, and no task: a registry is a table that its actors leave by ending. It belongs to who makes
it; there is no registry of the process, so that two trees in one process know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Generic, TypeVar

from trouper.actors.errors import ActorStopped, KeyTaken, LimitReached
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.signals import StopReason

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")


class Registry(Generic[K, M]):
    """Keys and the actors registered for them.

    ``duplicate``: whether a key may have several. ``max_entries``: pairs of key and actor, in all.
    """

    def __init__(self, *, duplicate: bool = False, max_entries: int = 100_000) -> None:
        if max_entries < 1:
            raise ValueError(f"a registry has room for at least 1 entry, not {max_entries!r}")
        self._duplicate = duplicate
        self._max = max_entries
        self._entries: dict[K, dict[ActorRef[M], Mailbox[M]]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Pairs of key and actor."""
        return self._count

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def register(self, key: K, ref: ActorRef[M]) -> None:
        """Register the actor for ``key``, until it ends for good. A restart is no end. Again: no change.

        Raises: ``KeyTaken`` if the key has another one and may have one only; ``ActorStopped`` if the actor
        has ended, or is that of a key of a keyed supervisor and does not run; ``LimitReached``.
        """
        refs = self._entries.get(key, {})
        if ref in refs:
            return
        if refs and not self._duplicate:
            raise KeyTaken(f"{key!r} is taken by {next(iter(refs)).name!r}")
        mailbox = ref._mailbox_if_active()
        if mailbox is None or mailbox.is_closed:
            raise ActorStopped(f"{ref.name!r} has ended: only an actor that lives can be registered")
        if self._count >= self._max:
            raise LimitReached(f"the registry has {self._max} entries, which is its max_entries")
        self._entries.setdefault(key, {})[ref] = mailbox
        self._count += 1
        mailbox.add_watcher((self, key, ref), partial(self._ended, key, ref))

    def unregister(self, key: K, ref: ActorRef[M]) -> bool:
        """Take the actor out of ``key``. Says whether it was there."""
        mailbox = self._take_out(key, ref)
        if mailbox is not None:
            mailbox.remove_watcher((self, key, ref))
        return mailbox is not None

    def lookup(self, key: K) -> tuple[ActorRef[M], ...]:
        """The actors of ``key``, in the order in which they were registered."""
        return tuple(self._entries.get(key, ()))

    def whereis(self, key: K) -> ActorRef[M] | None:
        """The actor of ``key``, of several the first; ``None`` if there is none."""
        return next(iter(self._entries.get(key, ())), None)

    def keys(self) -> tuple[K, ...]:
        """The keys that have an actor."""
        return tuple(self._entries)

    def dispatch(self, key: K, message: M) -> int:
        """``tell`` the message to each actor of ``key``. Returns: how many accepted it."""
        return sum(ref.tell(message).accepted for ref in self.lookup(key))

    def _ended(self, key: K, ref: ActorRef[M], _reason: StopReason, _crash: str | None) -> None:
        self._take_out(key, ref)

    def _take_out(self, key: K, ref: ActorRef[M]) -> Mailbox[M] | None:
        refs = self._entries.get(key, {})
        mailbox = refs.pop(ref, None)
        if mailbox is not None:
            self._count -= 1
            if not refs:
                del self._entries[key]
        return mailbox
