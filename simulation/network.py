"""A network in memory, on virtual time, for a gateway and its clients, that does what networks do.

    network = Network()
    await nursery.start(partial(trouper.serve, runtime, listen=network.listen, authenticate=who))
    async with trouper.connect("ws://simulated", dial=network.dial) as client:
        network.connections[0].cut()

The words are Toxiproxy's: a connection is late, sliced into small pieces, slow, cut, or a black hole, in
which what is sent is gone and neither end is told, not even that the other has closed (half-open). Of TCP
it has what programs meet: sending that waits while too much is under way, data that still comes after
the other end has closed, and the reset by an end that is closed over what it has not read.
"""

from __future__ import annotations

import errno
import math
import operator
from collections import deque
from collections.abc import Sequence

import attrs
import trio

from trouper.simulation.errors import BadPlan


@attrs.frozen(kw_only=True)
class Line:
    """What a connection is like."""

    delay_s: float = 0.0
    """From the one end to the other, in seconds; opening it takes as long."""
    slice_bytes: int = 65_536
    """The largest piece that arrives at once."""
    bytes_per_s: float = math.inf
    """In each direction."""
    in_flight_bytes: int = 65_536
    """What may be sent in a direction and not be received yet; then sending waits."""
    cut_after_bytes: float = math.inf
    """It is cut when so much was sent, both directions together: inside of a frame, or of the handshake."""
    hole_after_bytes: float = math.inf
    """It becomes a black hole when so much was sent, both directions together."""

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(Line):
            value, least = getattr(self, field.name), 0 if field.name == "delay_s" else 1
            if not value >= least:
                raise BadPlan(f"Line: {field.name}={value!r}: legal is a number from {least}")


class _Way:
    """One direction: what is under way, and when it arrives."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._free_at = 0.0
        """When the line has carried what was sent so far."""
        self._ends_at = math.inf
        """When the receiver hears that the sender has closed."""
        self.in_flight = 0
        self.cut = False
        """Nothing more is sent; what is under way arrives, then the receiver is told."""
        self.hole = False
        self.deaf = False
        """The receiver has closed."""
        self.changed = trio.lowlevel.ParkingLot()

    @property
    def open(self) -> bool:
        return not (self.cut or self.deaf)

    @property
    def full(self) -> bool:
        return self.in_flight >= self._line.in_flight_bytes

    def put(self, piece: bytes) -> None:
        self.in_flight += len(piece)
        if not self.hole:  # else it is under way for ever
            self._free_at = max(self._free_at, trio.current_time()) + len(piece) / self._line.bytes_per_s
            self._pieces.append((self._free_at + self._line.delay_s, piece))
            self.changed.unpark_all()

    def end(self) -> None:
        if not self.hole:
            self._ends_at = max(self._free_at, trio.current_time()) + self._line.delay_s
            self.changed.unpark_all()

    def lose(self) -> None:
        """What is under way does not arrive."""
        self._pieces.clear()
        self._ends_at = math.inf

    async def take(self, most: int) -> bytes | None:
        """What has arrived, at most so much, b"" at the end; None: look again, something has changed."""
        now = trio.current_time()
        if self._pieces and self._pieces[0][0] <= now:
            at, piece = self._pieces.popleft()
            if len(piece) > most:
                self._pieces.appendleft((at, piece[most:]))
                piece = piece[:most]
            self.in_flight -= len(piece)
            self.changed.unpark_all()
            return piece
        if not self._pieces:
            if self.cut:
                raise trio.BrokenResourceError("the connection was cut")
            if self._ends_at <= now:
                return b""
        with trio.move_on_at(self._pieces[0][0] if self._pieces else self._ends_at):
            await self.changed.park()
        return None


class SimulatedStream(trio.abc.HalfCloseableStream):
    """One end of a connection, as ``Network`` gives them out.

    Raises what sockets do: ``trio.ClosedResourceError`` (this end), ``trio.BrokenResourceError`` (the other,
    or what is between), ``trio.BusyResourceError`` (two tasks do the same). **Cancellation**: of what was
    to be sent a part was; of what was to be received nothing is lost.
    """

    def __init__(self, connection: Connection, line: Line, outwards: _Way, inwards: _Way) -> None:
        self._connection = connection
        self._line = line
        self._outwards = outwards
        self._inwards = inwards
        self._sending = self._receiving = self._eof_sent = False
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._begin_sending()
        try:
            await trio.lowlevel.checkpoint()
            self._check_sending()
            for start in range(0, len(data), self._line.slice_bytes):
                await self._wait_for_room()
                self._connection.carry(self._outwards, bytes(data[start : start + self._line.slice_bytes]))
            self._check_sending()
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        self._begin_sending()
        try:
            await trio.lowlevel.checkpoint()
            await self._wait_for_room()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        self._begin_sending()
        try:
            if self.closed:
                raise trio.ClosedResourceError("this end was closed")
            if not self._eof_sent:
                self._eof_sent = True
                self._outwards.end()
            await trio.lowlevel.checkpoint()
        finally:
            self._sending = False

    def _begin_sending(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending")
        self._sending = True

    async def _wait_for_room(self) -> None:
        self._check_sending()
        while self._outwards.full:
            await self._outwards.changed.park()
            self._check_sending()

    def _check_sending(self) -> None:
        if self.closed or self._eof_sent:
            raise trio.ClosedResourceError("this end was closed")
        if not self._outwards.open:
            raise trio.BrokenResourceError("the connection was cut, or the other end closed")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and operator.index(max_bytes) < 1:  # raises TypeError, as trio's do
            raise ValueError(f"max_bytes={max_bytes!r}: legal is a whole number from 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                if self.closed:
                    raise trio.ClosedResourceError("this end was closed")
                data = await self._inwards.take(max_bytes or self._line.in_flight_bytes)
                if data is not None:
                    return data
        finally:
            self._receiving = False

    async def aclose(self) -> None:
        """**Cancellation**: closed all the same."""
        if not self.closed:
            self.closed = True
            self._connection.end_closed(self._outwards, self._inwards)
        await trio.lowlevel.checkpoint()


class Connection:
    """Two ends and what lies between them: ``client`` has dialled, ``server`` was accepted."""

    def __init__(self, network: Network, line: Line) -> None:
        self.sent_bytes = 0
        """In both directions together."""
        self._network = network
        self._line = line
        up, down = self._ways = _Way(line), _Way(line)
        self.client = SimulatedStream(self, line, up, down)
        self.server = SimulatedStream(self, line, down, up)

    def cut(self) -> None:
        """Nothing more is sent. What is under way still arrives, then both ends are told. (Nothing of this
        gets through a black hole.)"""
        for way in self._ways:
            way.cut = not way.hole
            way.changed.unpark_all()

    def swallow(self) -> None:
        """Nothing more arrives, either way, and neither end is told, also not of the other's end."""
        for way in self._ways:
            way.hole = True
            way.lose()

    def carry(self, way: _Way, piece: bytes) -> None:
        """One end sends ``piece``."""
        line = self._line
        way.put(piece[: int(min(len(piece), line.cut_after_bytes - self.sent_bytes))])
        self.sent_bytes += len(piece)
        if self.sent_bytes >= line.cut_after_bytes:
            self.cut()
        if self.sent_bytes >= line.hole_after_bytes:
            self.swallow()

    def end_closed(self, outwards: _Way, inwards: _Way) -> None:
        """One end was closed by whoever has it."""
        if not inwards.hole:
            inwards.deaf = True
            if inwards.in_flight:  # TCP resets a connection then
                outwards.lose()
                outwards.cut = True
            outwards.end()
        for way in self._ways:
            way.changed.unpark_all()
        if self.client.closed and self.server.closed:
            self._network.connections.remove(self)


