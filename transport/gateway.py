"""``serve``: one port for the page, the health checks and the sessions of a runtime.

A gateway is a child of the runtime's ``gateways`` supervisor. Inside it a nursery holds one task for
each connection, whose boundary catches everything, so that no peer can end its neighbours. (A
supervised child for each connection would restart nothing: a connection is never started again.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import attrs
import trio

from trouper.actors.reports import Crash, Report, ReportKind
from trouper.store.checks import wrong_count
from trouper.supervisor.child_spec import ChildContext, ChildSpec, Restart
from trouper.supervisor.runtime import Runtime
from trouper.transport.alarms import Alarms
from trouper.transport.auth import Authenticate
from trouper.transport.codes import SUBPROTOCOL, CloseCode
from trouper.transport.connection import ConnectionPorts
from trouper.transport.errors import GatewayError
from trouper.transport.http import BadRequest, HttpConnection, Request
from trouper.transport.options import GatewayOptions
from trouper.transport.ports import GatewayRuntime
from trouper.transport.session_state import SessionState
from trouper.transport.site import WEBSOCKET_PATH, Routes, Site, upgrade_refusal
from trouper.transport.ticker import Ticker, TickerStatistics
from trouper.transport.websocket import WebSocketConnection

Listen = Callable[[], Awaitable[Sequence[trio.abc.Listener[trio.abc.Stream]]]]
"""Opens listeners, each time that it is called: when a gateway starts, and when it starts again after a
crash. ``lambda: trio.open_ssl_over_tcp_listeners(443, ssl_context)`` is one."""


@attrs.frozen(kw_only=True)
class GatewayStatistics:
    """The use of a gateway's bounds, and its counters."""

    connections: int
    """Connections open now, of at most ``max_connections``."""
    refused_connections: int
    sessions: int
    """WebSocket connections that were welcomed and are open."""
    waiting_sessions: int
    """… and those that were not welcomed yet."""
    pending_bytes: int
    """In all outboxes together: at most one message each."""
    reply_bytes: int
    """Replies that wait to be taken, of all sessions."""
    early_bytes: int
    """Messages that wait for a welcome: at most ``max_early_bytes`` and one message each."""
    owed_replies: int
    sent_bytes: int
    """Handed to the network by WebSocket connections, those that ended included."""
    requests: int
    """HTTP requests answered."""
    file_cache_bytes: int
    """Static files that are kept in memory, of at most ``file_cache_bytes``."""
    file_bytes: int
    """All that are in memory, those besides that are being sent, each once."""
    ticker: TickerStatistics


