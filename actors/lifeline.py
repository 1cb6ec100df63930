"""Whether the actor behind a ref has ended for good, and who wants to know."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from trouper.actors.envelope import Delivery
from trouper.actors.errors import ActorError
from trouper.actors.signals import StopReason

Watcher = Callable[[StopReason, str | None], None]
"""Told why the actor ended for good, and what its last incarnation crashed of, if it did. It neither waits
nor raises."""


@attrs.frozen
class Closed:
    """How the actor ended, and what those are told who still write to it."""

    reason: StopReason
    error: Callable[[], ActorError]  # a new one for each caller: an exception collects its raisers' frames
    delivery: Delivery


class Lifeline:
    """The part of a mailbox that ends, and may begin again if a supervisor is itself restarted."""

    # Slots, here and in the other parts, which is why each builds on the one before: a dictionary of so many
    # names takes more than all the rest of an idle actor's mailbox.
    __slots__ = ("__weakref__", "_closed", "_closing", "_watchers", "crash_summary")

    def __init__(self) -> None:
        super().__init__()
        self._closed: Closed | None = None
        # Made when first needed: most never are, and there may be very many.
        self._closing: trio.Event | None = None
        self._watchers: dict[object, Watcher] | None = None
        self.crash_summary: str | None = None
        """What the last incarnation crashed of, if it did."""

    @property
    def is_closed(self) -> bool:
        """Whether the actor has ended for good."""
        return self._closed is not None

    def closed_error(self) -> ActorError:
        """A new error to raise to somebody who talks to a closed mailbox."""
        assert self._closed is not None, "the mailbox is open"
        return self._closed.error()

    async def wait_closed(self) -> StopReason:
        """Wait until the actor has ended for good. **Cancellation**: changes nothing."""
        await trio.lowlevel.checkpoint()
        while self._closed is None:
            if self._closing is None:
                self._closing = trio.Event()
            await self._closing.wait()
        return self._closed.reason

    def add_watcher(self, who: object, watcher: Watcher) -> None:
        """Have ``watcher`` called once when the actor ends for good; at once if it has. ``who`` may have
        one at a time: a second one changes nothing."""
        if self._closed is not None:
            watcher(self._closed.reason, self.crash_summary)
            return
        if self._watchers is None:
            self._watchers = {}
        self._watchers.setdefault(who, watcher)

    def remove_watcher(self, who: object) -> None:
        """Have the watcher of ``who`` not called any more."""
        if self._watchers is not None:
            self._watchers.pop(who, None)

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return 0 if self._watchers is None else len(self._watchers)

    def _tell_ended(self, closed: Closed) -> None:
        self._closed = closed
        if self._closing is not None:
            self._closing.set()
        watchers, self._watchers = self._watchers or {}, None
        for watcher in watchers.values():
            watcher(closed.reason, self.crash_summary)

    def _begin_again(self) -> None:
        self._closed = self._closing = self.crash_summary = None