class _Listener(trio.abc.Listener[SimulatedStream]):
    def __init__(self, network: Network) -> None:
        self._network = network
        self._dialled: deque[Connection] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self.closed = False

    def put(self, connection: Connection) -> None:
        self._dialled.append(connection)
        self._changed.unpark_all()

    async def accept(self) -> SimulatedStream:
        await trio.lowlevel.checkpoint()
        while not self.closed:
            if self._dialled:
                return self._dialled.popleft().server
            await self._changed.park()
        raise trio.ClosedResourceError("the listener was closed")

    async def aclose(self) -> None:
        """Who has dialled and was not accepted is cut. **Cancellation**: closed all the same."""
        self.closed = True
        if self._network.listener is self:
            self._network.listener = None
        while self._dialled:
            await trio.aclose_forcefully(self._dialled.popleft().server)
        self._changed.unpark_all()
        await trio.lowlevel.checkpoint()


class Network:
    """A place where a server listens, and the connections to it.

    **Resources**: none of its own; whoever has an end of a connection closes it.
    """

    def __init__(self) -> None:
        self.line = Line()
        """What connections are like that are opened from now on."""
        self.connections: list[Connection] = []
        """Those that were not closed at both ends, the oldest first."""
        self.opened = 0
        """Connections so far."""
        self.listener: _Listener | None = None

    async def listen(self) -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
        """For ``trouper.serve(listen=…)``. Raises ``OSError`` while somebody listens already."""
        await trio.lowlevel.checkpoint()
        if self.listener is not None:
            raise OSError(errno.EADDRINUSE, "somebody listens on this network already")
        self.listener = _Listener(self)
        return [self.listener]

    def cut_all(self) -> None:
        """Every connection is cut."""
        for connection in self.connections:
            connection.cut()

    def unplug(self) -> None:
        """The server's process is gone: every connection is cut, and nobody listens from now on. What is
        left of it (a simulated process goes on until it is cancelled) reaches nobody."""
        self.listener = None
        self.cut_all()

    async def dial(self) -> trio.abc.Stream:
        """For ``trouper.connect(dial=…)``. Raises ``OSError`` while nobody listens.

        **Cancellation**: nothing was opened.
        """
        line = self.line
        await trio.sleep(line.delay_s)
        if self.listener is None:
            raise OSError(errno.ECONNREFUSED, "nobody listens on this network")
        connection = Connection(self, line)
        self.connections.append(connection)
        self.opened += 1
        self.listener.put(connection)
        return connection.client
