"""A session that does not read, against a twin that does: what it costs the server, and its neighbour."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio_websocket

from tests.transport.slow_server import FLOOD_BYTES, STATUS
from trouper.transport.codes import SUBPROTOCOL
from trouper.transport.options import ENTRY_BYTES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
WINDOW_BYTES = 256 * 1024
RECEIVE_BUFFER_BYTES = 4096
RUNS = 5
RESIDENT_BYTES = 2 * 1024 * 1024
"""The resident memory of the one that sleeps is above that of its twin by less than this. (It may be below:
the twin that reads takes messages of up to 256 KiB, each of which was built for a moment.)"""
LARGE_BYTES = 32 * 1024
PATIENCE_S = 60.0
"""What does not happen for so long does not happen."""


class Server:
    """The program ``slow_server``, in a process of its own."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._lines = b""
        self.port = 0

    async def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\n" not in self._lines:
            chunk = await self._process.stdout.receive_some()
            assert chunk, "the server has ended"
            self._lines += chunk
        line, self._lines = self._lines.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(command.encode() + b"\n")
        return await self.hear()


@asynccontextmanager
async def open_server() -> AsyncIterator[Server]:
    command = [sys.executable, "-m", "tests.transport.slow_server"]
    process = await trio.lowlevel.open_process(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdin is not None
        server = Server(process)
        with trio.fail_after(PATIENCE_S):
            server.port = (await server.hear())["port"]
            yield server
            await process.stdin.aclose()
            assert await process.wait() == 0
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                await pipe.aclose()


class Gated(trio.abc.Stream):
    """A stream that is read only while its gate is open; with the gate shut not a byte is taken."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._open = trio.Event()
        self._open.set()
        self._reading = trio.CancelScope()

    def shut(self) -> None:
        self._open = trio.Event()
        self._reading.cancel()

    def open(self) -> None:
        self._open.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        while True:
            await self._open.wait()
            with trio.CancelScope() as self._reading:
                return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@attrs.define
class Session:
    """A raw session that keeps of the output its length and its hash, and checks that there is no gap."""

    gate: Gated
    websocket: trio_websocket.WebSocketConnection
    entries: int = 0
    frames: int = 0
    sent: int = 0
    largest_message: int = 0
    end: dict[str, Any] | None = None
    digest: Any = attrs.field(factory=hashlib.sha256)

    async def say(self, *items: object) -> None:
        await self.websocket.send_message(json.dumps(items))

    async def hear(self) -> list[dict[str, Any]]:
        text = await self.websocket.get_message()
        assert isinstance(text, str)
        self.largest_message = max(self.largest_message, len(text.encode()))
        items: list[dict[str, Any]] = json.loads(text)
        return items

    async def start(self, name: str, **arguments: object) -> str:
        """Submit a job and wait until it runs; its id."""
        submit = {"t": "submit", "id": "c1", "job": name, "arguments": arguments, "key": f"key of {name}"}
        await self.say(submit)
        while True:
            for item in await self.hear():
                for row in item.get("jobs", ()):
                    if row["name"] == name and row["attempt"] == 1:
                        job_id: str = row["id"]
                        return job_id

    async def attach(self, job_id: str) -> None:
        await self.say({"t": "attach", "job": job_id, "attempt": 1, "n": 0})

    async def read(self, entries: int | None = None) -> None:
        """Read and acknowledge until ``entries`` are held; None: until ``output.end``."""
        while self.end is None and (entries is None or self.entries < entries):
            for item in await self.hear():
                if item["t"] == "output":
                    self._apply(item)
                elif item["t"] == "output.end":
                    self.end, self.sent = item, item["sent"]
                else:
                    assert item["t"] in ("feed", "reply", "beat"), item
            await self.say({"t": "ack", "sent": self.sent, "feed": 0})

    def _apply(self, item: dict[str, Any]) -> None:
        assert (item["attempt"], item["from"]) == (1, self.entries)
        size = 0
        for part in item["parts"]:
            if isinstance(part, str):
                payload, log = len(part.encode()), part.encode()
            else:
                name, data = part
                payload, log = len(name.encode()) + len(data.encode()), f"\0{name}\0{data}\0".encode()
            size += payload
            self.digest.update(log)
        assert item["sent"] == self.sent + size, "it counts the payload of every frame"
        self.entries, self.sent = item["to"], item["sent"]
        self.frames += 1

    def check_whole(self, ended: dict[str, Any]) -> None:
        """It holds what the job wrote, all of it."""
        assert self.end is not None
        assert ended["state"] == "completed"
        assert self.entries == self.end["entries"] == ended["entries"]
        assert self.digest.hexdigest() == self.end["sha256"] == ended["sha256"]
        assert self.sent > FLOOD_BYTES


@asynccontextmanager
async def open_session(port: int, user: str = "ada") -> AsyncIterator[Session]:
    """A session that was welcomed, on a socket whose receive buffer is small."""
    plain = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    await plain.connect(("127.0.0.1", port))
    gate: Any = Gated(trio.SocketStream(plain))
    async with gate, trio.open_nursery() as nursery:
        websocket = await trio_websocket.wrap_client_stream(
            nursery, gate, "here.test", "/ws", subprotocols=[SUBPROTOCOL]
        )
        session = Session(gate, websocket)
        await session.say({"t": "hello", "visible": True, "token": user})
        assert (await session.hear())[0]["t"] == "welcome"
        yield session
        nursery.cancel_scope.cancel()


@attrs.frozen
class Run:
    """What a server told when 10 MB were produced, and the largest message that it sent."""

    told: dict[str, Any]
    largest_message: int

    @property
    def pending_bytes(self) -> int:
        gateway = self.told["gateway"]
        return int(gateway["pending_bytes"] + gateway["reply_bytes"])

    @property
    def resident_bytes(self) -> int | None:
        resident: int | None = self.told["resident_bytes"]
        return resident


async def run(*, reads: bool) -> Run:
    """One server and one session, which reads along or sleeps until 10 MB were produced."""
    async with open_server() as server, open_session(server.port) as session:
        await session.attach(await session.start("flood"))
        if reads:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.read, 1)
                produced = await server.ask("flood")
            await session.read(produced["entries"])
        else:
            session.gate.shut()
            produced = await server.ask("flood")
        assert produced["bytes"] >= FLOOD_BYTES
        told = await server.ask("statistics")
        session.gate.open()
        ended = await server.ask("finish")
        await session.read()
        session.check_whole(ended)
        return Run(told, session.largest_message)


@attrs.frozen
class Twins:
    """A run whose session slept, and one whose session read along."""

    slept: Run
    read: Run


@pytest.fixture(scope="module")
def twins() -> list[Twins]:
    """Five of each, one after the other."""

    async def measure() -> list[Twins]:
        async with open_server():
            pass  # the first start may compile the modules, which costs memory that no other run has
        return [Twins(await run(reads=False), await run(reads=True)) for _ in range(RUNS)]

    return trio.run(measure)


@pytest.mark.clause("O4", "E2")
def test_a_session_that_does_not_read_has_at_most_one_frame_pending(twins: list[Twins]) -> None:
    for pair in twins:
        slept, read = pair.slept.told, pair.read.told
        assert slept["gateway"]["sessions"] == read["gateway"]["sessions"] == 1, "it was not disconnected"
        assert slept["channels"][0]["sent_bytes"] < WINDOW_BYTES < read["channels"][0]["sent_bytes"]
        assert slept["channels"][0]["in_flight_bytes"] <= WINDOW_BYTES
        # What one commit holds, what waits for the next, and whether its job has ended yet, is a matter of
        # the moment; what is in flight is looked at above; who is far behind reads pages, and there are few.
        outputs = slept["runtime"]["outputs"]
        assert outputs["pages_most"] <= outputs["pages_max"]
        assert outputs["pending_bytes_most"] <= outputs["pending_bytes_max"] + ENTRY_BYTES
        assert outputs["tail_bytes_most"] <= 2 * outputs["tail_bytes_max"] + outputs["pending_bytes_max"]
        moments = ("pages_most", "pending_bytes_most", "tail_bytes_most")
        store = {name: slept["runtime"]["store"][name] for name in ("commits", "dirty_sources")}
        assert slept["runtime"] == read["runtime"] | {
            "store": read["runtime"]["store"] | store,
            "in_flight_bytes": slept["runtime"]["in_flight_bytes"],
            "users": slept["runtime"]["users"],
            "outputs": read["runtime"]["outputs"] | {name: outputs[name] for name in moments},
        }
        # Not a difference from the other's: what is on its way to who reads is a matter of the moment too.
        pending = pair.slept.pending_bytes
        assert 0 < pending <= max(pair.slept.largest_message, pair.read.largest_message)
        # One that has acknowledged nothing gets the least: 16 KiB of payload, and what JSON escapes.
        assert pending < 1.5 * ENTRY_BYTES


@pytest.mark.clause("O4")
@pytest.mark.skipif(not STATUS.exists(), reason=f"there is no {STATUS} to read the resident memory from")
def test_a_session_that_does_not_read_costs_no_memory(twins: list[Twins]) -> None:
    differences = [(pair.slept.resident_bytes or 0) - (pair.read.resident_bytes or 0) for pair in twins]
    assert all(difference < RESIDENT_BYTES for difference in differences), differences


@pytest.mark.clause("O2", "O4", "O6")
async def test_a_session_that_does_not_read_slows_nobody_and_gets_the_rest_when_it_wakes() -> None:
    async with (
        open_server() as server,
        open_session(server.port) as sleeper,
        open_session(server.port) as tab,
        open_session(server.port, "eve") as other,
    ):
        job_id = await sleeper.start("flood")
        await sleeper.attach(job_id)
        await tab.attach(job_id)
        sleeper.gate.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tab.read)
            await server.ask("flood")
            await other.attach(await other.start("echo", text="meanwhile"))
            await other.read()
            ended = await server.ask("finish")
        # Both have their ends, and the one that sleeps has read nothing since.
        assert other.digest.hexdigest() == hashlib.sha256(b"meanwhile").hexdigest()
        tab.check_whole(ended)
        assert (sleeper.entries, sleeper.end) == (0, None)
        told = await server.ask("statistics")
        assert told["gateway"]["sessions"] == 3
        sleeper.gate.open()
        await sleeper.read()
        sleeper.check_whole(ended)
        assert sleeper.sent / sleeper.frames > LARGE_BYTES, (
            "few large ranges, not what the job wrote one by one"
        )
