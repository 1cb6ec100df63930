"""Who watches: the open channels of this node, the notifiers of their users, and what these are told.

Channels and the heads of outputs are no actors: they are looked at in the step after each commit, without a
message.
"""

from __future__ import annotations

import attrs

from trouper.actors.channel import SubscriberChannel
from trouper.actors.mailbox import Mailbox, Overflow
from trouper.actors.notifier import (
    ChannelDesk,
    FeedMoved,
    Notifier,
    NotifierMessage,
    NotifierPorts,
    OpenFeed,
    ReadOutput,
    Wake,
    conflation_key,
)
from trouper.actors.outputs import Outputs
from trouper.actors.reports import Reporter
from trouper.actors.subscribers import Subscribers
from trouper.store.protocol import CommitNotice, Store
from trouper.store.seams import Seams
from trouper.supervisor.admission import check_label
from trouper.supervisor.keyed import KeyedSupervisor
from trouper.supervisor.options import RuntimeOptions
from trouper.supervisor.queue_board import QueueBoard
from trouper.supervisor.refusals import TooManySessions


class Audience:
    """Its parts ``notifiers`` and ``board`` are children of the core."""

    def __init__(self, store: Store, options: RuntimeOptions, seams: Seams, reporter: Reporter) -> None:
        self._store = store
        self._options = options
        self._seams = seams
        self.subscribers = Subscribers()
        self.outputs = Outputs(options.channels.pages, self._page_wanted)
        self.board = QueueBoard(store, self.subscribers, options)
        self.notifiers: KeyedSupervisor[NotifierMessage] = KeyedSupervisor(
            "notifiers",
            self._make_notifier,
            mailbox=lambda: Mailbox(options.notifier_mailbox, Overflow.CONFLATE, conflate_key=conflation_key),
            max_active=options.max_sessions,
            seams=seams,
            reporter=reporter,
        )
        self._desk = ChannelDesk(self.tell_notifier)
        self._ports = NotifierPorts(
            store=store, outputs=self.outputs, subscribers=self.subscribers, limits=options.channels
        )

    def _make_notifier(self, user: str) -> Notifier:
        return Notifier(user, self._ports)

    # --- channels ---

    def open_channel(
        self, user: str, *, visible: bool, feed: tuple[str, int] | None, wants_feed: bool
    ) -> SubscriberChannel:
        """A channel of ``user``'s, for whoever opens it to close. Raises ``TooManySessions``."""
        if len(self.subscribers) >= (most := self._options.max_sessions):
            raise TooManySessions(f"{most} sessions are open, which is the limit (max_sessions)")
        channel = SubscriberChannel(
            self._seams.new_id(),
            user,
            epoch=self._store.epoch,
            cursor=feed,
            visible=visible,
            wants_feed=wants_feed,
            outputs=self.outputs,
            owner=self._desk,
            limits=self._options.channels,
        )
        self.subscribers.add(channel)
        if wants_feed:
            self.tell_notifier(user, OpenFeed(channel))
            self.board.opened()
        return channel

    def close_channel(self, channel: SubscriberChannel) -> None:
        """Let go of a channel; the user's notifier may be passivated then."""
        channel.close()
        self.subscribers.discard(channel)
        self.notifiers.tell_if_active(channel.user, Wake())

    # --- what they are told ---

    def committed(self, notice: CommitNotice) -> None:
        """The step after each commit."""
        self.outputs.committed(notice)
        if not notice.feeds:  # output alone: no row has changed
            return
        self.board.committed(notice)
        for user, seq in notice.feeds.items():
            self.notifiers.tell_if_active(user, FeedMoved(seq))

    def tell_notifier(self, user: str, message: NotifierMessage) -> bool:
        """Give a message to the user's notifier, starting it if need be; False: no room, it asks later."""
        return self.subscribers.told(user, self.notifiers.ref(user).tell(message).accepted)

    def wake_notifiers(self) -> None:
        """Have a notifier for every user with sessions, if one was lost with its supervisor."""
        for user in self.subscribers.users():
            self.tell_notifier(user, Wake())

    def _page_wanted(self, user: str, job_id: str, start: int) -> None:
        self.tell_notifier(user, ReadOutput(job_id, start))


@attrs.define(eq=False)
class OpenSession:
    """A session's channel for as long as the block lasts. A class, because what ``asynccontextmanager`` makes
    of a function takes half a kilobyte for each session that is idle in it."""

    _audience: Audience
    _user: str
    _visible: bool
    _feed: tuple[str, int] | None
    _channel: SubscriberChannel | None = None

    async def __aenter__(self) -> SubscriberChannel:
        """Raises ``TooManySessions``, ``BadArguments``."""
        check_label("user", self._user)
        self._channel = self._audience.open_channel(
            self._user, visible=self._visible, feed=self._feed, wants_feed=True
        )
        return self._channel

    async def __aexit__(self, *raised: object) -> None:
        assert self._channel is not None
        self._audience.close_channel(self._channel)
