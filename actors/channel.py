"""The subscriber channel of one session: cursors, never a queue of output. No ``await``.

A channel holds one feed cursor and one cursor for each attached output, so a slow session costs
O(1): when it can be written again, ``take`` gives it one larger range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from trouper.actors.attachment import Attachment, Phase
from trouper.actors.channel_items import (
    END_BYTES,
    ChannelItem,
    EndItem,
    FeedChanges,
    FeedSnapshot,
    GoneItem,
    OutputItem,
    PlacesItem,
    ProgressItem,
    RewindItem,
)
from trouper.actors.feed import FeedWindow
from trouper.actors.feed_pages import first_part
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
    """``in_flight_bytes`` of at most ``window_bytes``; ``attached`` of at most ``attachments``."""

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
        self.cursor = cursor
        """The feed cursor as (epoch, seq); None: holds nothing."""
        self.wants_feed = wants_feed
        self.visible = visible
        self.on_ready: Callable[[], None] | None = None
        self.closed = False
        self._outputs = outputs
        self._owner = owner
        self._limits = limits
        self._trusted = trusted
        self._window: FeedWindow | None = None
        self._feed_slot: FeedSnapshot | FeedChanges | None = None
        self._feed_asked = wants_feed
        self._places: QueuePlaces = ()
        self._places_told: QueuePlaces = ()
        self._attached: dict[str, Attachment] = {}
        self._dirty: dict[str, None] = {}
        self._sent = 0
        self._taking_from = 0  # what ``_sent`` was when the present ``take`` began
        self._acked = 0
        self.awaits_page = False
        """Whether the last ``take`` ended where older output had to be asked of the store: what comes then is
        the rest of it."""
        self._unseen_ends: list[tuple[int, str]] = []
        self._untold_seen: dict[str, None] = {}
        """Jobs whose end was seen when the notifier had no room to be told."""

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
            attachment.phase = Phase.LIVE
        self._dirty[job_id] = None
        self._ready()  # even if it is dirty: what is asked for may be due sooner than what has grown

    def detach(self, job_id: str) -> None:
        if self._attached.pop(job_id, None) is not None:
            self._dirty.pop(job_id, None)
            self._outputs.unwatch(job_id, self)

    def ack(self, sent: int, feed: int) -> None:
        """The session has applied output up to ``sent`` (and the feed up to ``feed``).

        Raises ``ValueError`` for a ``sent`` that goes back or was never sent.
        """
        if not self._acked <= sent <= self._sent:
            raise ValueError(f"ack of sent={sent}: legal are {self._acked} to {self._sent}")
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
        self.cursor = cursor
        self._feed_slot = None
        self._ask_feed()

    # --- what the notifier and the outputs say ---

    def feed_opened(
        self, window: FeedWindow, slot: FeedSnapshot | FeedChanges | None, cursor: tuple[str, int] | None
    ) -> None:
        """The answer to a wish for the feed from ``cursor``: from now on deltas come from ``window``."""
        self._window = window
        self._feed_asked = False
        if cursor != self.cursor:  # the session has said meanwhile that it holds something else
            self._ask_feed()
            return
        self._feed_slot = slot
        self._ready()

    def set_places(self, places: QueuePlaces) -> None:
        """The places of the user's jobs in the queue are these now; only the latest are told."""
        if self.wants_feed and places != self._places:
            self._places = places
            self._ready()

    def feed_changed(self) -> None:
        self._ready()

    def reopen(self, *, anew: bool = True) -> None:
        """Ask again for whatever the notifier was asked for: it is a new one, or else it may have had no
        room for some of that."""
        if self.wants_feed and (anew or self._feed_asked):
            self._feed_asked = False
            self._ask_feed()
        untold, self._untold_seen = self._untold_seen, {}
        for job_id in untold:
            self._tell_seen(job_id)
        for job_id, attachment in self._attached.items():
            attachment.head.page_failed()
            self._outputs.want_row(attachment.head, self.user)
            self.output_changed(job_id)

    def output_changed(self, job_id: str) -> None:
        if job_id in self._dirty and self._room() > 0:
            return  # it was told, and ``pending`` has been true since: the hot path, once per entry
        attachment = self._attached.get(job_id)
        if attachment is not None:
            self._dirty[job_id] = None
            if self._room() > 0 or attachment.needs_no_room:
                self._ready()  # else the next ack tells: a frozen session is not looked at for each entry

    def _ready(self) -> None:
        if self.on_ready is not None and not self.closed:
            self.on_ready()

    # --- what is due ---

    @property
    def pending(self) -> bool:
        """Whether ``take`` would give something now."""
        return (
            self._feed_due()
            or self._places != self._places_told
            or bool(self._dirty and (self._room() > 0 or self._any_control()))
        )

    @property
    def feed_pending(self) -> bool:
        """Whether that would hold a change of the feed."""
        return self._feed_due()

    def take(self, max_bytes: int) -> list[ChannelItem]:
        """What is due now, in wire order: feed, then outputs in turn.

        At most ``max_bytes`` of output payload (one entry always fits), within the window. An empty
        list: nothing is due; ``on_ready`` tells when something is.
        """
        items: list[ChannelItem] = []
        if self._feed_due():
            while (feed := self._take_feed()) is not None:  # a snapshot, and what has come since
                items.append(feed)
                if self._feed_slot is not None:
                    break  # the rest of it is a message of its own
        if self._places != self._places_told:
            self._places_told = self._places
            items.append(PlacesItem(self._places))
        budget = min(max_bytes, self._room())
        self._taking_from = self._sent
        self.awaits_page = False
        for job_id in list(self._dirty):
            attachment = self._attached.get(job_id)
            if attachment is None:
                self._dirty.pop(job_id, None)
                continue
            before = self._sent
            done = self._take_output(attachment, budget, items)
            if not done and self._sent == before:
                continue  # it had no room: it keeps its place in the line
            budget -= self._sent - before
            self._dirty.pop(job_id, None)
            if not done:
                self._dirty[job_id] = None  # it had its turn
        return items

    def _room(self) -> int:
        return self._limits.window_bytes - (self._sent - self._acked)

    def _any_control(self) -> bool:
        """Whether an item that needs no room is due on a dirty output."""
        return any(self._attached[job_id].needs_no_room for job_id in self._dirty if job_id in self._attached)

    # --- the feed ---

    def _feed_due(self) -> bool:
        if not self.wants_feed or self._feed_asked:
            return False
        if self._feed_slot is not None or self._window is None or self._window.seq is None:
            return self._feed_slot is not None
        return self.cursor is not None and self._window.seq > self.cursor[1]

    def _ask_feed(self) -> None:
        if not self._feed_asked:
            self._feed_asked = True
            self._owner.feed_wanted(self)

    def _take_feed(self) -> FeedSnapshot | FeedChanges | None:
        if not self._feed_due():
            return None
        item, self._feed_slot = self._feed_slot, None
        if item is None:
            assert self._window is not None
            assert self.cursor is not None
            changes = self._window.since(self.cursor[1])
            if changes is None:
                self._ask_feed()
                return None
            item = FeedChanges(self.epoch, changes)
        item, self._feed_slot = first_part(item, self._limits.feed_bytes)
        seq = item.snapshot.seq if isinstance(item, FeedSnapshot) else item.changes.seq
        self.cursor = (self.epoch, seq)
        return item

    # --- outputs ---

    def _take_output(self, attachment: Attachment, budget: int, items: list[ChannelItem]) -> bool:
        """Add what is due of one output to ``items``. False: more is due as soon as there is room."""
        head = attachment.head
        if head.missing or (head.job is not None and not self._may_read(head)):
            items.append(GoneItem(head.job_id, "unknown"))
            self.detach(head.job_id)
            return True
        if not head.loaded or attachment.phase is Phase.REWOUND:
            return True  # the head's arrival, or the client's attach, marks it dirty again
        if head.attempt != attachment.attempt or attachment.n > head.entries:
            keep = head.keep_for(attachment.attempt, attachment.n)
            items.append(RewindItem(head.job_id, head.attempt, keep))
            attachment.phase = Phase.REWOUND
            return True
        if head.progress is not attachment.progress:
            self._take_progress(attachment, items)
        while attachment.n < head.entries:
            if head.damaged:
                items.append(GoneItem(head.job_id, "damaged"))
                self.detach(head.job_id)
                return True
            if budget <= 0:
                return False
            piece = head.piece(attachment.n, self._frame_end(attachment), budget)
            if piece is None:
                self._outputs.want_page(head, attachment.n, self.user)
                self.awaits_page = True
                return True
            if piece.size > budget and self._sent > self._taking_from:
                return False  # one entry always fits, and only one
            attachment.n = piece.end
            budget -= piece.size
            self._sent += piece.size
            items.append(
                OutputItem(
                    head.job_id, piece.attempt, piece.start, piece.end, piece.parts, self._sent, piece.encoded
                )
            )
        if head.ended:
            return self._take_end(attachment, budget, items)
        return True

    def _may_read(self, head: OutputHead) -> bool:
        return self._trusted or (head.job is not None and head.job.user == self.user)

    def _frame_end(self, attachment: Attachment) -> int:
        """Where the next frame ends at the latest: at the latest savepoint, if it is ahead: no frame spans
        it (O3)."""
        head = attachment.head
        savepoint = head.log.savepoint if head.log is not None else head.job.savepoint if head.job else 0
        return min(head.entries, savepoint) if attachment.n < savepoint else head.entries

    def _take_progress(self, attachment: Attachment, items: list[ChannelItem]) -> None:
        progress = attachment.head.progress
        attachment.progress = progress
        if progress is None:  # of an attempt that is over
            return
        items.append(
            ProgressItem(progress.job_id, progress.attempt, progress.done, progress.total, progress.note)
        )

    def _take_end(self, attachment: Attachment, budget: int, items: list[ChannelItem]) -> bool:
        if budget <= 0:
            return False
        job = attachment.head.job
        assert job is not None
        self._sent += END_BYTES
        items.append(EndItem(job.id, job.attempt, job.entries, job.sha256, job.state, self._sent))
        self._unseen_ends.append((self._sent, job.id))
        self.detach(job.id)
        return True

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
            sent_bytes=self._sent,
            in_flight_bytes=self._sent - self._acked,
            feed_seq=self.cursor[1] if self.cursor else None,
            visible=self.visible,
        )
