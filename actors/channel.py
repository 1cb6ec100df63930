"""The subscriber channel of one session: cursors, never a queue of output. No ``await``.

A channel holds one feed cursor and one cursor for each attached output, so a slow session costs
O(1): when it can be written again, ``take`` gives it one larger range.

An output of which something was taken is *watched*: the next ``take`` looks at it without being told. Only
when that finds nothing is it *quiet*, and its head tells when it grows. So what grows all the time calls
nobody for each entry, nor once for each window.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import attrs

from trouper.actors.attachment import Attachment, Phase
from trouper.actors.channel_feed import FeedCursor
from trouper.actors.channel_items import (
    END_BYTES,
    ChannelItem,
    EndItem,
    FeedChanges,
    FeedSnapshot,
    GoneItem,
    ProgressItem,
    RewindItem,
)
from trouper.actors.feed import FeedWindow
from trouper.actors.options import ChannelLimits
from trouper.actors.outputs import OutputHead, Outputs
from trouper.store.protocol import QueuePlaces


class TooManyAttached(ValueError):
    """The session has attached as many outputs as it may."""


class ChannelOwner(Protocol):
    """The user's notifier, as a channel asks it for what needs the store."""

    def feed_wanted(self, channel: SubscriberChannel) -> None: ...
    def seen(self, channel: SubscriberChannel, job_id: str) -> bool:
        """False: it had no room for that, and asks its channels again (``reopen``)."""
        ...


@attrs.frozen
class ChannelStatistics:
    """``in_flight_bytes`` of at most ``window_bytes``; ``attached`` of at most ``attachments``; ``dirty``:
    those that the next ``take`` looks at."""

    attached: int
    dirty: int
    sent_bytes: int
    in_flight_bytes: int
    feed_seq: int | None
    visible: bool


