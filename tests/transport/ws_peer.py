"""A WebSocket connection of the gateway on streams in memory, with a raw client at the other end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio_websocket

from tests.transport.fakes import FakeChannel, FakeRuntime
from trouper.transport.alarms import Alarms
from trouper.transport.auth import Authenticate, Hello
from trouper.transport.codes import SUBPROTOCOL
from trouper.transport.connection import ConnectionPorts
from trouper.transport.http import HttpConnection
from trouper.transport.options import GatewayOptions
from trouper.transport.ticker import Ticker
from trouper.transport.websocket import WebSocketConnection

PATIENCE_S = 60.0
"""A message that does not come for so long does not come; beats do, in between."""

HELLO = {"t": "hello", "visible": True, "token": "ada"}


def by_token(hello: Hello) -> str | None:
    """Who says a name is that user."""
    return hello.token or None


class Peer:
    """The client's end, which does nothing by itself: beats are answered by ``read`` only if asked."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self.websocket = websocket
        self.inbox: list[dict[str, Any]] = []

    async def say(self, *items: object) -> None:
        await self.websocket.send_message(json.dumps(items))

    async def hear(self) -> list[dict[str, Any]]:
        """The items of the next message."""
        with trio.fail_after(PATIENCE_S):
            text = await self.websocket.get_message()
        assert isinstance(text, str)
        items: list[dict[str, Any]] = json.loads(text)
        return items

    async def hear_item(self, t: str) -> dict[str, Any]:
        """The next item of type ``t``; items of other types before it are left out."""
        while True:
            while self.inbox:
                item = self.inbox.pop(0)
                if item["t"] == t:
                    return item
            self.inbox = await self.hear()

    async def ask(self, item: dict[str, Any]) -> dict[str, Any]:
        """The reply to a command."""
        await self.say(item)
        while (reply := await self.hear_item("reply"))["id"] != item["id"]:
            pass
        return reply

    async def welcome(self, **more: object) -> dict[str, Any]:
        await self.say(HELLO | more)
        return await self.hear_item("welcome")

    async def closed(self) -> tuple[int, str]:
        """Wait for the end; its code and reason."""
        end: trio_websocket.CloseReason | None = None
        try:
            while True:
                await self.hear()
        except trio_websocket.ConnectionClosed as error:
            end = error.reason
        assert end is not None
        return end.code, end.reason or ""


class House:
    """What connections share: a runtime, one ticker, one alarms task; and what was reported."""

    def __init__(self, options: GatewayOptions, authenticate: Authenticate) -> None:
        self.options = options
        self.runtime = FakeRuntime()
        self.crashes: list[tuple[str, Exception]] = []
        self.connections: list[WebSocketConnection] = []
        self.serving: list[trio.lowlevel.Task] = []
        """The task of each connection that is open."""
        self.ports = ConnectionPorts(
            runtime=self.runtime,
            authenticate=authenticate,
            options=options,
            window_bytes=262144,
            ticker=Ticker(options.tick_s, options.max_tick_s),
            alarms=Alarms(),
            wall=self.runtime.now,
            on_crash=lambda what, error: self.crashes.append((what, error)),
        )

    @property
    def channel(self) -> FakeChannel:
        return self.runtime.channels[-1]

    async def handle(self, stream: trio.abc.Stream) -> None:
        http = HttpConnection(stream, self.options, peer="memory", wall=lambda: 0.0)
        request = await http.read_head()
        assert request is not None
        connection = WebSocketConnection(stream, http.upgrade(), request, self.ports)
        self.connections.append(connection)
        self.serving.append(trio.lowlevel.current_task())
        try:
            await connection.run()
        finally:
            self.serving.remove(trio.lowlevel.current_task())
            await trio.aclose_forcefully(stream)

    @asynccontextmanager
    async def connect(
        self, streams: tuple[trio.abc.Stream, trio.abc.Stream], headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> AsyncIterator[Peer]:
        ours = streams[0]
        theirs: Any = streams[1]  # any stream does, whatever the library's types say
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.handle, ours)
            websocket = await trio_websocket.wrap_client_stream(
                nursery,
                theirs,
                "example.test",
                "/ws?tab=1",
                subprotocols=[SUBPROTOCOL],
                extra_headers=list(headers),
            )
            assert websocket.subprotocol == SUBPROTOCOL
            yield Peer(websocket)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_house(
    options: GatewayOptions | None = None, authenticate: Authenticate = by_token
) -> AsyncIterator[House]:
    house = House(options or GatewayOptions(), authenticate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.ports.ticker.run)
        nursery.start_soon(house.ports.alarms.run)
        yield house
        nursery.cancel_scope.cancel()


async def still_works(peer: Peer) -> None:
    """A neighbour is served as before."""
    reply = await peer.ask({"t": "jobs", "id": "still", "limit": 1})
    assert "ok" in reply


class frozen:
    """While inside, ``peer`` reads nothing from its stream."""

    def __init__(self, peer: Peer) -> None:
        self._stream: Any = peer.websocket._stream
        self._gate = trio.Event()

    async def __aenter__(self) -> None:
        receive = self._stream.receive_some

        async def held(max_bytes: int | None = None) -> bytes:
            await self._gate.wait()
            data: bytes = await receive(max_bytes)
            return data

        self._stream.receive_some = held

    async def __aexit__(self, *exc: object) -> None:
        self._gate.set()
