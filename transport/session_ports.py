"""What a session asks of its channel, and of the shell that carries its bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from trouper.actors.channel_items import ChannelItem
from trouper.transport import messages
from trouper.transport.codes import CloseCode
from trouper.transport.messages import Command


class Channel(Protocol):
    """What a session asks of its ``SubscriberChannel``."""

    on_ready: Callable[[], None] | None
    awaits_page: bool
    more: bool
    sent: int

    def attach(self, job_id: str, attempt: int, n: int) -> None: ...
    def detach(self, job_id: str) -> None: ...
    def ack(self, sent: int, feed: int) -> None: ...
    def set_visible(self, visible: bool) -> None: ...
    def resync(self, cursor: tuple[str, int] | None) -> None: ...
    def take(self, max_bytes: int) -> list[ChannelItem]: ...
    @property
    def pending(self) -> bool: ...
    @property
    def feed_pending(self) -> bool: ...


# --- what the shell is asked to do ----------------------------------------------------------------


@attrs.frozen
class Authenticate:
    """Find out who it is, open a channel, and call ``opened``; or close."""

    hello: messages.Hello


@attrs.frozen
class CarryOut:
    """Carry out a command, in the order of these actions, and call ``replied``."""

    command: Command


@attrs.frozen
class Close:
    """Close the connection with this code and reason. Nothing follows it."""

    code: CloseCode
    reason: str


Action = Authenticate | CarryOut | Close
