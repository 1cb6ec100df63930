"""What is answered where: health, the application's routes, its static files, the browser client."""

from __future__ import annotations

import inspect
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import attrs
import trio

from trouper.actors.reports import exceptions_only
from trouper.transport.errors import GatewayError
from trouper.transport.file_cache import FileCache
from trouper.transport.http import Request, Response
from trouper.transport.options import GatewayOptions
from trouper.transport.origin import same_origin
from trouper.transport.static import StaticDirectory

Handler = Callable[[Request], "Response | Awaitable[Response]"]
"""Answers one request, synchronously or not. An exception is reported and answered 500."""
Routes = Mapping[tuple[str, str], Handler]
"""(method in capitals, path) → handler. ``HEAD`` is answered by ``GET``'s."""

WEBSOCKET_PATH = "/ws"
_OWN_PREFIX = "/_trouper/"  # our own files for browsers, such as /_trouper/trouper.js
_RESERVED = ("/healthz", "/readyz", WEBSOCKET_PATH)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Site:
    """``on_crash(request, error)`` is told of a handler that failed; ``ready`` answers ``/readyz``; ``wall``
    gives seconds since the epoch."""

    def __init__(
        self,
        static: str | Path | None,
        routes: Routes | None,
        *,
        ready: Callable[[], bool],
        wall: Callable[[], float],
        options: GatewayOptions,
        on_crash: Callable[[Request, Exception], None],
    ) -> None:
        most = options.max_file_bytes
        self.files = FileCache(options.file_cache_bytes, wall)
        self._static = None if static is None else StaticDirectory(static, most, self.files)
        self._own = StaticDirectory(Path(__file__).resolve().parent / "browser", most, self.files)
        self._routes = dict(routes or {})
        self._ready = ready
        self._options = options
        self._on_crash = on_crash
        for method, path in self._routes:
            _check_route(method, path)

    async def answer(self, request: Request) -> Response:
        """The response, with the headers that every response has. Never raises.

        **Cancellation**: whatever the handler makes of it.
        """
        return self.secured(await self._answer(request))

    def secured(self, response: Response) -> Response:
        """``response`` with the security headers, which its own headers win over."""
        return attrs.evolve(response, headers=(*self.security_headers, *response.headers))

    @property
    def security_headers(self) -> tuple[tuple[str, str], ...]:
        return (
            ("content-security-policy", self._options.content_security_policy),
            ("x-content-type-options", "nosniff"),
            # Not no-referrer: with it browsers send "Origin: null" for the page's own forms.
            ("referrer-policy", "same-origin"),
        )

    async def _answer(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        path = request.path
        if method != "GET" and not same_origin(request.headers):
            return Response.text("forbidden: the request comes from another origin\n", 403)
        if path in ("/healthz", "/readyz"):
            return self._health(path) if method == "GET" else _not_allowed(["GET"])
        handler = self._routes.get((method, path))
        if handler is not None:
            return await self._handle(handler, request)
        response = self._file(request, path) if method == "GET" else None
        if response is not None:
            return response
        allowed = [known for known, where in self._routes if where == path]
        if method != "GET" and self._file(request, path) is not None:
            allowed.append("GET")
        return _not_allowed(allowed) if allowed else Response.text("not found\n", 404)

    def _health(self, path: str) -> Response:
        if path == "/healthz":
            return Response.json({"status": "ok"})
        ready = self._ready()
        return Response.json({"ready": ready}, 200 if ready else 503)

    def _file(self, request: Request, path: str) -> Response | None:
        if path.startswith(_OWN_PREFIX):
            return self._own.answer(request, path.removeprefix(_OWN_PREFIX))
        if self._static is None or not path.startswith("/"):
            return None
        return self._static.answer(request, "index.html" if path == "/" else path[1:])

    async def _handle(self, handler: Handler, request: Request) -> Response:
        try:
            with exceptions_only(), trio.fail_after(self._options.response_s):
                answer = handler(request)
                response = await answer if inspect.isawaitable(answer) else answer
            if not isinstance(response, Response):
                raise GatewayError(f"the handler gave {type(response).__name__}; legal is a Response")
            return response
        except Exception as error:
            self._on_crash(request, error)
            return Response.text("the server failed on this request; it was reported there\n", 500)


def _not_allowed(methods: list[str]) -> Response:
    allowed = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
    return attrs.evolve(
        Response.text(f"method not allowed; legal are {allowed}\n", 405), headers=(("allow", allowed),)
    )


def _check_route(method: str, path: str) -> None:
    if method not in _METHODS:
        raise GatewayError(f"route ({method!r}, {path!r}): legal methods are {', '.join(_METHODS)}")
    if not path.startswith("/"):
        raise GatewayError(f"route ({method!r}, {path!r}): a path begins with /")
    if path in _RESERVED or path.startswith(_OWN_PREFIX):
        raise GatewayError(
            f"route ({method!r}, {path!r}): {', '.join((*_RESERVED, _OWN_PREFIX))} are the gateway's"
        )


def _is_key(text: str) -> bool:
    try:
        return len(b64decode(text, validate=True)) == 16
    except ValueError:
        return False


def upgrade_refusal(request: Request, subprotocol: str) -> Response | None:
    """Why a request for ``WEBSOCKET_PATH`` is not upgraded; None if it is to be."""
    headers = request.headers
    if request.method != "GET":
        return _not_allowed(["GET"])
    if headers.get("upgrade", "").lower() != "websocket":
        return Response(
            426, b"this is a WebSocket; legal is an upgrade\n", headers=(("upgrade", "websocket"),)
        )
    if not same_origin(headers):
        return Response.text("forbidden: the request comes from another origin\n", 403)
    if "upgrade" not in (token.strip().lower() for token in headers.get("connection", "").split(",")):
        return Response.text("bad request: legal is Connection: Upgrade\n", 400)
    if headers.get("sec-websocket-version") != "13":
        legal = (("upgrade", "websocket"), ("sec-websocket-version", "13"))
        return Response(426, b"this is another WebSocket; legal is version 13\n", headers=legal)
    if not _is_key(headers.get("sec-websocket-key", "")):
        return Response.text("bad request: legal is a Sec-WebSocket-Key of 16 bytes in base64\n", 400)
    offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
    if subprotocol not in offered:
        return Response.text(f"bad request: the subprotocol is missing; legal is {subprotocol}\n", 400)
    return None


def upgrade_head(request: Request, subprotocol: str) -> bytes:
    """The upgrade as trio-websocket is to read it, of a request that was found good.

    No more than it needs: it keeps what it reads for as long as the connection is there, and what else
    browsers say takes kilobytes. (It would fail of a ``Host`` that is no name.)
    """
    key = request.headers["sec-websocket-key"]
    return (
        "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        f"sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n"
        f"sec-websocket-protocol: {subprotocol}\r\n\r\n"
    ).encode("ascii")
