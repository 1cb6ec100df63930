"""One WebSocket connection: carries bytes between trio-websocket, the session and the outbox.

The session (``session``) decides; this shell waits. Its tasks: trio-websocket's reader, a task that
takes messages from it whatever else goes on (so that pongs, acks and beats are always processed), the
outbox's drain, and, while there are any, one that carries out commands in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import attrs
import trio

from trouper.store.errors import StoreUnavailable
from trouper.supervisor.refusals import Refusal
from trouper.transport import messages
from trouper.transport.alarms import Alarm, Alarms, Callback
from trouper.transport.auth import Authenticate, hello_of, user_of
from trouper.transport.codes import SUBPROTOCOL, CloseCode, close_reason
from trouper.transport.commands import carry_out
from trouper.transport.errors import MissingExtra
from trouper.transport.http import Request
from trouper.transport.messages import Command
from trouper.transport.options import GatewayOptions
from trouper.transport.outbox import Outbox, OutboxStream, close_frame, descriptor_of, text_frame
from trouper.transport.ports import GatewayRuntime, SessionChannel
from trouper.transport.session import Action, CarryOut, Close, Session
from trouper.transport.session import Authenticate as AuthenticateAction
from trouper.transport.session_state import SessionState
from trouper.transport.ticker import Ticker

try:
    import trio_websocket
except ModuleNotFoundError as error:
    raise MissingExtra("trio-websocket") from error


_GIVEN_UP = frozenset({1002, 1007})
"""What trio-websocket calls the end when frames cannot be read; it tells nobody but us."""


@attrs.frozen(kw_only=True)
class ConnectionPorts:
    """What all connections of a gateway share."""

    runtime: GatewayRuntime
    authenticate: Authenticate
    options: GatewayOptions
    window_bytes: int
    """Told in ``welcome``; the runtime's channels keep to it."""
    ticker: Ticker
    alarms: Alarms
    on_crash: Callable[[str, Exception], None]
    """Told what failed, and how."""


@attrs.frozen
class ConnectionStatistics:
    """``pending_bytes``: of the outbox; ``reply_bytes``: replies that wait to be taken; ``early_bytes``:
    messages that wait for the welcome."""

    state: SessionState
    pending_bytes: int
    sent_bytes: int
    owed_replies: int
    reply_bytes: int
    early_bytes: int


