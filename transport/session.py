"""The protocol of one session as a plain class: messages in, messages and actions out. No ``await``.

A shell (the WebSocket connection) gives it what arrives, carries out the actions that it returns,
and takes the next message when the connection can be written. What waits in here is bounded: one
slot for a beat, the replies that are owed, and what came before the welcome; output is the channel's
and is a cursor, never a queue. (``session_state`` has its states.)
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from trouper.actors.channel import TooManyAttached
from trouper.actors.channel_items import OutputItem
from trouper.transport import messages
from trouper.transport.codec import decode_client, encode_item, join_items
from trouper.transport.codes import CloseCode, ErrorCode, close_reason
from trouper.transport.delivery_rate import DeliveryRate
from trouper.transport.errors import ProtocolBroken
from trouper.transport.messages import Command, Item
from trouper.transport.options import ENTRY_BYTES, GatewayOptions
from trouper.transport.outgoing import OnFault, Outgoing
from trouper.transport.session_ports import Action, Authenticate, CarryOut, Channel, Close
from trouper.transport.session_state import SessionEvent, SessionState, after


@attrs.frozen
class _Reply:
    """``refusal_bytes``: its size, if it was given without anything to carry out."""

    encoded: bytes
    refusal_bytes: int


class Session:
    """One session, from the upgrade to its end.

    ``on_due`` is called, synchronously, whenever ``take_message`` may have something to give;
    ``on_fault`` when something could not be written as JSON. ``now()``: a monotonic clock, in seconds;
    ``wall()``: the one that the times of rows are by, in seconds since the epoch.
    """

    def __init__(
        self,
        options: GatewayOptions,
        on_due: Callable[[], None],
        on_fault: OnFault,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.state = SessionState.WAITING
        self._options = options
        self._on_due = on_due
        self._now = now
        self._wall = wall
        most = options.max_message_bytes
        self._rate = DeliveryRate(min(ENTRY_BYTES, most), most)
        self._visible = True
        self._coalesce_ms: int | None = None
        self.window_s: float | None = None
        """For how long output may wait for more of it, in seconds; None: the gateway's tick."""
        self._attach_unanswered = False
        self._held_up = False
        """Output waited for an ack, which has come: it is owed now, as the rest of a message is."""
        self.more = False
        """Whether something is due now that was too much for the last message."""
        self._sent = 0
        """Output that went into messages so far, in bytes of payload."""
        self._outgoing = Outgoing(on_fault)
        self._channel: Channel | None = None
        self._early: list[Item] = []
        self._early_bytes = 0
        self._beat_due = False
        self._replies: list[_Reply] = []  # few: a deque takes 760 bytes when it is empty
        self._reply_bytes = 0
        self._refusal_bytes = 0
        self._under_way = 0

    # --- what arrives ---

    def receive(self, text: str | bytes) -> list[Action]:
        """A message of the client. What breaks the protocol comes back as ``Close``."""
        actions: list[Action] = []
        if self.state is SessionState.CLOSED:
            return actions
        try:
            if isinstance(text, bytes):
                raise ProtocolBroken("a binary message; legal are text messages")
            for item in decode_client(text, max_bytes=self._options.max_inbound_bytes):
                self._item(item, actions)
            if self._early:
                self._early_bytes += len(text.encode())
        except ProtocolBroken as error:
            self._close(error.code, str(error), actions)
        return actions

    def opened(self, channel: Channel, welcome: messages.Welcome) -> list[Action]:
        """The client is who it says, and ``channel`` is its view: welcome it, then go on with what
        came behind its hello.

        The welcome alone is not yet called due: the feed is about to come, and goes in its message.
        """
        self._move(SessionEvent.WELCOMED)
        self._channel = channel
        channel.on_ready = self._on_due
        self._enqueue(welcome)
        if channel.pending:
            self._on_due()
        actions: list[Action] = []
        early, self._early = self._early, []
        self._early_bytes = 0
        try:
            for item in early:
                self._item(item, actions)
        except ProtocolBroken as error:
            self._close(error.code, str(error), actions)
        return actions

    def replied(self, reply: messages.Reply) -> None:
        """A command was carried out."""
        self._under_way -= 1
        if self.state is SessionState.OPEN:
            self._push(reply)

    def beat(self) -> None:
        """It is time for a beat. One that is still unsent is enough."""
        if self.state is SessionState.OPEN:
            self._beat_due = True
            self._on_due()

    def end(self) -> None:
        """The connection is at its end, whatever the reason: nothing is taken or given any more."""
        self._move(SessionEvent.END)
        if self._channel is not None:
            self._channel.on_ready = None
            self._channel = None
        self._early.clear()
        self._replies.clear()
        self._early_bytes = self._reply_bytes = self._refusal_bytes = 0

    # --- what goes out ---

    def take_message(self) -> bytes | None:
        """All that is due, as one message: beat and replies, then feed, then outputs.

        None if nothing is. At most what the peer takes in a second, between ``ENTRY_BYTES`` and
        ``max_message_bytes``, except that one whole item always fits.
        """
        channel = self._channel
        if channel is None:
            return None
        limit = self._rate.message_bytes
        parts: list[bytes] = []
        if self._beat_due or self._replies:
            limit -= self._take_owed(parts, limit)
        due = channel.take(limit if limit > ENTRY_BYTES else ENTRY_BYTES)
        self.more = channel.more or bool(self._replies)
        if due:
            self._attach_unanswered = self._held_up = False
            if self._sent != channel.sent:
                self._sent = channel.sent
                self._rate.sent(channel.sent, self._now)
            if len(due) == 1 and not parts and type(item := due[0]) is OutputItem:
                return item.message or self._alone(item, channel)
            parts.extend(self._outgoing.channel_items(due, channel.detach))
            if not parts:  # nothing of it can be written; the channel tells of more after an empty list only
                return self.take_message()
        return join_items(parts) if parts else None

    def _alone(self, item: OutputItem, channel: Channel) -> bytes:
        """A message of nothing else, which is what most are. Whoever is sent the same finds it there."""
        message = join_items(self._outgoing.channel_items((item,), channel.detach))
        if item.encoded:  # else it cannot be written: each of them is to be told, and to let go of it
            item.message = message
        return message

    def _take_owed(self, parts: list[bytes], limit: int) -> int:
        """Add the beat and replies to ``parts``; the bytes of the latter."""
        if self._beat_due:
            self._beat_due = False
            parts.append(encode_item(messages.ServerBeat(self._wall())))  # as it goes, not as it became due
        size = 0
        while self._replies and (size == 0 or size + len(self._replies[0].encoded) <= limit):
            reply = self._replies.pop(0)
            parts.append(reply.encoded)
            size += len(reply.encoded)
            self._refusal_bytes -= reply.refusal_bytes
        self._reply_bytes -= size
        return size

    @property
    def pending(self) -> bool:
        """Whether ``take_message`` would give something now."""
        if self.state is not SessionState.OPEN or self._channel is None:
            return False
        return self._beat_due or bool(self._replies) or self._channel.pending

    @property
    def coalesce_s(self) -> float | None:
        """For how long what is due may wait for more, in seconds; None: the gateway's tick.

        What the client asked for is for its output as it grows. A beat, a reply and the feed wait for no more
        than the tick; what it waits for itself goes at once: the answer to an attach, output that waited for
        an ack or for the store.
        """
        channel = self._channel
        if self._beat_due or self._replies:
            return None
        if self._held_up or self._attach_unanswered or (channel is not None and channel.awaits_page):
            return 0.0
        if channel is not None and channel.feed_pending:
            return None
        return self.window_s

    @property
    def owed(self) -> int:
        """Replies owed: commands under way, and answers not yet taken."""
        return self._under_way + len(self._replies)

    @property
    def reply_bytes(self) -> int:
        """The replies that wait to be taken, in bytes."""
        return self._reply_bytes

    @property
    def early_bytes(self) -> int:
        """The messages that wait for the welcome, in bytes."""
        return self._early_bytes

    @property
    def full(self) -> bool:
        """Whether nothing more must be read before ``opened``."""
        return self._early_bytes > self._options.max_early_bytes

    # --- inside ---

    def _item(self, item: Item, actions: list[Action]) -> None:
        if self.state is SessionState.WAITING:
            if not isinstance(item, messages.Hello):
                raise ProtocolBroken(_not_hello(item))
            self._visible, self._coalesce_ms = item.visible, item.coalesce_ms
            self._set_window()
            self._move(SessionEvent.HELLO)
            actions.append(Authenticate(item))
        elif self.state is SessionState.OPENING:
            if len(self._early) >= self._options.max_early_items:
                limit = self._options.max_early_items
                self._close(CloseCode.FLOOD, f"more than {limit} items before the welcome", actions)
            else:
                self._early.append(item)
        elif self.state is SessionState.OPEN:
            self._open_item(item, actions)

    def _open_item(self, item: Item, actions: list[Action]) -> None:
        assert self._channel is not None
        match item:
            case messages.Beat():
                pass  # that something was heard is all it says
            case messages.Ack():
                self._held_up = not self._channel.pending
                try:
                    self._channel.ack(item.sent, item.feed or 0)
                except ValueError as error:
                    raise ProtocolBroken(str(error)) from error
                self._held_up = self._held_up and self._channel.pending
                self._rate.acked(item.sent, self._now())
            case messages.Attach():
                self._attach_unanswered = True
                try:
                    self._channel.attach(item.job, item.attempt, item.n)
                except TooManyAttached as error:
                    self._answer(messages.Fault(ErrorCode.BAD_REQUEST, f"attach: {error}"), actions)
            case messages.Detach():
                self._channel.detach(item.job)
            case messages.Visible():
                self._visible = item.visible
                self._channel.set_visible(item.visible)
                self._hasten()
            case messages.Coalesce():
                self._coalesce_ms = item.ms
                self._hasten()
            case messages.Resync():
                self._channel.resync(None if item.feed is None else (item.feed.epoch, item.feed.seq))
            case messages.Unacceptable(_, None, message):
                self._answer(messages.Fault(ErrorCode.BAD_REQUEST, message), actions)
            case messages.Unacceptable(_, str(id), message):
                self._answer(_refusal(id, ErrorCode.BAD_REQUEST, message), actions)
            case Command():
                self._command(item, actions)
            case messages.Hello():
                raise ProtocolBroken("a second hello; legal is one, as the first item")
            case _:
                raise ProtocolBroken(f"{item.t} is not for a client to send")

    def _set_window(self) -> None:
        asked = None if self._coalesce_ms is None else self._coalesce_ms / 1000
        self.window_s = asked if self._visible else max(asked or 0.0, self._options.hidden_tick_s)

    def _hasten(self) -> None:
        """What waits for the end of a longer window need not, and neither does the next look for more."""
        self._set_window()
        self._on_due()

    def _command(self, command: Command, actions: list[Action]) -> None:
        limit = self._options.max_pending_commands
        if self.owed >= limit:
            message = f"{self.owed} commands are pending; legal are {limit}"
            self._answer(_refusal(command.id, ErrorCode.BUSY, message), actions)
        else:
            self._under_way += 1
            actions.append(CarryOut(command))

    def _answer(self, item: Item, actions: list[Action]) -> None:
        """Answer at once, without anything to carry out; at the second bound it is a flood.

        Their bytes are counted apart from those of other replies: a client that waits for one large
        list over a slow line may be wrong meanwhile.
        """
        most = self._options.max_reply_bytes
        if self.owed >= self._options.flood_commands:
            self._close(CloseCode.FLOOD, f"{self.owed} answers are owed and not taken", actions)
        elif self._refusal_bytes > most:
            self._close(CloseCode.FLOOD, f"more than {most} bytes of refusals are not taken", actions)
        else:
            self._push(item, refusal=True)

    def _push(self, item: Item, *, refusal: bool = False) -> None:
        self._enqueue(item, refusal=refusal)
        self._on_due()

    def _enqueue(self, item: Item, *, refusal: bool = False) -> None:
        encoded = self._outgoing.reply(item)
        reply = _Reply(encoded, len(encoded) if refusal else 0)
        self._replies.append(reply)
        self._reply_bytes += len(encoded)
        self._refusal_bytes += reply.refusal_bytes

    def _close(self, code: CloseCode, reason: str, actions: list[Action]) -> None:
        self.end()
        actions.append(Close(code, close_reason(reason)))

    def _move(self, event: SessionEvent) -> None:
        self.state = after(self.state, event)


def _not_hello(item: Item) -> str:
    if isinstance(item, messages.Unacceptable):
        return item.message
    return f"{item.t} before hello; the first item is hello"


def _refusal(id: str, code: ErrorCode, message: str) -> messages.Reply:
    return messages.Reply(id, error=messages.ErrorBody(code, message, code.retryable))