class Gateway:
    """A running gateway; ``serve`` gives it to its ``task_status``."""

    def __init__(
        self,
        runtime: GatewayRuntime,
        site: Site,
        authenticate: Authenticate,
        options: GatewayOptions,
        *,
        name: str,
        host: str = "127.0.0.1",
        port: int = 0,
        wall: Callable[[], float],
        window_bytes: int,
        listen: Listen | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.port = port
        """Where it listens; 0 if that is no TCP port of its own opening."""
        self._open_listeners = listen or self._open_port
        self._listeners: Sequence[trio.abc.Listener[trio.abc.Stream]] = ()
        self._runtime = runtime
        self._site = site
        self._options = options
        self._wall = wall
        self._ticker = Ticker(options.tick_s, options.max_tick_s)
        self._alarms = Alarms()
        self._ports = ConnectionPorts(
            runtime=runtime,
            authenticate=authenticate,
            options=options,
            window_bytes=window_bytes,
            ticker=self._ticker,
            alarms=self._alarms,
            wall=runtime.now,
            on_crash=self.report_crash,
        )
        self._websockets: set[WebSocketConnection] = set()
        self._reading: set[HttpConnection] = set()
        self._stopping = False
        self._connections = self._refused = self._requests = self._ended_bytes = 0

    async def listen(self) -> None:
        """Open the listeners that were asked for, or a port (0: a free one). Raises ``OSError``."""
        self._listeners = await self._open_listeners()

    async def _open_port(self) -> list[trio.SocketListener]:
        listeners = await trio.open_tcp_listeners(self.port, host=self.host)
        if self.port == 0:
            # A name with several addresses would get a port of its own for each of them.
            for listener in listeners[1:]:
                await listener.aclose()
            del listeners[1:]
        self.port = listeners[0].socket.getsockname()[1]
        return listeners

    async def aclose(self) -> None:
        """Close listeners that ``run`` never took. Safe to call again."""
        listeners, self._listeners = self._listeners, ()
        for listener in listeners:
            await trio.aclose_forcefully(listener)

    async def run(self, started: Callable[[], None], stopping: trio.Event) -> None:
        """Serve until ``stopping`` is set, then close every session with 4001, within ``stop_s``.

        **Cancellation**: the same, at once. **Resources**: the listeners are closed.
        """
        self._stopping = False
        if not self._listeners:  # started again after a crash: the port stays the same
            await self.listen()
        listeners, self._listeners = list(self._listeners), ()
        async with trio.open_nursery() as guard:
            scope = trio.CancelScope(shield=True)
            accepting = trio.CancelScope()
            guard.start_soon(self._watch, stopping, accepting, scope)
            # Shielded, because a connection can be closed in order only while its tasks run. The
            # watch is outside of the shield and gives it its deadline.
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._ticker.run)
                    nursery.start_soon(self._alarms.run)
                    async with trio.open_nursery() as connections:
                        with accepting:
                            started()
                            await trio.serve_listeners(self._serve, listeners, handler_nursery=connections)
                    nursery.cancel_scope.cancel()
            guard.cancel_scope.cancel()

    async def _watch(
        self, stopping: trio.Event, accepting: trio.CancelScope, scope: trio.CancelScope
    ) -> None:
        try:
            await stopping.wait()
        finally:
            self._stopping = True
            accepting.cancel()
            scope.deadline = trio.current_time() + self._options.stop_s
            for http in self._reading:
                http.give_up()
            for websocket in self._websockets:
                websocket.close(CloseCode.DRAIN, "the server is stopping")

    # --- one connection ---

    async def _serve(self, stream: trio.abc.Stream) -> None:
        """The boundary: nothing but cancellation and interrupts gets out of here."""
        self._connections += 1
        try:
            if self._connections > self._options.max_connections:
                self._refused += 1
                await self._refuse(stream)
            else:
                websocket = await self._serve_http(stream)
                if websocket is not None:  # here, so that what read its request is gone by now: 4 kB
                    self._websockets.add(websocket)
                    try:
                        await websocket.run()
                    finally:
                        self._left(websocket)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the peer went away, or does not take what it asked for
        except* Exception as group:
            self.report_crash("connection", group)
        finally:
            self._connections -= 1
            if isinstance(stream, trio.SocketStream):
                stream.socket.close()  # all that is to be done, and many may be cut at once
            else:
                with trio.CancelScope(shield=True):  # or its Cancelled would hide an interrupt
                    await trio.aclose_forcefully(stream)

    def _left(self, websocket: WebSocketConnection) -> None:
        self._websockets.discard(websocket)
        self._ended_bytes += websocket.statistics().sent_bytes

    async def _refuse(self, stream: trio.abc.Stream) -> None:
        """503, unless there are so many that even this is too much."""
        if self._connections > 2 * self._options.max_connections:
            return
        http = HttpConnection(stream, self._options, peer="", wall=self._wall)
        busy = BadRequest(
            503, f"{self._options.max_connections} connections are open, which is the limit (max_connections)"
        )
        await http.respond_and_close(busy, self._site.security_headers)

    async def _serve_http(self, stream: trio.abc.Stream) -> WebSocketConnection | None:
        """Answer requests. The connection that one asked for instead, for the caller to run."""
        http = HttpConnection(stream, self._options, peer=_peer(stream), wall=self._wall)
        try:
            while (request := await self._next_request(http)) is not None:
                if request.path == WEBSOCKET_PATH:
                    refusal = upgrade_refusal(request, SUBPROTOCOL)
                    if refusal is None:
                        return WebSocketConnection(stream, http.upgrade(), request, self._ports)
                    response = self._site.secured(refusal)
                else:
                    response = await self._site.answer(request)
                self._requests += 1
                goes_on = await http.respond(request, response)
                del response  # or a connection that is idle would hold a file in memory
                if not goes_on:
                    return None
        except BadRequest as bad:
            await http.respond_and_close(bad, self._site.security_headers)
        return None

    async def _next_request(self, http: HttpConnection) -> Request | None:
        """None when there is none, or when the gateway stops, which waits for no request."""
        if self._stopping:
            http.give_up()
        self._reading.add(http)
        try:
            request = await http.read_head()
            if request is not None and request.path != WEBSOCKET_PATH:
                request = attrs.evolve(request, body=await http.read_body())
        finally:
            self._reading.discard(http)
        return None if self._stopping else request

    # --- what is told of it ---

    def statistics(self) -> GatewayStatistics:
        """What it holds now, and what it did so far."""
        each = [websocket.statistics() for websocket in self._websockets]
        welcomed = sum(one.state is SessionState.OPEN for one in each)
        return GatewayStatistics(
            connections=self._connections,
            refused_connections=self._refused,
            sessions=welcomed,
            waiting_sessions=len(each) - welcomed,
            pending_bytes=sum(one.pending_bytes for one in each),
            reply_bytes=sum(one.reply_bytes for one in each),
            early_bytes=sum(one.early_bytes for one in each),
            owed_replies=sum(one.owed_replies for one in each),
            sent_bytes=self._ended_bytes + sum(one.sent_bytes for one in each),
            requests=self._requests,
            file_cache_bytes=self._site.files.kept_bytes,
            file_bytes=self._site.files.living_bytes,
            ticker=self._ticker.statistics(),
        )

    def report_crash(self, what: str, error: Exception) -> None:
        """Tell the runtime's reporter of a failure that ended no more than ``what``."""
        crash = Crash.of(error)
        self._runtime.report(
            Report(
                kind=ReportKind.CRASH,
                path=f"runtime/gateways/{self.name}",
                child=what,
                incarnation=0,
                reason=crash.summary,
                detail=crash.text,
                at=self._wall(),
            )
        )


