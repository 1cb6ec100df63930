"""A gateway on a real loopback socket, over a fake runtime; and a raw HTTP client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from tests.transport.fakes import FakeRuntime
from tests.transport.ws_peer import by_token
from trouper.transport.gateway import Gateway, Listen
from trouper.transport.options import GatewayOptions
from trouper.transport.site import Routes, Site


@attrs.frozen
class Answer:
    """One HTTP response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RawClient:
    """Sends bytes, and reads responses by their ``content-length``."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, text: str) -> None:
        await self.stream.send_all(text.encode("latin-1"))

    async def answer(self, *, no_body: bool = False) -> Answer:
        head = await self._until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        size = 0 if no_body else int(headers.get("content-length", "0"))
        while len(self._buffer) < size:
            self._buffer += await self._more()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return Answer(int(status_line.split()[1]), headers, body)

    async def ended(self) -> bool:
        """Whether the server has closed, with nothing more to read."""
        with trio.fail_after(5):
            try:
                return not self._buffer and not await self.stream.receive_some()
            except trio.BrokenResourceError:
                return True

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._buffer += await self._more()
        head, self._buffer = self._buffer.split(mark, 1)
        return head

    async def _more(self) -> bytes:
        with trio.fail_after(5):
            data = await self.stream.receive_some()
        assert data, "the server closed the connection instead of answering"
        return bytes(data)


@attrs.frozen
class Place:
    """A gateway that serves."""

    gateway: Gateway
    runtime: FakeRuntime
    stopping: trio.Event
    stopped: trio.Event
    crashes: list[tuple[str, str]]

    @asynccontextmanager
    async def dial(self) -> AsyncIterator[RawClient]:
        stream = await trio.open_tcp_stream("127.0.0.1", self.gateway.port)
        async with stream:
            yield RawClient(stream)

    async def ask(self, text: str) -> Answer:
        """The answer to one request on a connection of its own."""
        async with self.dial() as client:
            await client.send(text)
            return await client.answer(no_body=text.startswith("HEAD"))

    async def get(self, path: str, *, host: str = "here.test", **headers: str) -> Answer:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        return await self.ask(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")

    async def post(self, path: str, body: str = "", **headers: str) -> Answer:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        size = f"Content-Length: {len(body.encode())}\r\n"
        return await self.ask(f"POST {path} HTTP/1.1\r\nHost: here.test\r\n{size}{lines}\r\n{body}")


@asynccontextmanager
async def open_place(
    static: Path | None = None,
    routes: Routes | None = None,
    options: GatewayOptions | None = None,
    listen: Listen | None = None,
) -> AsyncIterator[Place]:
    options = options or GatewayOptions()
    runtime = FakeRuntime()
    crashes: list[tuple[str, str]] = []
    site = Site(
        static,
        routes,
        ready=lambda: runtime.ready,
        wall=lambda: 0.0,
        options=options,
        on_crash=lambda request, error: crashes.append((request.path, str(error))),
    )
    gateway = Gateway(
        runtime,
        site,
        by_token,
        options,
        name="gateway-1",
        wall=lambda: 0.0,
        window_bytes=262144,
        listen=listen,
    )
    await gateway.listen()
    place = Place(gateway, runtime, trio.Event(), trio.Event(), crashes)
    started = trio.Event()

    async def run() -> None:
        await gateway.run(started.set, place.stopping)
        place.stopped.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await started.wait()
        try:
            yield place
        finally:
            place.stopping.set()
            with trio.move_on_after(5, shield=True):
                await place.stopped.wait()
            nursery.cancel_scope.cancel()
