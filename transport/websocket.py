"""One WebSocket connection: carries bytes between trio-websocket, the session and the outbox.

The session (``session``) decides; this shell waits. Two tasks of it are there always: trio-websocket's
reader, and the one that runs it and takes the messages from that, whatever else goes on (so that pongs, acks
and beats are always processed). Others come and go: the outbox's drain, one that carries out commands in
their order.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager

import trio

from trouper.actors.reports import exceptions_only
from trouper.store.errors import StoreUnavailable
from trouper.supervisor.refusals import Refusal
from trouper.transport import messages
from trouper.transport.alarms import Alarm
from trouper.transport.auth import checked_user, hello_of
from trouper.transport.codes import SUBPROTOCOL, CloseCode, close_reason
from trouper.transport.commands import carry_out
from trouper.transport.connection import ConnectionPorts, ConnectionStatistics
from trouper.transport.errors import MissingExtra
from trouper.transport.http import Request
from trouper.transport.messages import Command
from trouper.transport.outbox import Outbox, OutboxStream, close_frame, descriptor_of, text_frame
from trouper.transport.ports import SessionChannel
from trouper.transport.session import Session
from trouper.transport.session_ports import Action, CarryOut, Close
from trouper.transport.session_ports import Authenticate as AuthenticateAction
from trouper.transport.site import upgrade_head
from trouper.transport.ticker import NEVER

try:
    import trio_websocket
except ModuleNotFoundError as error:
    raise MissingExtra("trio-websocket") from error


_GIVEN_UP = frozenset({1002, 1007})
"""What trio-websocket calls the end when frames cannot be read; it tells nobody but us."""
_READER_STEPS = 2  # of trio-websocket's reader, from telling of the end to its own


class WebSocketConnection:
    """``behind``: what was read of ``stream`` behind the head of ``request``, which was found good.
    **Resources**: whoever opened ``stream`` closes it after ``run``."""

    # There may be very many that are idle.
    __slots__ = (
        *("_ports", "_request", "_session", "_outbox", "_stream", "_websocket", "_nursery", "_life"),
        *("_closing", "_ended", "_alarm", "_beat_at", "_hello", "_user", "_commands", "_working"),
        *("_replies_taken", "_backlog", "due_tick", "flushed_at", "__weakref__"),
    )

    def __init__(
        self, stream: trio.abc.Stream, behind: bytes, request: Request, ports: ConnectionPorts
    ) -> None:
        options = ports.options
        self._ports = ports
        self._request: Request | None = request
        self._session = Session(options, self._due, ports.on_crash, trio.current_time, ports.wall)
        direct = descriptor_of(stream) if options.direct_writes else None
        self._outbox = Outbox(stream, self._idle, direct)
        self._stream = OutboxStream(
            self._outbox,
            stream,
            close_timeout_s=options.close_s,
            on_closed=self._websocket_ended,
            received=upgrade_head(request, SUBPROTOCOL) + behind,
        )
        self._websocket: trio_websocket.WebSocketConnection | None = None
        self._nursery: trio.Nursery
        self._life = trio.CancelScope()
        self._closing: Close | None = None
        self._ended = False
        self._alarm: Alarm | None = None
        self._beat_at = 0.0
        self._hello: messages.Hello | None = None
        self._user = ""
        self._commands: list[Command] = []  # few: a deque takes 760 bytes when it is empty
        self._working = False
        self._replies_taken: trio.Event | None = None
        """There while commands wait for it."""
        self._backlog = False
        self.due_tick = NEVER
        self.flushed_at = -math.inf

    async def run(self) -> None:
        """Serve the connection from the upgrade to its end, after which the stream is of no use.

        Raises nothing that a peer can cause. **Cancellation**: without a closing handshake; for one
        call ``close`` first, which ends ``run`` within ``close_s``.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._outbox.open(nursery)
                try:
                    with self._life:
                        opening = await self._open()
                        if opening is not None:
                            await self._live(opening)
                    await self._say_goodbye()
                    await self._let_the_reader_end(nursery)
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

    async def _open(self) -> AbstractAsyncContextManager[SessionChannel] | None:
        """Upgrade and hear the hello: the channel of whoever this is, to be opened. None: it was closed.

        (By itself, because a session that is open needs nothing of this, and there are many that are idle.)
        """
        try:
            hello = await self._hear_hello()
            if hello is None:
                return None
            request, self._request = self._request, None
            assert request is not None
            with exceptions_only():
                answer = self._ports.authenticate(hello_of(request, hello.token))
            if inspect.isawaitable(answer):
                answer = await self._authenticated(answer)
            user = checked_user(answer)
        except (trio_websocket.ConnectionClosed, trio.BrokenResourceError):
            self.close(CloseCode.NORMAL, "")
            return None
        except Exception as error:
            self._crashed("a session", error)
            return None
        if user is None:
            self.close(CloseCode.NOT_AUTHENTICATED, "not authenticated")
        if user is None or self._closing is not None:
            return None
        self._user = user
        feed = (hello.feed.epoch, hello.feed.seq) if hello.feed else None
        return self._ports.runtime.open_session(user, visible=hello.visible, feed=feed)

    async def _hear_hello(self) -> messages.Hello | None:
        options = self._ports.options
        self._life.deadline = trio.current_time() + options.hello_s
        upgrade = await trio_websocket.wrap_server_stream(
            self._nursery, self._stream, max_message_size=options.max_inbound_bytes
        )
        self._websocket = await upgrade.accept(subprotocol=SUBPROTOCOL)
        while self._hello is None and self._closing is None:
            self._take(await self._websocket.get_message())
        self._life.deadline = math.inf
        hello, self._hello = self._hello, None
        return None if self._closing is not None else hello

    async def _authenticated(self, answer: Awaitable[str | None]) -> str | None:
        """What ``authenticate`` answers. Meanwhile the session is read, so that the end of it is seen."""
        limit_s = self._ports.options.authenticate_s
        user, failure = None, None
        with trio.move_on_after(limit_s) as scope:
            async with trio.open_nursery() as beside:
                beside.start_soon(self._read)
                try:
                    with exceptions_only():
                        user = await answer
                except Exception as error:
                    failure = error
                beside.cancel_scope.cancel()  # it has ended before anybody else reads: all is in its order
        if scope.cancelled_caught:
            self.close(CloseCode.INTERNAL, f"authenticate took more than {limit_s:g} s")
        if failure is not None:
            raise failure
        return user

    async def _live(self, opening: AbstractAsyncContextManager[SessionChannel]) -> None:
        websocket = self._websocket
        assert websocket is not None
        try:
            async with opening as channel:
                self._welcome(channel)
                try:
                    while True:  # not by ``_read``: each frame counts, of very many idle sessions
                        self._take(await websocket.get_message())
                finally:
                    self._session.end()  # before the channel is closed under it
        except trio_websocket.ConnectionClosed:
            self._websocket_ended()
        except (Refusal, StoreUnavailable) as error:
            self.close(CloseCode.INTERNAL, str(error))
        except Exception as error:
            self._crashed("a session", error)

    def _welcome(self, channel: SessionChannel) -> None:
        options = self._ports.options
        welcome = messages.Welcome(
            session=channel.session_id,
            user=self._user,
            epoch=channel.epoch,
            now=self._ports.wall(),
            beat_ms=round(options.beat_s * 1000),
            silence_ms=round(options.silence_s * 1000),
            window=self._ports.window_bytes,
        )
        self._perform(self._session.opened(channel, welcome))
        now = trio.current_time()
        self._beat_at = now + options.beat_s
        # By then the feed has come, or the store is slow, or down: the welcome goes without it.
        self._alarm = self._ports.alarms.at(now + options.max_tick_s, self._judge)

    async def _say_goodbye(self) -> None:
        if self._closing is None:  # ``_life`` ended by its deadline, which only the hello has
            hello_s = self._ports.options.hello_s
            self.close(CloseCode.NOT_AUTHENTICATED, f"no hello within {hello_s:g} s")
        assert self._closing is not None
        code, reason = self._closing.code, self._closing.reason
        websocket = self._websocket
        if websocket is None:
            return
        if self._broken is not None:
            await self._stream.farewell(close_frame(code, reason))
        elif websocket.closed is None:
            self._nursery.start_soon(self._read)  # a peer that is writing reads our frame only afterwards
            with trio.move_on_after(self._ports.options.close_s):
                await websocket.aclose(code, reason or None)

    async def _let_the_reader_end(self, nursery: trio.Nursery) -> None:
        """After a peer's end it does so by itself in two steps. Cancelled in them it would cost several times
        as much, and very many may go at once."""
        for _ in range(_READER_STEPS):
            if nursery.child_tasks:
                await trio.lowlevel.checkpoint()

    def _end(self) -> None:
        self._ended = True
        self._session.end()
        self._outbox.end()
        self._commands.clear()
        self._ports.ticker.forget(self)
        if self._alarm is not None:
            self._ports.alarms.cancel(self._alarm)

    # --- reading ---

    async def _read(self) -> None:
        """Take what comes before the welcome, until it is enough, or after the end."""
        websocket = self._websocket
        assert websocket is not None
        try:
            while not self._session.full:
                self._take(await websocket.get_message())
        except trio_websocket.ConnectionClosed:
            self._websocket_ended()
        except Exception as error:
            self._crashed("reading a session's message", error)

    def _take(self, message: str | bytes) -> None:
        self._perform(self._session.receive(message))

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case AuthenticateAction(hello):
                    self._hello = hello
                case CarryOut(command):
                    self._commands.append(command)
                case Close(code, reason):
                    self.close(code, reason)
        if self._commands and not self._working and self._closing is None:
            self._working = True
            self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        """Carry out what was asked, one after the other: two submits of one client to one thread
        are admitted in the order in which it sent them."""
        try:
            while self._commands and self._closing is None:
                if self._session.reply_bytes > self._ports.options.max_reply_bytes:
                    self._replies_taken = trio.Event()
                    await self._replies_taken.wait()
                    continue
                reply = await carry_out(
                    self._ports.runtime,
                    self._user,
                    self._commands.pop(0),
                    max_reply_bytes=self._ports.options.max_reply_bytes,
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
        # Even if nothing is due: of output that goes on growing nobody tells until it was looked for in vain.
        self._ports.ticker.mark(self, urgent=self._backlog)

    @property
    def coalesce_s(self) -> float | None:
        """For the ticker: how long what is due may wait for more."""
        return self._session.coalesce_s

    @property
    def window_s(self) -> float | None:
        """For the ticker: how long output that is still to come may."""
        return self._session.window_s

    def flush(self) -> bool:
        """For the ticker: send one message if one is due and the one before it is gone.

        So a slow peer costs its one message here, and its cursors in the channel.
        """
        outbox, session = self._outbox, self._session
        if not outbox.idle:
            return False  # ``_idle`` marks it again
        try:
            message = session.take_message()
            if message is None:
                return False
            self._backlog = session.more
            if self._replies_taken is not None:
                self._replies_taken.set()
                self._replies_taken = None
            offered = outbox.offer(text_frame(message))
            if self._backlog and outbox.idle:
                self._ports.ticker.mark(self, urgent=True)  # else the drain tells when it has sent all
            return offered
        except Exception as error:
            self._crashed("writing to a session", error)
            return False

    # --- what the clock and the stream say ---

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

    def _judge(self) -> float | None:
        """For the alarms: what is due by the clock, and when to look again. (One alarm for all that a
        connection wants of the clock: each takes 200 bytes.)"""
        if self._ended or self._closing is not None:
            return None
        now, options = trio.current_time(), self._ports.options
        silent_at = self._stream.heard_at + options.silence_s
        if now >= silent_at:
            self.close(CloseCode.SILENCE, f"nothing was heard for {options.silence_s:g} s")
            return None
        if now >= self._beat_at:
            self._beat_at = now + options.beat_s
            self._session.beat()
        elif self._session.pending:
            self._due()
        return min(self._beat_at, silent_at)

    def _crashed(self, what: str, error: Exception) -> None:
        self._ports.on_crash(what, error)
        self.close(CloseCode.INTERNAL, "the server failed; it was reported there")
