"""A gateway that does what a test says, over streams in memory, for the tests of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import trio
import trio.testing
import trio_websocket

from tests.transport import client_wire as wire
from trouper.store.seams import Seams
from trouper.transport.client import Client, connect
from trouper.transport.client_options import SUBPROTOCOL, ClientOptions


class Peer:
    """The gateway's side of one connection."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        self.websocket = websocket
        self.stream = stream

    async def send(self, *items: Any) -> None:
        """One message with these items."""
        await self.websocket.send_message(orjson.dumps(list(items)).decode())

    async def receive(self) -> list[wire.Item]:
        """The next message's items."""
        with trio.fail_after(60):
            items: list[wire.Item] = orjson.loads(await self.websocket.get_message())
        return items

    async def welcome(self, *items: wire.Item, **fields: Any) -> list[wire.Item]:
        """Take the hello and answer it; returns the client's first message."""
        first = await self.receive()
        await self.send(wire.welcome(**fields), *(items or (wire.snapshot(),)))
        return first

    async def reply(self, id: str, ok: wire.Item) -> None:
        await self.send({"t": "reply", "id": id, "ok": ok})

    async def cut(self) -> None:
        await trio.aclose_forcefully(self.stream)


class ScriptedGateway:
    """Each time the client dials, the test can ``accept`` one more ``Peer``."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._offer, self._offered = trio.open_memory_channel[trio.abc.Stream](100)
        self.dialled_at: list[float] = []
        self.refusing = False
        self.requests: list[trio_websocket.WebSocketRequest] = []

    async def dial(self) -> trio.abc.Stream:
        self.dialled_at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.refusing:
            raise ConnectionRefusedError("nobody listens")
        ours, theirs = trio.testing.memory_stream_pair()
        self._offer.send_nowait(theirs)
        return ours

    async def accept_stream(self) -> trio.abc.Stream:
        with trio.fail_after(60):
            return await self._offered.receive()

    async def accept(self) -> Peer:
        stream = await self.accept_stream()
        request = await trio_websocket.wrap_server_stream(self._nursery, stream)
        self.requests.append(request)
        return Peer(await request.accept(subprotocol=SUBPROTOCOL), stream)


@asynccontextmanager
async def scripted_client(
    *, options: ClientOptions | None = None, **more: Any
) -> AsyncIterator[tuple[Client, ScriptedGateway]]:
    """A client and the gateway that it dials."""
    async with trio.open_nursery() as nursery:
        gateway = ScriptedGateway(nursery)
        async with connect("ws://gateway", options=options, dial=gateway.dial, **more) as client:
            yield client, gateway
        nursery.cancel_scope.cancel()


class Dice:
    """Jitter that always draws the ceiling."""

    def uniform(self, low: float, high: float) -> float:
        return high


def seams(**fields: Any) -> Seams:
    return Seams(random=Dice(), **fields)  # type: ignore[arg-type]
