"""The feed as one session sees it: a cursor, and what was read for it. No ``await``.

The cursor says what the session holds. What it lacks comes from the store once (the *slot*), and from then on
from the window that the user's notifier keeps for all sessions.
"""

from __future__ import annotations

from collections.abc import Callable

from trouper.actors.channel_items import ChannelItem, FeedChanges, FeedSnapshot, PlacesItem
from trouper.actors.feed import FeedWindow
from trouper.actors.feed_pages import first_part
from trouper.store.protocol import QueuePlaces


class FeedCursor:
    """``cursor`` as (epoch, seq); None: the session holds nothing. ``ask`` asks the notifier for the feed
    from there; ``max_bytes`` of it go into one item."""

    def __init__(
        self,
        epoch: str,
        cursor: tuple[str, int] | None,
        *,
        wanted: bool,
        max_bytes: int,
        ask: Callable[[], None],
    ) -> None:
        self.cursor = cursor
        self.wanted = wanted
        self.asked = wanted
        """Whether the notifier was asked and has not answered."""
        self._epoch = epoch
        self._max_bytes = max_bytes
        self._ask = ask
        self._window: FeedWindow | None = None
        self._slot: FeedSnapshot | FeedChanges | None = None
        self._places: QueuePlaces = ()
        self._places_told: QueuePlaces = ()

    # --- what is said of it ---

    def ask(self) -> None:
        """Ask for it from the cursor on, unless it was asked for."""
        if not self.asked:
            self.asked = True
            self._ask()

    def resync(self, cursor: tuple[str, int] | None) -> None:
        """The session says what it holds."""
        self.cursor = cursor
        self._slot = None
        self.ask()

    def opened(
        self, window: FeedWindow, slot: FeedSnapshot | FeedChanges | None, cursor: tuple[str, int] | None
    ) -> None:
        """The answer to a wish for the feed from ``cursor``: from now on deltas come from ``window``."""
        self._window = window
        self.asked = False
        if cursor != self.cursor:  # the session has said meanwhile that it holds something else
            self.ask()
        else:
            self._slot = slot

    def set_places(self, places: QueuePlaces) -> bool:
        """The places of the user's jobs in the queue are these now. Whether that is news."""
        if not self.wanted or places == self._places:
            return False
        self._places = places
        return True

    # --- what is due ---

    @property
    def due(self) -> bool:
        """Whether a change of the feed is."""
        if not self.wanted or self.asked:
            return False
        if self._slot is not None or self._window is None or self._window.seq is None:
            return self._slot is not None
        return self.cursor is not None and self._window.seq > self.cursor[1]

    @property
    def places_due(self) -> bool:
        """Whether other places in the queue are."""
        return self._places != self._places_told

    def take(self, items: list[ChannelItem]) -> bool:
        """Add what is due to ``items``. True: that was not all, the rest is for a message of its own."""
        while (feed := self._take()) is not None:  # a snapshot, and what has come since
            items.append(feed)
            if self._slot is not None:
                break
        if self._places != self._places_told:
            self._places_told = self._places
            items.append(PlacesItem(self._places))
        return self._slot is not None

    def _take(self) -> FeedSnapshot | FeedChanges | None:
        if not self.due:
            return None
        item, self._slot = self._slot, None
        if item is None:
            assert self._window is not None
            assert self.cursor is not None
            changes = self._window.since(self.cursor[1])
            if changes is None:
                self.ask()
                return None
            item = FeedChanges(self._epoch, changes)
        item, self._slot = first_part(item, self._max_bytes)
        seq = item.snapshot.seq if isinstance(item, FeedSnapshot) else item.changes.seq
        self.cursor = (self._epoch, seq)
        return item
