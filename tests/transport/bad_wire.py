"""A way between client and gateway, over real sockets, that does what networks do.

The words are Toxiproxy's: a connection is cut after so many bytes, goes into a black hole (both ends stay
open, and nothing comes through, not even that one of them was closed), is limited to a rate, or sliced into
pieces of a byte.
"""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

_PIECE = 1024


@attrs.define
class Faults:
    """What the connections that are opened from now on suffer on the way to the client."""

    cut_after: float = math.inf
    """Bytes, then both ends are closed without a word."""
    cut_later: int = 0
    """Each further connection carries so many bytes more than the one before."""
    hole_after: float = math.inf
    """Bytes, then nothing comes through, either way; no close either."""
    bytes_per_s: float = math.inf
    slice_bytes: int = 65536


class BadWire:
    """``port`` leads to the gateway's. **Resources**: closed by ``open_wire``."""

    def __init__(self, gateway_port: int, nursery: trio.Nursery) -> None:
        self.faults = Faults()
        self.opened = 0
        self.port = 0
        self._gateway_port = gateway_port
        self._nursery = nursery
        self.swallowed = trio.Event()
        """A black hole has swallowed something."""
        self.lost = bytearray()
        """What the gateway sent into a black hole."""

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        async with listener:
            task_status.started()
            while True:
                self._nursery.start_soon(self._carry, await listener.accept())

    async def dial(self) -> trio.SocketStream:
        """For ``trouper.connect(dial=…)``. Little is kept on the way: what the gateway has sent, the
        client has nearly got."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return stream

    async def _carry(self, client: trio.SocketStream) -> None:
        faults = attrs.evolve(self.faults)
        self.faults.cut_after += faults.cut_later
        self.opened += 1
        async with (
            client,
            await trio.open_tcp_stream("127.0.0.1", self._gateway_port) as gateway,
            trio.open_nursery() as nursery,
        ):
            hole = trio.Event()
            nursery.start_soon(self._up, client, gateway, hole, nursery.cancel_scope)
            nursery.start_soon(self._down, gateway, client, faults, hole, nursery.cancel_scope)

    async def _up(
        self, client: trio.SocketStream, gateway: trio.SocketStream, hole: trio.Event, scope: trio.CancelScope
    ) -> None:
        try:
            async for data in client:
                if not hole.is_set():
                    await gateway.send_all(data)
        except trio.BrokenResourceError:
            pass
        await self._end(hole, scope)

    async def _down(
        self,
        gateway: trio.SocketStream,
        client: trio.SocketStream,
        faults: Faults,
        hole: trio.Event,
        scope: trio.CancelScope,
    ) -> None:
        carried = 0.0
        try:
            while data := await gateway.receive_some(_PIECE):
                if carried + len(data) > faults.hole_after:
                    hole.set()
                    self.swallowed.set()
                if hole.is_set():
                    self.lost += data
                    continue
                left = min(float(len(data)), faults.cut_after - carried)
                for start in range(0, int(left), faults.slice_bytes):
                    await client.send_all(data[start : min(start + faults.slice_bytes, int(left))])
                carried += left
                if carried >= faults.cut_after:
                    break
                if faults.bytes_per_s < math.inf:
                    await trio.sleep(len(data) / faults.bytes_per_s)  # the rate is the fault itself
        except trio.BrokenResourceError:
            pass
        await self._end(hole, scope)

    async def _end(self, hole: trio.Event, scope: trio.CancelScope) -> None:
        """One end was closed, and so is the other, unless that has to find out for itself."""
        if hole.is_set():
            await trio.sleep_forever()
        scope.cancel()


@asynccontextmanager
async def open_wire(gateway_port: int) -> AsyncIterator[BadWire]:
    """A wire that does no harm until ``faults`` says so."""
    async with trio.open_nursery() as nursery:
        wire = BadWire(gateway_port, nursery)
        await nursery.start(wire.serve)
        yield wire
        nursery.cancel_scope.cancel()
