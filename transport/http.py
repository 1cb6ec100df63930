"""HTTP/1.1 on the gateway's port: requests, responses, and one connection's loop over them.

trio-websocket has no hook for a plain request, so the gateway reads each head itself: the bytes are
parsed with h11, and either answered, or it is an upgrade (see ``upgrade``).
"""

from __future__ import annotations

import contextlib
import email.utils
import http
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import attrs
import trio

from trouper.transport.errors import MissingExtra, TransportError
from trouper.transport.options import GatewayOptions

try:
    import h11
except ModuleNotFoundError as error:
    raise MissingExtra("h11") from error

_READ_BYTES = 16 * 1024
_WRITE_BYTES = 64 * 1024


@attrs.frozen(kw_only=True)
class Request:
    """One HTTP request, whole. Names of headers are in lower case; a repeated header's values are
    joined with ``", "``."""

    method: str
    target: str
    """As it was asked: path and query, still encoded."""
    headers: Mapping[str, str]
    body: bytes = b""
    peer: str = ""
    """The address that the connection came from (a proxy's, behind one)."""

    @property
    def path(self) -> str:
        """The path, decoded, without the query."""
        return unquote(_origin_form(self.target).partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        """The query's fields; of a repeated one the last."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies sent along; of a repeated one the first (the most specific path)."""
        return parse_cookies(self.headers.get("cookie", ""))

    def form(self) -> dict[str, str]:
        """The fields of an urlencoded body; of a repeated one the last."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@attrs.frozen
class Response:
    """What a handler answers. ``headers`` come on top of the gateway's and win over them."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def text(cls, text: str, status: int = 200) -> Response:
        """Plain text."""
        return cls(status, text.encode())

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Response:
        """``value`` as JSON, which nobody is to keep. Raises ``TypeError`` if it is not JSON."""
        return cls(status, json.dumps(value).encode(), "application/json", (("cache-control", "no-store"),))

    @classmethod
    def redirect(cls, location: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
        """303: the browser gets ``location``, whatever the method was."""
        return cls(303, b"", headers=(("location", location), *headers))


def parse_cookies(header: str) -> dict[str, str]:
    """The cookies of a ``Cookie`` header."""
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, equals, value = pair.partition("=")
        if equals:
            cookies.setdefault(name.strip(), value.strip().strip('"'))
    return cookies


def _origin_form(target: str) -> str:
    """``target`` without scheme and host, which a client may send (``GET http://host/path``)."""
    for scheme in ("http://", "https://"):
        if target.lower().startswith(scheme):
            return "/" + target[len(scheme) :].partition("/")[2]
    return target


class BadRequest(TransportError):
    """The request cannot be answered otherwise than with ``status``; the connection ends with it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HttpConnection:
    """One connection's requests, one after the other.

    **Resources**: whoever opened ``stream`` closes it. ``wall`` gives seconds since the epoch.
    """

    def __init__(
        self, stream: trio.abc.Stream, options: GatewayOptions, *, peer: str, wall: Callable[[], float]
    ) -> None:
        self._stream = stream
        self._options = options
        self._peer = peer
        self._wall = wall
        self._buffer = b""
        self._head = b""
        self._h11 = self._new_h11()
        self._requests = 0
        self._given_up = False
        self._waiting = trio.CancelScope()

    def _new_h11(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self._options.max_head_bytes)

    async def read_head(self) -> Request | None:
        """The next request, without its body; None when the peer is done, or idle for too long, or when it
        was given up.

        Raises ``BadRequest``. **Cancellation**: the connection is of no further use.
        """
        if self._given_up or not await self._read_head_bytes():
            return None
        try:
            self._h11.receive_data(self._head)
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(error.error_status_hint, f"bad request: {error}") from error
        if not isinstance(event, h11.Request):
            raise BadRequest(400, "bad request: no request in its head")
        headers: dict[str, str] = {}
        for name, value in event.headers:
            key, text = name.decode("ascii"), value.decode("latin-1")
            joiner = "; " if key == "cookie" else ", "
            headers[key] = headers[key] + joiner + text if key in headers else text
        if (
            "content-length" in headers and "transfer-encoding" in headers
        ):  # a proxy may have cut it elsewhere
            raise BadRequest(400, "bad request: legal is Content-Length or Transfer-Encoding, not both")
        if event.http_version != b"1.1":
            headers.pop("upgrade", None)  # HTTP/1.0 knows none (RFC 9110, 7.8)
        self._requests += 1
        method, target = event.method.decode("ascii"), event.target.decode("latin-1")
        return Request(method=method, target=target, headers=headers, peer=self._peer)

    async def _read_head_bytes(self) -> bool:
        options = self._options
        deadline = trio.current_time() + (options.idle_s if self._requests else options.head_s)
        started = bool(self._buffer)
        end = -1
        scope = self._waiting = trio.CancelScope(deadline=deadline)
        with scope:
            if started:
                scope.deadline = trio.current_time() + options.head_s
            while (end := self._buffer.find(b"\r\n\r\n")) < 0:
                if len(self._buffer) > options.max_head_bytes:
                    raise BadRequest(431, f"the head is too large; legal are {options.max_head_bytes} bytes")
                data = await self._stream.receive_some(_READ_BYTES)
                if not data:
                    return False  # also in mid-head: there is nobody to answer
                if not started:
                    started = True
                    scope.deadline = trio.current_time() + options.head_s
                self._buffer += data
        if scope.cancelled_caught:
            if self._given_up or not started:
                return False
            raise BadRequest(408, f"the head did not come within {options.head_s:g} s")
        self._head, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        if len(self._head) > options.max_head_bytes:
            raise BadRequest(431, f"the head is too large; legal are {options.max_head_bytes} bytes")
        return True

    async def read_body(self) -> bytes:
        """The body of the request whose head was read; some of it, if it was given up. Raises
        ``BadRequest``."""
        limit = self._options.max_body_bytes
        body = bytearray()
        with trio.move_on_after(self._options.head_s) as self._waiting:
            if self._h11.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                await self._send(go_on)
            while True:
                try:
                    event = self._h11.next_event()
                except h11.RemoteProtocolError as error:
                    raise BadRequest(error.error_status_hint, f"bad request: {error}") from error
                if event is h11.NEED_DATA:
                    data = self._buffer or await self._stream.receive_some(_READ_BYTES)
                    self._buffer = b""
                    self._h11.receive_data(bytes(data))
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > limit:
                        raise BadRequest(413, f"the body is too large; legal are {limit} bytes")
                else:
                    break
        if self._waiting.cancelled_caught and not self._given_up:
            raise BadRequest(408, f"the body did not come within {self._options.head_s:g} s")
        return bytes(body)

    def upgrade(self) -> bytes:
        """What was read of the stream behind the last head. Whoever goes on with the stream begins with
        that; this object is of no further use."""
        return self._buffer

    def give_up(self) -> None:
        """Wait for no request any more, nor for the rest of one: ``read_head`` gives None."""
        self._given_up = True
        self._waiting.cancel()

    async def respond(self, request: Request, response: Response) -> bool:
        """Answer; whether the connection can take another request.

        Raises ``trio.TooSlowError`` if the peer does not take it within ``response_s``.
        """
        headers = {
            "date": email.utils.formatdate(self._wall(), usegmt=True),
            "content-type": response.content_type,
            "content-length": str(len(response.body)),
        }
        if response.status in (204, 304):
            del headers["content-type"], headers["content-length"]
        several = [(name.lower(), value) for name, value in response.headers if name.lower() == "set-cookie"]
        headers.update((n.lower(), v) for n, v in response.headers if n.lower() != "set-cookie")
        head = h11.Response(
            status_code=response.status,
            headers=[*headers.items(), *several],
            reason=_reason(response.status).encode(),
        )
        events: list[h11.Event] = [head]
        if response.body and request.method != "HEAD":
            events.append(h11.Data(data=response.body))
        with trio.fail_after(self._options.response_s):
            await self._send(*events, h11.EndOfMessage())
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._buffer = self._h11.trailing_data[0] + self._buffer
        self._h11 = self._new_h11()
        return True

    async def respond_and_close(self, bad: BadRequest, headers: tuple[tuple[str, str], ...]) -> None:
        """Answer a request that could not be read, and take what is still under way for a moment: a
        socket closed over unread bytes would be reset, and the answer lost with it."""
        body = f"{bad}\n".encode()
        lines = [f"HTTP/1.1 {bad.status} {_reason(bad.status)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [
            "content-type: text/plain; charset=utf-8",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        with trio.move_on_after(self._options.close_s):
            await self._stream.send_all("\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body)
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                if isinstance(self._stream, trio.abc.HalfCloseableStream):
                    await self._stream.send_eof()
                while await self._stream.receive_some(_READ_BYTES):
                    pass

    async def _send(self, *events: h11.Event) -> None:
        """What is large is sent as it lies, in pieces: a copy, or the whole of it encrypted, would be each
        slow reader's own."""
        parts = [part for event in events for part in self._h11.send_with_data_passthrough(event) or ()]
        if sum(map(len, parts)) <= _WRITE_BYTES:
            parts = [b"".join(parts)]
        for part in parts:
            view = memoryview(part)
            for start in range(0, len(view), _WRITE_BYTES):
                await self._stream.send_all(view[start : start + _WRITE_BYTES])


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
