"""Which channels are open, by user: what a notifier finds again after a crash. No ``await``.

The notifier is the one who serves the channels, but it holds no truth, not even of this: a channel
belongs to its session, which puts it in here and takes it out.
"""

from __future__ import annotations

from trouper.actors.channel import SubscriberChannel


class Subscribers:
    """The open channels of all users on this node."""

    def __init__(self) -> None:
        self._by_user: dict[str, dict[SubscriberChannel, None]] = {}
        self._unheard: set[str] = set()
        self._count = 0  # it is asked for each session that is opened

    def __len__(self) -> int:
        return self._count

    def __contains__(self, user: object) -> bool:
        return user in self._by_user

    def add(self, channel: SubscriberChannel) -> None:
        channels = self._by_user.setdefault(channel.user, {})
        self._count += channel not in channels
        channels[channel] = None

    def discard(self, channel: SubscriberChannel) -> None:
        channels = self._by_user.get(channel.user)
        if channels is not None:
            self._count -= channel in channels
            channels.pop(channel, None)
            if not channels:
                del self._by_user[channel.user]
                self._unheard.discard(channel.user)

    def told(self, user: str, accepted: bool) -> bool:
        """What a channel wishes was told to its user's notifier; if that had no room, it is to ask all of its
        channels again. Returns ``accepted``."""
        if not accepted and user in self._by_user:
            self._unheard.add(user)
        return accepted

    def take_unheard(self, user: str) -> bool:
        """Whether that was so since this was asked last."""
        if user not in self._unheard:
            return False
        self._unheard.remove(user)
        return True

    def users(self) -> tuple[str, ...]:
        """Who has an open channel."""
        return tuple(self._by_user)

    def of(self, user: str) -> tuple[SubscriberChannel, ...]:
        return tuple(self._by_user.get(user, ()))

    def close_all(self) -> None:
        """The runtime has ended: nothing comes any more, and whoever waits for it is to find that out."""
        for user in self.users():
            for channel in self.of(user):
                wake = channel.on_ready
                channel.close()
                self.discard(channel)
                if wake is not None:
                    wake()