class WebSocketConnection:
    """**Resources**: whoever opened ``stream`` closes it after ``run``."""

    def __init__(self, stream: trio.abc.Stream, request: Request, ports: ConnectionPorts) -> None:
        self._ports = ports
        self._options = ports.options
        self._request: Request | None = request
        self._session = Session(ports.options, self._due, ports.on_crash, trio.current_time)
        direct = descriptor_of(stream) if ports.options.direct_writes else None
        self._outbox = Outbox(stream, self._idle, direct)
        self._stream = OutboxStream(
            self._outbox,
            stream,
            close_timeout_s=ports.options.close_s,
            on_heard=self._heard,
            on_closed=self._websocket_ended,
        )
        self._websocket: trio_websocket.WebSocketConnection | None = None
        self._life = trio.CancelScope()
        self._closing: Close | None = None
        self._ended = False
        self._alarms: tuple[Alarm, ...] = ()
        self._heard_at = 0.0
        self._hello: messages.Hello | None = None
        self._hello_came = trio.Event()
        self._opened = trio.Event()
        self._user = ""
        self._commands: list[Command] = []  # few: a deque takes 760 bytes when it is empty
        self._working = False
        self._replies_taken = trio.lowlevel.ParkingLot()
        self._backlog = False

    async def run(self) -> None:
        """Serve the connection from the upgrade to its end, after which the stream is of no use.

        Raises nothing that a peer can cause. **Cancellation**: without a closing handshake; for one
        call ``close`` first, which ends ``run`` within ``close_s``.
        """
        self._heard()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._outbox.run)
                try:
                    with self._life:
                        await self._serve(nursery)
                    await self._say_goodbye()
                finally:
                    self._end()
                    nursery.cancel_scope.cancel()
        except* (trio_websocket.ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer went away in the middle of something

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the connection; only the first call says why. Returns at once."""
        if self._closing is None:
            self._closing = Close(code, close_reason(reason))
            self._session.end()
            self._life.cancel()

    def statistics(self) -> ConnectionStatistics:
        outbox = self._outbox.statistics()
        session = self._session
        return ConnectionStatistics(
            session.state,
            outbox.pending_bytes,
            outbox.sent_bytes,
            session.owed,
            session.reply_bytes,
            session.early_bytes,
        )

    # --- the life of it ---

    async def _serve(self, nursery: trio.Nursery) -> None:
        options = self._options
        try:
            with trio.move_on_after(options.hello_s) as scope:
                upgrade = await trio_websocket.wrap_server_stream(
                    nursery, self._stream, max_message_size=options.max_inbound_bytes
                )
                self._websocket = await upgrade.accept(subprotocol=SUBPROTOCOL)
                nursery.start_soon(self._read, nursery, self._websocket)
                self._ring(self._heard_at + options.silence_s, self._judge_silence)
                await self._hello_came.wait()
            if scope.cancelled_caught:
                self.close(CloseCode.NOT_AUTHENTICATED, f"no hello within {options.hello_s:g} s")
            else:
                await self._welcome(nursery)
        except (trio_websocket.ConnectionClosed, trio.BrokenResourceError):
            self.close(CloseCode.NORMAL, "")
        except Exception as error:
            self._crashed("a session", error)

    async def _welcome(self, nursery: trio.Nursery) -> None:
        opening = await self._authenticate()
        if opening is None:
            return
        try:
            await self._subscribe(opening, nursery)
        except (Refusal, StoreUnavailable) as error:
            self.close(CloseCode.INTERNAL, str(error))

    async def _authenticate(self) -> AbstractAsyncContextManager[SessionChannel] | None:
        """The channel of whoever this is, to be opened. (By itself, because a session that is open needs
        neither its hello nor its request, and there are many that are idle.)"""
        hello, request = self._hello, self._request
        self._hello = self._request = None
        assert hello is not None
        assert request is not None
        user: str | None = None
        with trio.move_on_after(self._options.authenticate_s) as scope:
            user = await user_of(self._ports.authenticate, hello_of(request, hello.token))
        if scope.cancelled_caught:
            self.close(CloseCode.INTERNAL, f"authenticate took more than {self._options.authenticate_s:g} s")
        elif user is None:
            self.close(CloseCode.NOT_AUTHENTICATED, "not authenticated")
        else:
            self._user = user
            feed = (hello.feed.epoch, hello.feed.seq) if hello.feed else None
            return self._ports.runtime.open_session(user, visible=hello.visible, feed=feed)
        return None

    async def _subscribe(
        self, opening: AbstractAsyncContextManager[SessionChannel], nursery: trio.Nursery
    ) -> None:
        options = self._options
        # The client may have been closed in the very step in which its hello was seen.
        await trio.lowlevel.checkpoint_if_cancelled()
        async with opening as channel:
            try:
                welcome = messages.Welcome(
                    session=channel.session_id,
                    user=self._user,
                    epoch=channel.epoch,
                    beat_ms=round(options.beat_s * 1000),
                    silence_ms=round(options.silence_s * 1000),
                    window=self._ports.window_bytes,
                )
                self._perform(self._session.opened(channel, welcome), nursery)
                self._opened.set()
                now = trio.current_time()
                self._ring(now + options.max_tick_s, self._welcome_alone)
                self._ring(now + options.beat_s, self._beat)
                await trio.sleep_forever()
            finally:
                self._session.end()  # before the channel is closed under it

    async def _say_goodbye(self) -> None:
        assert self._closing is not None
        code, reason = self._closing.code, self._closing.reason
        if self._websocket is None:
            return
        if self._broken is not None:
            await self._stream.farewell(close_frame(code, reason))
            return
        with trio.move_on_after(self._options.close_s):
            await self._websocket.aclose(code, reason or None)

    def _end(self) -> None:
        self._ended = True
        self._session.end()
        self._commands.clear()
        self._ports.ticker.forget(self)
        for alarm in self._alarms:
            self._ports.alarms.cancel(alarm)

    # --- reading ---

    async def _read(self, nursery: trio.Nursery, websocket: trio_websocket.WebSocketConnection) -> None:
        try:
            while True:
                text = await websocket.get_message()
                self._perform(self._session.receive(text), nursery)
                if self._session.full:
                    await self._opened.wait()
        except trio_websocket.ConnectionClosed:
            self._websocket_ended()
        except Exception as error:
            self._crashed("reading a session's message", error)

    def _perform(self, actions: list[Action], nursery: trio.Nursery) -> None:
        for action in actions:
            match action:
                case AuthenticateAction(hello):
                    self._hello = hello
                    self._hello_came.set()
                case CarryOut(command):
                    self._commands.append(command)
                case Close(code, reason):
                    self.close(code, reason)
        if self._commands and not self._working and self._closing is None:
            self._working = True
            nursery.start_soon(self._work)

    async def _work(self) -> None:
        """Carry out what was asked, one after the other: two submits of one client to one thread
        are admitted in the order in which it sent them."""
        try:
            while self._commands and self._closing is None:
                if self._session.reply_bytes > self._options.max_reply_bytes:
                    await self._replies_taken.park()
                    continue
                reply = await carry_out(
                    self._ports.runtime,
                    self._user,
                    self._commands.pop(0),
                    max_reply_bytes=self._options.max_reply_bytes,
                    on_crash=lambda error: self._ports.on_crash("a command", error),
                )
                self._session.replied(reply)
        except Exception as error:
            self._crashed("a command's reply", error)
        finally:
            self._working = False

    # --- writing ---

    def _due(self) -> None:
        self._ports.ticker.mark(self)

    def _idle(self) -> None:
        if self._session.pending:
            self._ports.ticker.mark(self, urgent=self._backlog)

    @property
    def coalesce_s(self) -> float | None:
        """For the ticker: how long what is due may wait for more."""
        return self._session.coalesce_s

    def flush(self) -> bool:
        """For the ticker: send one message if one is due and the one before it is gone.

        So a slow peer costs its one message here, and its cursors in the channel.
        """
        if not self._outbox.idle:
            return False  # ``_idle`` marks it again
        try:
            message = self._session.take_message()
            if message is None:
                return False
            self._backlog = self._session.pending
            if self._replies_taken:
                self._replies_taken.unpark_all()
            offered = self._outbox.offer(text_frame(message))
            if self._backlog and self._outbox.idle:
                self._ports.ticker.mark(self, urgent=True)  # else the drain tells when it has sent all
            return offered
        except Exception as error:
            self._crashed("writing to a session", error)
            return False

    # --- what the clock and the stream say ---

    def _ring(self, when: float, callback: Callback) -> None:
        self._alarms += (self._ports.alarms.at(when, callback),)

    def _heard(self) -> None:
        self._heard_at = trio.current_time()

    @property
    def _broken(self) -> str | None:
        """What is wrong with the frames that the peer sent, if it has not been told of it yet."""
        end = self._websocket.closed if self._websocket is not None else None
        if end is None or end.code not in _GIVEN_UP or self._outbox.closing:
            return None
        return end.reason or "unreadable"

    def _websocket_ended(self) -> None:
        broken = self._broken
        if broken is None:
            self.close(CloseCode.NORMAL, "")
        else:
            self.close(CloseCode.PROTOCOL, f"not WebSocket ({broken:.60}); legal are frames as in RFC 6455")

    def _judge_silence(self) -> float | None:
        if self._ended or self._closing is not None:
            return None
        due = self._heard_at + self._options.silence_s
        if trio.current_time() < due:
            return due
        self.close(CloseCode.SILENCE, f"nothing was heard for {self._options.silence_s:g} s")
        return None

    def _welcome_alone(self) -> None:
        """The feed did not come at once (the store is slow, or down): the welcome goes without it."""
        if not self._ended:
            self._due()

    def _beat(self) -> float | None:
        if self._ended or self._closing is not None:
            return None
        self._session.beat()
        return trio.current_time() + self._options.beat_s

    def _crashed(self, what: str, error: Exception) -> None:
        self._ports.on_crash(what, error)
        self.close(CloseCode.INTERNAL, "the server failed; it was reported there")