def _peer(stream: trio.abc.Stream) -> str:
    """The address of whoever is at the other end; empty if that is no IP address, or gone already."""
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if not isinstance(stream, trio.SocketStream):
        return ""
    try:
        name = stream.socket.getpeername()
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""  # a Unix socket has a path, mostly empty


def _check_serve(port: object, authenticate: object, options: object) -> None:
    """Raise ``GatewayError``: the system's resolver takes 99999 for port 34463."""
    if wrong_count(port, 0) or not isinstance(port, int) or port > 65_535:
        raise GatewayError(f"port={port!r}: legal are 0 (any free one) to 65535")
    if not callable(authenticate):
        raise GatewayError(f"authenticate={authenticate!r:.80}: legal is a function of a Hello")
    if not isinstance(options, GatewayOptions):
        raise GatewayError(f"options={options!r:.80}: legal is GatewayOptions(…)")


async def serve(
    runtime: Runtime,
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    listen: Listen | None = None,
    authenticate: Authenticate,
    static: str | Path | None = None,
    routes: Routes | None = None,
    options: GatewayOptions = GatewayOptions(),
    task_status: trio.TaskStatus[Gateway] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``runtime`` on one port until cancelled or until the runtime stops.

    * ``port``: 0 takes a free one; ``task_status`` is given a ``Gateway`` with ``.port``.
    * ``listen``: opens the listeners, in the place of ``port`` and ``host``: for TLS without a proxy, Unix
      sockets, simulated networks.
    * ``authenticate(hello)``: the name of the user, or None; synchronous or asynchronous.
    * ``static``: a directory; ``GET /`` is its ``index.html``.
    * ``routes``: (method in capitals, path) → handler of a ``Request``, which gives a ``Response``.
    * ``options``: every bound, with its unit.

    Answers also ``/healthz``, ``/readyz``, ``/ws`` and ``/_trouper/trouper.js`` (the browser client).

    Raises ``OSError`` if it cannot listen, ``GatewayError`` for a port, a static directory or a route that
    is not legal, and unless exactly one of ``port`` and ``listen`` is given.
    **Cancellation**: sessions are closed with 4001 within ``stop_s``, then the rest is cut.
    **Resources**: listeners and connections are closed when this returns.
    """
    if (port is None) == (listen is None):
        raise GatewayError("serve: legal is either port= (0 takes a free one) or listen=, one of them")
    _check_serve(port or 0, authenticate, options)
    gateway: Gateway

    def crashed(request: Request, error: Exception) -> None:
        gateway.report_crash(f"{request.method} {request.path}", error)

    wall = runtime.seams.wall
    site = Site(static, routes, ready=lambda: runtime.ready, wall=wall, options=options, on_crash=crashed)
    gateway = Gateway(
        runtime,
        site,
        authenticate,
        options,
        name=f"gateway-{runtime.seams.new_id()}",
        host=host,
        port=port or 0,
        wall=wall,
        window_bytes=runtime.options.channels.window_bytes,
        listen=listen,
    )
    await gateway.listen()
    told = False

    async def child(context: ChildContext) -> None:
        def started() -> None:
            nonlocal told
            context.started()
            if not told:
                told = True
                task_status.started(gateway)

        await gateway.run(started, context.stopping)

    try:
        await runtime.run_gateway(
            ChildSpec(
                name=gateway.name,
                start=child,
                restart=Restart.TRANSIENT,
                shutdown_s=2 * options.stop_s,
            )
        )
    finally:
        await gateway.aclose()