class SubscriberChannel:
    """One session's view. Made by ``Runtime.open_session``, which also closes it."""

    def __init__(
        self,
        session_id: str,
        user: str,
        *,
        epoch: str,
        cursor: tuple[str, int] | None,
        visible: bool,
        wants_feed: bool,
        outputs: Outputs,
        owner: ChannelOwner,
        limits: ChannelLimits,
        trusted: bool = False,
    ) -> None:
        self.session_id = session_id
        self.user = user
        self.epoch = epoch
        self.visible = visible
        self.on_ready: Callable[[], None] | None = None
        self.closed = False
        self._outputs = outputs
        self._owner = owner
        self._limits = limits
        self._trusted = trusted
        self._feed = FeedCursor(
            epoch,
            cursor,
            wanted=wants_feed,
            max_bytes=limits.feed_bytes,
            ask=partial(owner.feed_wanted, self),
        )
        self._news = True
        """Whether there may be something of the feed or of the places to take."""
        self._attached: dict[str, Attachment] = {}
        self._dirty: dict[str, Attachment] = {}
        """Those that are watched, in the order of their turns."""
        self._window_bytes = limits.window_bytes
        self.sent = 0
        """Output that was taken so far, in bytes of payload."""
        self._taking_from = 0  # what ``sent`` was when the present ``take`` began
        self._acked = 0
        self.more = False
        """Whether the last ``take`` left something that is due, for which one message had no room."""
        self.awaits_page = False
        """Whether the last ``take`` ended where older output had to be asked of the store: what comes then is
        the rest of it."""
        self._unseen_ends: list[tuple[int, str]] = []
        self._untold_seen: dict[str, None] = {}
        """Jobs whose end was seen when the notifier had no room to be told."""

    @property
    def cursor(self) -> tuple[str, int] | None:
        """The feed cursor as (epoch, seq); None: holds nothing."""
        return self._feed.cursor

    # --- what the session says ---

    def attach(self, job_id: str, attempt: int, n: int) -> None:
        """Want everything of a job's output after the cursor (``attempt``, ``n``).

        Attaching again moves the cursor. Raises ``TooManyAttached``.
        """
        attachment = self._attached.get(job_id)
        if attachment is None:
            if len(self._attached) >= self._limits.attachments:
                legal = f"legal are {self._limits.attachments} (attachments)"
                raise TooManyAttached(f"{len(self._attached)} outputs are attached: {legal}")
            attachment = Attachment(self._outputs.watch(job_id, self), attempt, n)
            self._attached[job_id] = attachment
        else:
            attachment.attempt, attachment.n = attempt, n
            attachment.phase = Phase.LOADING
        self._watch(job_id, attachment)
        self._ready()  # even if it is dirty: what is asked for may be due sooner than what has grown

    def detach(self, job_id: str) -> None:
        if self._attached.pop(job_id, None) is not None:
            self._dirty.pop(job_id, None)
            self._outputs.unwatch(job_id, self)

    def ack(self, sent: int, feed: int) -> None:
        """The session has applied output up to ``sent`` (and the feed up to ``feed``).

        Raises ``ValueError`` for a ``sent`` that goes back or was never sent.
        """
        if not self._acked <= sent <= self.sent:
            raise ValueError(f"ack of sent={sent}: legal are {self._acked} to {self.sent}")
        self._acked = sent
        while self._unseen_ends and self._unseen_ends[0][0] <= sent:
            _, job_id = self._unseen_ends.pop(0)
            if self.visible:  # judged now, when the ack arrives (N5)
                self._tell_seen(job_id)
        if self._dirty:
            self._ready()

    def _tell_seen(self, job_id: str) -> None:
        if not self._owner.seen(self, job_id) and len(self._untold_seen) < self._limits.attachments:
            self._untold_seen[job_id] = None

    def set_visible(self, visible: bool) -> None:
        self.visible = visible

    def resync(self, cursor: tuple[str, int] | None) -> None:
        """The session holds the feed up to ``cursor``, as (epoch, seq), and wants to go on from there."""
        self._feed.resync(cursor)

    # --- what the notifier and the outputs say ---

    def feed_opened(
        self, window: FeedWindow, slot: FeedSnapshot | FeedChanges | None, cursor: tuple[str, int] | None
    ) -> None:
        """The answer to a wish for the feed from ``cursor``: from now on deltas come from ``window``."""
        self._feed.opened(window, slot, cursor)
        self.feed_changed()

    def set_places(self, places: QueuePlaces) -> None:
        """The places of the user's jobs in the queue are these now; only the latest are told."""
        if self._feed.set_places(places):
            self.feed_changed()

    def feed_changed(self) -> None:
        """The window of the notifier has moved."""
        self._news = True
        self._ready()

    def reopen(self, *, anew: bool = True) -> None:
        """Ask again for whatever the notifier was asked for: it is a new one, or else it may have had no
        room for some of that."""
        if self._feed.wanted and (anew or self._feed.asked):
            self._feed.asked = False
            self._feed.ask()
        untold, self._untold_seen = self._untold_seen, {}
        for job_id in untold:
            self._tell_seen(job_id)
        for job_id, attachment in self._attached.items():
            attachment.head.page_failed()
            self._outputs.want_row(attachment.head, self.user)
            self.output_changed(job_id)

    def output_changed(self, job_id: str) -> None:
        """An output that was quiet has grown, or something else of it has changed."""
        attachment = self._attached.get(job_id)
        if attachment is not None:
            self._watch(job_id, attachment)
            if self._room() > 0 or attachment.needs_no_room:
                self._ready()  # else the next ack tells

    def _watch(self, job_id: str, attachment: Attachment) -> None:
        attachment.head.quiet.pop(self, None)
        self._dirty[job_id] = attachment

    def _ready(self) -> None:
        if self.on_ready is not None and not self.closed:
            self.on_ready()

    # --- what is due ---

    @property
    def pending(self) -> bool:
        """Whether ``take`` would give something now."""
        if self._feed.due or self._feed.places_due:
            return True
        room = self._room() > 0
        return any(one.needs_no_room or (room and one.needs_room) for one in self._dirty.values())

    @property
    def feed_pending(self) -> bool:
        """Whether that would hold a change of the feed."""
        return self._feed.due

    def take(self, max_bytes: int) -> list[ChannelItem]:
        """What is due now, in wire order: feed, then outputs in turn.

        At most ``max_bytes`` of output payload (one entry always fits), within the window. After an empty
        list ``on_ready`` tells when something is due. After one that is not empty call again by yourself,
        when enough may have come for a message: of what goes on growing nothing is told meanwhile.
        """
        items: list[ChannelItem] = []
        self.awaits_page = False
        self.more = self._news and self._take_news(items)
        if not self._dirty:
            return items
        self._taking_from = sent = self.sent
        room = self._window_bytes - sent + self._acked
        budget = max_bytes if max_bytes < room else room
        left = False
        for job_id, attachment in [*self._dirty.items()]:
            count = len(items)
            if self._take_output(attachment, budget, items):
                left = True
                if self.sent == sent:
                    continue  # it had no room: it keeps its place in the line
            elif len(items) == count:
                del self._dirty[job_id]
                attachment.head.quiet[self] = None
                continue
            budget -= self.sent - sent
            sent = self.sent
            if len(self._dirty) > 1 and self._dirty.pop(job_id, None) is not None:
                self._dirty[job_id] = attachment  # it had its turn
        if left and self._room() > 0:
            self.more = True
        return items

    def _take_news(self, items: list[ChannelItem]) -> bool:
        self._news = self._feed.take(items)
        return self._news

    def _room(self) -> int:
        return self._window_bytes - (self.sent - self._acked)

    # --- outputs ---

    def _take_output(self, attachment: Attachment, budget: int, items: list[ChannelItem]) -> bool:
        """Add what is due of one output to ``items``. True: more is due as soon as there is room."""
        head = attachment.head
        if (
            attachment.phase is not Phase.LIVE
            or attachment.attempt != head.attempt
            or attachment.n > head.entries
            or attachment.progress is not head.progress
        ) and not self._may_go_on(attachment, items):
            return False
        while attachment.n < head.entries:
            if head.damaged:
                items.append(GoneItem(head.job_id, "damaged"))
                self.detach(head.job_id)
                return False
            if budget <= 0:
                return True
            piece = head.piece(attachment.n, budget)
            if piece is None:
                self._outputs.want_page(head, attachment.n, self.user)
                self.awaits_page = True
                return False
            size = piece.size
            if size > budget and self.sent > self._taking_from:
                return True  # one entry always fits, and only one
            attachment.n = piece.end
            budget -= size
            self.sent += size
            item = piece.latest  # most often of who was given the same just before
            items.append(item if item is not None and item.sent == self.sent else piece.item(self.sent))
        return head.ended and self._take_end(attachment, budget, items)

    def _may_go_on(self, attachment: Attachment, items: list[ChannelItem]) -> bool:
        """Add what comes before entries: that it is gone, a rewind, progress. Whether entries may follow."""
        head = attachment.head
        if head.missing or (head.job is not None and not self._may_read(head)):
            items.append(GoneItem(head.job_id, "unknown"))
            self.detach(head.job_id)
            return False
        if not head.loaded or attachment.phase is Phase.REWOUND:
            return False  # the head's arrival, or the client's attach, marks it dirty again
        if head.attempt != attachment.attempt or attachment.n > head.entries:
            keep = head.keep_for(attachment.attempt, attachment.n)
            items.append(RewindItem(head.job_id, head.attempt, keep))
            attachment.phase = Phase.REWOUND
            return False
        attachment.phase = Phase.LIVE
        if head.progress is not attachment.progress:
            self._take_progress(attachment, items)
        return True

    def _may_read(self, head: OutputHead) -> bool:
        return self._trusted or (head.job is not None and head.job.user == self.user)

    def _take_progress(self, attachment: Attachment, items: list[ChannelItem]) -> None:
        progress = attachment.head.progress
        attachment.progress = progress
        if progress is None:  # of an attempt that is over
            return
        items.append(
            ProgressItem(progress.job_id, progress.attempt, progress.done, progress.total, progress.note)
        )

    def _take_end(self, attachment: Attachment, budget: int, items: list[ChannelItem]) -> bool:
        """Add the end. True: there is no room for it yet."""
        if budget <= 0:
            return True
        job = attachment.head.job
        assert job is not None
        self.sent += END_BYTES
        items.append(EndItem(job.id, job.attempt, job.entries, job.sha256, job.state, self.sent))
        self._unseen_ends.append((self.sent, job.id))
        self.detach(job.id)
        return False

    # --- the end ---

    def close(self) -> None:
        """Let go of every output. Called by whoever opened the channel."""
        self.closed = True
        for job_id in list(self._attached):
            self.detach(job_id)

    def statistics(self) -> ChannelStatistics:
        return ChannelStatistics(
            attached=len(self._attached),
            dirty=len(self._dirty),
            sent_bytes=self.sent,
            in_flight_bytes=self.sent - self._acked,
            feed_seq=self.cursor[1] if self.cursor else None,
            visible=self.visible,
        )
