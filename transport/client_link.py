"""One WebSocket to a gateway, from dialling to its end: a thin shell over trio-websocket.

It knows nothing of the protocol but how a connection is made, kept and lost. A reader always runs
(trio-websocket neither answers pings nor notices an end without one) and one task alone writes.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import attrs
import trio

from trouper.transport.client_errors import MissingLibrary
from trouper.transport.client_options import SUBPROTOCOL, ClientOptions

if TYPE_CHECKING:
    import trio_websocket

T = TypeVar("T")
Dial = Callable[[], Awaitable[trio.abc.Stream]]
RECEIVE_BYTES = 64 * 1024
REASON_CHARACTERS = 300


def load_trio_websocket() -> Any:
    """The optional library, imported when the first client is made.

    Raises ``MissingLibrary`` naming the extra.
    """
    try:
        import trio_websocket
    except ImportError as error:
        raise MissingLibrary(
            "the client needs trio-websocket: install it with  pip install 'trouper[websocket]'"
        ) from error
    return trio_websocket


@attrs.frozen
class Target:
    """Where a URL leads: ``http`` means ``ws``, ``https`` means ``wss``, no path means ``/ws``."""

    tls: bool
    host: str
    port: int
    resource: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Raises ``ValueError`` for anything that is no such URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss", "http", "https") or parts.hostname is None:
            raise ValueError(f"a gateway's URL is ws://host:port or wss://host:port, not {url!r}")
        tls = parts.scheme in ("wss", "https")
        resource = parts.path if parts.path not in ("", "/") else "/ws"
        resource += f"?{parts.query}" if parts.query else ""
        return cls(tls, parts.hostname, parts.port or (443 if tls else 80), resource)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    async def dial(self, ssl_context: ssl.SSLContext | None) -> trio.abc.Stream:
        if not self.tls:
            return await trio.open_tcp_stream(self.host, self.port)
        return await trio.open_ssl_over_tcp_stream(
            self.host, self.port, ssl_context=ssl_context, https_compatible=True
        )


@attrs.define
class Frames:
    """What has gone over the wire so far, all connections together."""

    messages_received: int = 0
    messages_sent: int = 0
    bytes_received: int = 0
    """Of the TCP (or TLS) payload, handshakes and frame heads included."""
    bytes_sent: int = 0
    connections: int = 0
    """WebSockets opened."""


@attrs.frozen
class LinkEnd:
    """How a connection ended. ``code`` None: not by a close frame."""

    code: int | None
    reason: str


class LinkOwner(Protocol):
    """Who uses the link. No method may block; an exception out of one is a bug and passes on."""

    @property
    def silence_s(self) -> float | None:
        """Seconds of inbound silence after which the peer is dead; None: not welcomed yet."""
        ...

    def opened(self) -> None: ...
    def received(self, message: str | bytes) -> str | None:
        """Returns why the connection is to be dropped, or None."""
        ...

    def outgoing(self) -> Sequence[str]:
        """Messages to be sent now; [] if there is nothing."""
        ...


class CountedStream(trio.abc.Stream):
    """A byte stream that counts, and knows when it last heard something."""

    def __init__(self, stream: trio.abc.Stream, frames: Frames) -> None:
        self._stream = stream
        self._frames = frames
        self.heard_at = trio.current_time()
        self.on_end: Callable[[], None] | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(cast(bytes, data))
        self._frames.bytes_sent += len(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = b""
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        finally:
            if not data and self.on_end is not None:
                self.on_end()
        self.heard_at = trio.current_time()
        self._frames.bytes_received += len(data)
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


class Link:
    """One connection. ``run`` it once; ``wake`` it when there is something to send."""

    def __init__(
        self,
        target: Target,
        headers: Sequence[tuple[str, str]],
        dial: Dial,
        options: ClientOptions,
        frames: Frames,
    ) -> None:
        self._target = target
        self._headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
        self._dial = dial
        self._options = options
        self._frames = frames
        self._stream: CountedStream | None = None
        self._websocket: trio_websocket.WebSocketConnection | None = None
        self._something_to_send = trio.lowlevel.ParkingLot()
        self._all_sent = trio.lowlevel.ParkingLot()
        self._writer_idle = False
        self._bug: Exception | None = None
        self._closing: trio.Event | None = None
        """Set when a clean close is over; None while none was begun."""

    async def run(self, owner: LinkOwner) -> LinkEnd:
        """Connect and serve ``owner`` until the connection ends; returns how it did.

        No failure of the network, of the peer or of the WebSocket library is raised.

        **Cancellation**: the connection is cut. **Resources**: the stream is closed in any case.
        """
        ends: list[LinkEnd] = []
        try:
            async with trio.open_nursery() as nursery:
                ends.append(await self._serve(nursery, owner))
                nursery.cancel_scope.cancel()
        except* Exception as group:
            if self._bug is None:
                ends.append(LinkEnd(None, _describe(group)))
        finally:
            with trio.move_on_after(1) as cutting:
                cutting.shield = True
                await self.drop()
        if self._bug is not None:
            raise self._bug
        return ends[0]

    async def _serve(self, nursery: trio.Nursery, owner: LinkOwner) -> LinkEnd:
        deadline = trio.current_time() + self._options.connect_timeout_s
        websocket = await self._open(nursery, deadline)
        if websocket is None:
            return LinkEnd(None, "no WebSocket: the connection ended or took too long while it was opened")
        if websocket.subprotocol != SUBPROTOCOL:
            return LinkEnd(None, f"the server does not speak {SUBPROTOCOL}")
        self._websocket = websocket
        self._frames.connections += 1
        self._guard(owner.opened)
        nursery.start_soon(self._write, websocket, owner)
        return await self._read(websocket, owner, deadline)

    async def _open(
        self, nursery: trio.Nursery, deadline: float
    ) -> trio_websocket.WebSocketConnection | None:
        library = load_trio_websocket()
        with trio.move_on_at(deadline) as opening:
            self._stream = CountedStream(await self._dial(), self._frames)
            # trio-websocket waits for its handshake even when the stream has ended.
            self._stream.on_end = opening.cancel
            websocket = await library.wrap_client_stream(
                nursery,
                cast(Any, self._stream),
                self._target.authority,
                self._target.resource,
                subprotocols=[SUBPROTOCOL],
                extra_headers=self._headers,
                message_queue_size=1,
                max_message_size=self._options.max_message_bytes,
                receive_buffer_size=RECEIVE_BYTES,
            )
            self._stream.on_end = None
            return cast("trio_websocket.WebSocketConnection", websocket)
        return None

    async def _read(
        self, websocket: trio_websocket.WebSocketConnection, owner: LinkOwner, deadline: float
    ) -> LinkEnd:
        closed = load_trio_websocket().ConnectionClosed
        stream = self._stream
        assert stream is not None
        while True:
            silence_s = owner.silence_s
            limit = deadline if silence_s is None else stream.heard_at + silence_s
            message: str | bytes | None = None
            try:
                with trio.move_on_at(limit):
                    message = await websocket.get_message()
            except closed as error:
                if self._closing is not None:
                    # trio-websocket's own reader, which ends with us, still waits for the answer.
                    await self._closing.wait()
                if error.reason is None:
                    return LinkEnd(None, "the connection was closed here")
                return LinkEnd(error.reason.code, error.reason.reason or error.reason.name)
            if message is None:
                if silence_s is not None and stream.heard_at + silence_s > limit:
                    continue  # a long message is on its way: that is not silence
                return LinkEnd(None, "no welcome in time" if silence_s is None else "silence")
            self._frames.messages_received += 1
            why = self._guard(partial(owner.received, message))
            if why is not None:
                return LinkEnd(None, why)
            self.wake()

    async def _write(self, websocket: trio_websocket.WebSocketConnection, owner: LinkOwner) -> None:
        """The only sender. Cancelled in the middle of a message it leaves a broken stream behind,
        which is why the connection is always cut then."""
        while True:
            messages = self._guard(owner.outgoing)
            if not messages:
                self._writer_idle = True
                self._all_sent.unpark_all()
                await self._something_to_send.park()
                self._writer_idle = False
                continue
            for message in messages:
                try:
                    await websocket.send_message(message)
                except load_trio_websocket().ConnectionClosed:
                    self._all_sent.unpark_all()
                    return  # the reader tells why
                self._frames.messages_sent += 1

    def wake(self) -> None:
        """There may be something to send."""
        self._writer_idle = False
        self._something_to_send.unpark_all()

    def _guard(self, call: Callable[[], T]) -> T:
        """Tell a bug of ours from a failure of the connection: the first must not be waited out."""
        try:
            return call()
        except Exception as bug:
            self._bug = bug
            raise

    async def drop(self) -> None:
        """Cut the connection, without a word to the server. Never waits.

        **Cancellation**: cut all the same.
        """
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)

    async def aclose(self) -> None:
        """Send what is left, then close with 1000. The caller bounds it.

        **Cancellation**: call ``drop`` then.
        """
        if self._websocket is None:
            return
        self.wake()
        while not self._writer_idle and self._websocket.closed is None:
            await self._all_sent.park()
        self._closing = trio.Event()
        try:
            await self._websocket.aclose(1000)
        finally:
            self._closing.set()


def _describe(group: BaseExceptionGroup[Exception]) -> str:
    """One line of the first cause in a group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    status = getattr(error, "status_code", None)  # trio_websocket.ConnectionRejected
    if status is not None:
        return f"the server answered the handshake with HTTP {status}"
    return f"{type(error).__name__}: {error}"[:REASON_CHARACTERS]
