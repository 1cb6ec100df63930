"""A runtime behind a gateway that can be stopped and started again, and clients that outlive it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio
import trio_websocket

import trouper
from tests.transport.ws_peer import Peer, by_token
from trouper.actors.reports import ReportKind
from trouper.transport.codes import SUBPROTOCOL
from trouper.transport.gateway import Gateway
from trouper.transport.options import GatewayOptions

PATIENCE_S = 60.0

NO_BEATS = GatewayOptions(beat_s=600, silence_s=900)
"""A beat flushes whatever is due: none comes to the help of what should have gone by itself."""


class Gates(dict[str, trio.Event]):
    """Events that jobs wait for or set, by name."""

    def __missing__(self, name: str) -> trio.Event:
        return self.setdefault(name, trio.Event())


@attrs.frozen
class Draw:
    """Jitter that always draws the same. Zero: no test waits for a back-off."""

    delay_s: float = 0.0

    def uniform(self, low: float, high: float) -> float:
        return self.delay_s


class Service:
    """What answers at one port. ``stop`` closes the runtime in order; ``start`` opens it anew."""

    runtime: trouper.Runtime
    gateway: Gateway

    def __init__(self, nursery: trio.Nursery, url: str, jobs: list[Any], options: GatewayOptions) -> None:
        self.port = 0
        self.reports: list[trouper.Report] = []
        self._nursery = nursery
        self._url = url
        self._jobs = jobs
        self._options = options
        self._stopping = trio.Event()
        self._stopped = trio.Event()

    @property
    def troubles(self) -> list[trouper.Report]:
        """What was reported, orderly stops left out."""
        return [report for report in self.reports if report.kind is not ReportKind.SHUTDOWN]

    async def start(self) -> None:
        self._stopping, self._stopped = trio.Event(), trio.Event()
        await self._nursery.start(self._run)

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with (
                trouper.open_runtime(self._url, jobs=self._jobs, on_report=self.reports.append) as runtime,
                trio.open_nursery() as nursery,
            ):
                serve = partial(
                    trouper.serve, runtime, port=self.port, authenticate=by_token, options=self._options
                )
                self.gateway = await nursery.start(serve)
                self.runtime, self.port = runtime, self.gateway.port
                task_status.started()
                await self._stopping.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        self._stopping.set()
        await self._stopped.wait()

    def client(self, user: str = "ada", *, back_in_s: float = 0.0, **more: Any) -> Any:
        """A client of ``user`` that comes back at once, or when so long has passed."""
        seams = trouper.Seams(random=Draw(back_in_s))  # type: ignore[arg-type]
        return trouper.connect(f"ws://127.0.0.1:{self.port}", token=user, seams=seams, **more)

    @asynccontextmanager
    async def raw(self, user: str | None = "ada") -> AsyncIterator[Peer]:
        """A session that does nothing by itself, welcomed unless ``user`` is None."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        try:
            async with trio.open_nursery() as nursery:
                websocket = await trio_websocket.wrap_client_stream(
                    nursery, stream, "here.test", "/ws", subprotocols=[SUBPROTOCOL]
                )
                peer = Peer(websocket)
                if user is not None:
                    await peer.welcome(token=user)
                yield peer
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_service(
    *jobs: Any, url: str = "memory:", options: GatewayOptions = NO_BEATS
) -> AsyncIterator[Service]:
    """A running service; stopped at the end, all within ``PATIENCE_S``."""
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            service = Service(nursery, url, list(jobs), options)
            await service.start()
            yield service
            await service.stop()


class Away:
    """A way to the gateway that can be closed: while it is, the client dials and waits."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._way = trio.Event()
        self._way.set()

    def close(self) -> None:
        self._way = trio.Event()

    def open(self) -> None:
        self._way.set()

    async def dial(self) -> trio.abc.Stream:
        await self._way.wait()
        return await trio.open_tcp_stream("127.0.0.1", self._service.port)


async def until_feed(client: trouper.Client, found: Callable[[trouper.Client], bool]) -> None:
    """Wait until the client's feed is as ``found`` wants it."""
    async for _ in client.changes():
        if found(client):
            return
