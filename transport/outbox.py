"""What a connection has to send: a byte queue and one task that drains it, while there is anything in it.

Only the drain task awaits ``send_all``, so nobody else can be cancelled half-way through a frame and
leave a mixed stream behind. ``offer`` is synchronous: on a plain socket with nothing pending it writes at
once, without waiting, and only what the socket did not take is the drain's; a wake-up of the drain for
each frame would cost several times what the write does. So most connections never need a drain, and it
ends when all is sent: a task that waits takes memory, and there are many connections that are idle.

trio-websocket is handed an ``OutboxStream``, whose frames go through the same outbox: a pong behind the
frame under way (only the newest is kept, and its sender never waits, so a reader that answers pings is
never held up by a slow peer), a close behind everything, after which offers are refused. If the drain is
cancelled or fails with bytes pending, the stream is somewhere inside a frame: the connection is aborted.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
import trio

from trouper.transport.codes import CloseCode, close_reason

_TEXT, _CLOSE, _PONG = 0x81, 0x88, 0x8A  # first bytes: FIN and opcode
_header16 = struct.Struct(">BBH").pack
_TOO_BIG = (1009).to_bytes(2, "big")
_LINGER_S = 0.25
"""For what a peer still sends after our last frame: a socket closed over unread bytes is reset, and then
some systems throw the frame away unread."""


def text_frame(payload: bytes) -> bytes:
    """A whole unmasked WebSocket text frame, as servers send them. ``payload`` is UTF-8."""
    length = len(payload)
    if 126 <= length < 65536:  # nearly always, and a call less
        return _header16(_TEXT, 126, length) + payload
    return _header(_TEXT, length) + payload


def close_frame(code: int, reason: str) -> bytes:
    """An unmasked WebSocket close frame."""
    payload = code.to_bytes(2, "big") + close_reason(reason).encode()
    return _header(_CLOSE, len(payload)) + payload


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return _header16(first, 126, length)
    return bytes((first, 127)) + length.to_bytes(8, "big")


def descriptor_of(stream: trio.abc.Stream) -> Callable[[], int] | None:
    """What to ask for the descriptor that ``stream`` writes to, or None if there is none to write to past
    it: TLS, a memory stream, Windows (whose sockets are no files)."""
    if sys.platform == "win32" or type(stream) is not trio.SocketStream:
        return None
    return stream.socket.fileno


@attrs.frozen
class OutboxStatistics:
    """``pending_bytes``: queued or being sent; ``sent_bytes``: handed to the transport so far."""

    pending_bytes: int
    sent_bytes: int
    closed: bool
    aborted: bool


class Outbox:
    """Bounded by its users: one message (offered only when ``idle``), one pong, one close frame.

    ``on_idle`` is called, synchronously, each time that the drain has sent everything. ``descriptor``:
    see ``descriptor_of``. It is asked before each write, not kept: the number of a socket that was closed
    is soon another's.
    **Resources**: the outbox aborts ``stream`` but never closes it in an orderly way. Whoever called ``open``
    calls ``end``, before the nursery is closed.
    """

    __slots__ = (
        *("_stream", "_on_idle", "_descriptor", "_nursery", "_draining", "_begun", "_queue", "_pong"),
        *("_under_way", "_under_way_is_queued", "_sent_bytes", "_queued", "_completed", "_progress"),
        *("_closing", "_ended", "_aborted"),
    )

    def __init__(
        self,
        stream: trio.abc.SendStream,
        on_idle: Callable[[], None] = lambda: None,
        descriptor: Callable[[], int] | None = None,
    ) -> None:
        self._stream = stream
        self._on_idle = on_idle
        self._descriptor = descriptor
        self._nursery: trio.Nursery | None = None
        self._draining = False
        self._begun = False
        """The first in the queue is the rest of a frame that the socket took a part of."""
        self._queue: list[bytes] = []  # one or two: a deque takes 760 bytes when it is empty
        self._pong: bytes | None = None
        self._under_way = 0
        self._under_way_is_queued = False
        self._sent_bytes = 0
        self._queued = 0
        self._completed = 0
        self._closing = False
        self._ended = False
        self._aborted = False
        self._progress: trio.lowlevel.ParkingLot | None = None
        """Where ``write`` waits; made when one does."""

    def open(self, nursery: trio.Nursery) -> None:
        """Drain in ``nursery`` whatever waits, now and later, until the stream fails. **Cancellation** of the
        nursery: aborts the stream if anything was not sent."""
        self._nursery = nursery
        if self._queue or self._pong is not None:
            self._drain_soon()

    def end(self) -> None:
        """Take nothing any more. What waits is still sent, unless the nursery is cancelled."""
        self._ended = True
        self._tell_progress()

    @property
    def idle(self) -> bool:
        """Whether a frame that is offered now is the next to be sent."""
        return not (self._queue or self._under_way)

    @property
    def closing(self) -> bool:
        """Whether a last frame was given."""
        return self._closing

    def offer(self, frame: bytes) -> bool:
        """Send ``frame``, at once or when the stream takes it. False: it was refused, the outbox is closed
        (or not idle, which its user should have asked). Idle afterwards: all of it was sent."""
        if self._closing or self._ended or self._queue or self._under_way:
            return False
        self._send(frame)
        return True

    def _send(self, frame: bytes) -> bool:
        """Write what can be written at once, and queue the rest. Whether there is none."""
        rest = frame
        if self._descriptor is not None and not (self._queue or self._under_way or self._pong is not None):
            try:
                taken = os.write(self._descriptor(), frame)
            except OSError:  # it is full, or at its end, or closed (-1): the drain waits, or finds out
                taken = 0
            self._sent_bytes += taken
            if taken == len(frame):
                return True
            self._begun = taken > 0
            rest = frame[taken:]
        self._queue.append(rest)
        self._queued += 1
        self._drain_soon()
        return False

    def pong(self, frame: bytes) -> None:
        """Send a pong behind the frame under way; a pong that still waits is replaced."""
        if self._ended:
            return
        if self.idle and self._pong is None:
            self._send(frame)
        else:
            self._pong = frame

    async def write(self, data: bytes) -> None:
        """Send ``data`` behind everything and wait until the stream has taken it.

        Raises ``trio.BrokenResourceError`` if it never will. **Cancellation**: only the waiting ends.
        """
        if self._ended:
            raise trio.BrokenResourceError("the outbox has ended")
        if self._send(data):
            await trio.lowlevel.checkpoint()
            return
        ticket = self._queued
        if self._progress is None:
            self._progress = trio.lowlevel.ParkingLot()
        while self._completed < ticket and not self._ended:
            await self._progress.park()
        if self._completed < ticket:
            raise trio.BrokenResourceError("the connection ended before this was sent")

    async def finish(self, frame: bytes, timeout_s: float) -> None:
        """Send a last frame, refuse offers from now on, and wait at most ``timeout_s`` seconds; a
        stream that does not take it is aborted. Raises ``trio.BrokenResourceError`` then."""
        self._closing = True
        with trio.move_on_after(timeout_s) as scope:
            await self.write(frame)
        if scope.cancelled_caught:
            await self._abort()
            raise trio.BrokenResourceError(f"the peer did not take the close frame within {timeout_s} s")

    def _drain_soon(self) -> None:
        if self._nursery is not None and not self._draining:
            self._draining = True
            self._nursery.start_soon(self._drain)

    async def _drain(self) -> None:
        try:
            while (data := self._next()) is not None:
                await self._stream.send_all(data)
                self._sent_bytes += len(data)
                self._completed += self._under_way_is_queued
                self._under_way = 0
                self._tell_progress()
                if self.idle and not (self._closing or self._ended):
                    self._on_idle()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._aborted = True
        finally:
            self._draining = False
            if self._aborted or self._under_way or self._queue or self._pong is not None:
                self._drop()
                with trio.CancelScope(shield=True):  # or its Cancelled would hide what ended this task
                    await trio.aclose_forcefully(self._stream)

    def _next(self) -> bytes | None:
        if self._pong is not None and not self._begun:
            data, self._pong = self._pong, None
            self._under_way_is_queued = False
        elif self._queue:
            data = self._queue.pop(0)
            self._under_way_is_queued = True
            self._begun = False
        else:
            return None
        self._under_way = len(data)
        return data

    async def _abort(self) -> None:
        self._drop()
        await trio.aclose_forcefully(self._stream)

    def _drop(self) -> None:
        self._ended = self._aborted = True
        self._queue.clear()
        self._pong = None
        self._under_way = 0
        self._tell_progress()

    def _tell_progress(self) -> None:
        if self._progress is not None:
            self._progress.unpark_all()

    def statistics(self) -> OutboxStatistics:
        pending = self._under_way + sum(map(len, self._queue)) + len(self._pong or b"")
        return OutboxStatistics(pending, self._sent_bytes, self._closing or self._ended, self._aborted)


class OutboxStream(trio.abc.Stream):
    """The stream that trio-websocket is handed: reading goes to the real one, writing to the outbox.

    ``received`` is what was read of ``stream`` already. ``on_closed`` is called when trio-websocket has
    closed the stream. **Resources**: the real stream stays open then, for its opener to close: trio-websocket
    closes over broken frames without a word, and the peer is to be told.
    """

    __slots__ = ("_close_timeout_s", "_closed", "_on_closed", "_outbox", "_received", "_stream", "heard_at")

    def __init__(
        self,
        outbox: Outbox,
        stream: trio.abc.Stream,
        *,
        close_timeout_s: float,
        on_closed: Callable[[], None],
        received: bytes = b"",
    ) -> None:
        self._outbox = outbox
        self._stream = stream
        self._close_timeout_s = close_timeout_s
        self._on_closed = on_closed
        self._received = received
        self._closed = False
        self.heard_at = trio.current_time()
        """When something came last, frames of control included, on trio's clock."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        frame = bytes(data)
        first = frame[0] if frame else 0
        if first == _PONG:
            self._outbox.pong(frame)
            await trio.lowlevel.checkpoint()
        elif first == _CLOSE:
            if frame[2:4] == _TOO_BIG:
                # trio-websocket's own answer to a message beyond its bound; our protocol has a code
                # for it that tells clients not to come back and try again.
                await self.farewell(close_frame(CloseCode.TOO_LARGE, "the message is too large"))
            else:
                await self._outbox.finish(frame, self._close_timeout_s)
        else:
            await self._outbox.write(frame)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def farewell(self, frame: bytes) -> None:
        """Send a close frame of ours when trio-websocket reads no more.

        Raises ``trio.BrokenResourceError`` if the peer does not take it within ``close_timeout_s``.
        """
        await self._outbox.finish(frame, self._close_timeout_s)
        with trio.move_on_after(_LINGER_S):
            while await self._stream.receive_some():
                pass

    def receive_some(  # pyright: ignore[reportIncompatibleMethodOverride]  # a CoroutineType to it alone
        self, max_bytes: int | None = None
    ) -> Coroutine[Any, Any, bytes | bytearray]:
        """As of a stream. Not ``async`` itself: its frame would be kept while an idle peer is waited for.

        Whoever asks for more has just got something, or has just begun: that is when it was heard.
        """
        if self._closed:
            raise trio.ClosedResourceError
        self.heard_at = trio.current_time()
        return self._replay(max_bytes) if self._received else self._stream.receive_some(max_bytes)

    async def _replay(self, max_bytes: int | None) -> bytes:
        await trio.lowlevel.checkpoint()
        size = len(self._received) if max_bytes is None else max_bytes
        data, self._received = self._received[:size], self._received[size:]
        return data

    async def aclose(self) -> None:
        self._closed = True
        self._on_closed()
        await trio.lowlevel.checkpoint()
