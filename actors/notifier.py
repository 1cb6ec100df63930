"""The notifier: one actor for each user with connected sessions.

It tells every session of its user what has changed, and does for their channels what needs the
store: the feed from a cursor, older output, marks. It holds no truth: the store does. When its last
channel is gone it is passivated, and a user without sessions loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from trouper.actors.actor import Actor
from trouper.actors.channel import SubscriberChannel
from trouper.actors.channel_items import FeedChanges, FeedSnapshot
from trouper.actors.feed import FeedWindow, feed_row
from trouper.actors.options import ChannelLimits
from trouper.actors.outputs import Outputs
from trouper.actors.subscribers import Subscribers
from trouper.store.errors import StoreCorrupt, StoreUnavailable
from trouper.store.protocol import Store

_RETRY_S = (
    1.0  # a store that is down is asked again after this, and so are channels for which there was no room
)


@attrs.frozen
class FeedMoved:
    """The user's feed is at ``seq`` now. Conflated: only the latest counts."""

    seq: int


@attrs.frozen
class RereadFeed:
    """The store was down when the feed had moved: read it now, wherever it is."""


@attrs.frozen
class OpenFeed:
    """A channel wants the feed from its cursor."""

    channel: SubscriberChannel


@attrs.frozen
class ReadOutput:
    """Output that is not in memory is wanted: the row (``start`` -1) or a page from ``start``."""

    job_id: str
    start: int


@attrs.frozen
class OutputSeen:
    """A visible session has acknowledged the end of a job's output."""

    job_id: str


@attrs.frozen
class Wake:
    """Be there if there are channels; go if there are none. (The loop asks after every message.)"""


NotifierMessage = FeedMoved | RereadFeed | OpenFeed | ReadOutput | OutputSeen | Wake


def conflation_key(message: NotifierMessage) -> object | None:
    """Which waiting message a new one replaces. A feed only moves on, so the newer says it all."""
    match message:
        case FeedMoved() | RereadFeed() | Wake():
            return type(message)
        case ReadOutput() | OutputSeen():
            return message
        case OpenFeed():
            return (OpenFeed, message.channel.session_id)


@attrs.frozen(kw_only=True)
class NotifierPorts:
    """What a notifier needs of the runtime around it."""

    store: Store
    outputs: Outputs
    subscribers: Subscribers
    limits: ChannelLimits


class Notifier(Actor[NotifierMessage]):
    """The actor of one user."""

    def __init__(self, user: str, ports: NotifierPorts) -> None:
        self.user = user
        self._ports = ports
        self._window = FeedWindow(ports.limits.feed_resume_rows)
        self._retrying = 0

    def passivable(self) -> bool:
        return not self._retrying and not self._ports.subscribers.of(self.user)

    async def started(self) -> None:
        # After a crash the channels of the incarnation before are still open: serve them again.
        for channel in self._ports.subscribers.of(self.user):
            channel.reopen()

    async def receive(self, message: NotifierMessage) -> None:
        try:
            await self._handle(message)
        except StoreUnavailable:
            # A moved feed is read again as a message of its own: told as it was, it would take the place
            # of a newer one that waits.
            again = RereadFeed() if isinstance(message, FeedMoved) else message
            self._retrying += 1
            self.context.nursery.start_soon(self._again, again)
        if self._ports.subscribers.take_unheard(self.user):
            self._retrying += 1
            self.context.nursery.start_soon(self._again, None)

    async def _again(self, message: NotifierMessage | None) -> None:
        """Tell it once more, later; None, or no room for it: ask the channels for all that they wish."""
        await trio.sleep(_RETRY_S)
        self._retrying -= 1
        if message is None or not self.context.ref.tell(message).accepted:
            self.context.ref.tell(RereadFeed())  # that it had moved may have had no room either
            for channel in self._ports.subscribers.of(self.user):
                channel.reopen(anew=False)

    async def _handle(self, message: NotifierMessage) -> None:
        match message:
            case FeedMoved(seq=seq):
                if self._window.seq is not None and seq > self._window.seq:
                    await self._read_feed(self._window.seq)
            case RereadFeed():
                if self._window.seq is not None:
                    await self._read_feed(self._window.seq)
            case OpenFeed(channel=channel):
                if not channel.closed:
                    await self._open_feed(channel)
            case ReadOutput(job_id=job_id, start=start):
                await self._read_output(job_id, start)
            case OutputSeen(job_id=job_id):
                await self._ports.store.mark(self.user, "seen", job_id=job_id)
            case Wake():
                pass

    async def _read_feed(self, seq: int) -> None:
        changes = await self._ports.store.changes_since(self.user, seq, self._ports.limits.feed_resume_rows)
        if changes is None:  # more at once than the window holds: whoever is behind gets a snapshot
            snapshot = await self._ports.store.snapshot(self.user, self._ports.limits.snapshot_notifications)
            self._window.start(snapshot.seq, snapshot.counts)
        else:
            self._window.merge(changes)
        for channel in self._ports.subscribers.of(self.user):
            channel.feed_changed()

    async def _open_feed(self, channel: SubscriberChannel) -> None:
        store, limits = self._ports.store, self._ports.limits
        slot: FeedChanges | FeedSnapshot | None = None
        cursor = channel.cursor
        if cursor is not None and cursor[0] == store.epoch:
            changes = await store.changes_since(self.user, cursor[1], limits.feed_resume_rows)
            if changes is not None:
                rows = tuple(map(feed_row, changes.jobs))
                slot = FeedChanges(store.epoch, attrs.evolve(changes, jobs=rows))
        if slot is None:
            snapshot = await store.snapshot(self.user, limits.snapshot_notifications)
            rows = tuple(map(feed_row, snapshot.jobs))
            slot = FeedSnapshot(store.epoch, attrs.evolve(snapshot, jobs=rows))
        seq, counts = (
            (slot.changes.seq, slot.changes.counts)
            if isinstance(slot, FeedChanges)
            else (slot.snapshot.seq, slot.snapshot.counts)
        )
        if self._window.seq is None:
            self._window.start(seq, counts)
        channel.feed_opened(self._window, slot, cursor)

    async def _read_output(self, job_id: str, start: int) -> None:
        outputs = self._ports.outputs
        if start < 0:
            outputs.loaded(job_id, await self._ports.store.output_head(job_id))
            return
        head = outputs.get(job_id)
        try:
            page = await self._ports.store.read_output(job_id, start, self._ports.limits.page_bytes)
        except StoreCorrupt:
            if head is not None:
                head.damaged = True
                head.mark_watchers()
            return
        if head is not None:
            head.page_failed() if page is None else head.add_page(page)
            head.mark_watchers()


class ChannelDesk:
    """The ``ChannelOwner`` of the channels: turns their wishes into messages to the notifier."""

    def __init__(self, tell: Callable[[str, NotifierMessage], bool]) -> None:
        self._tell = tell

    def feed_wanted(self, channel: SubscriberChannel) -> None:
        self._tell(channel.user, OpenFeed(channel))

    def seen(self, channel: SubscriberChannel, job_id: str) -> bool:
        return self._tell(channel.user, OutputSeen(job_id))
