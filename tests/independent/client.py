"""A whole client of ``trouper.v1``, from the page alone: it imports nothing of ours.

It says hello, submits, follows the output of jobs over cuts and rewinds, keeps the feed, and verifies what it
holds. Section numbers are those of docs/protocol.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import trio
import trio_websocket

Item = dict[str, Any]


class Output:
    def __init__(self, job: str) -> None:
        self.job = job
        self.ended: str | None = None
        self.begin()

    def begin(self) -> None:
        self.attempt, self.answered = 0, False
        self.frames: list[tuple[int, list[Any]]] = [(0, [])]

    @property
    def n(self) -> int:
        return self.frames[-1][0]

    @property
    def parts(self) -> list[Any]:
        return [part for _, parts in self.frames for part in parts]

    def attach(self) -> Item:
        self.answered = False
        return {"t": "attach", "job": self.job, "attempt": self.attempt, "n": self.n}

    def take(self, item: Item) -> Item | None:
        """4, 4.2: what is to be said in return, if anything."""
        if item["t"] == "rewind":
            if item["attempt"] < self.attempt and self.answered:
                return None
            self.frames = [frame for frame in self.frames if frame[0] <= item["keep"]]
            self.attempt = item["attempt"]
            return self.attach()
        if item["attempt"] != self.attempt or item["to"] <= self.n:
            return None
        if item["from"] == self.n:
            self.answered = True
            self.frames.append((item["to"], item["parts"]))
        elif self.answered:
            return self.attach()
        return None

    def verify(self, item: Item) -> bool:
        """4.3."""
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(part.encode() if isinstance(part, str) else f"\0{part[0]}\0{part[1]}\0".encode())
        return bool(digest.hexdigest() == item["sha256"])


class Client:
    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.feed: Item | None = None
        self.jobs: dict[str, Item] = {}
        self.notifications: dict[str, Item] = {}
        self.counts: Item | None = None
        self.outputs: dict[str, Output] = {}
        self.commands: dict[str, Item] = {}
        self.replies: dict[str, Item] = {}
        self.asked = False
        self.changed, self.cuts = trio.Event(), 0
        self.connection: trio.Nursery
        self.way = trio.Event()
        """In the place of the page's delay: set while there is a server to dial."""
        self.way.set()
        self.out: trio_websocket.WebSocketConnection | None = None

    async def run(self) -> None:
        """1.3: for ever; a connection that ends is followed by another."""
        while True:
            await self.way.wait()
            await self.connect(await trio.open_tcp_stream("127.0.0.1", self.port))
            self.cuts += 1

    async def connect(self, stream: trio.SocketStream) -> None:
        try:
            async with trio.open_nursery() as self.connection:
                self.out = await trio_websocket.wrap_client_stream(
                    self.connection, stream, f"127.0.0.1:{self.port}", "/ws", subprotocols=["trouper.v1"]
                )
                await self.serve(self.out)
        except* (trio_websocket.ConnectionClosed, trio_websocket.HandshakeError, OSError):
            pass
        finally:
            self.out = None
            await trio.aclose_forcefully(stream)

    async def serve(self, socket: trio_websocket.WebSocketConnection) -> None:
        self.asked = False
        hello = {"t": "hello", "visible": True, "token": self.token, "feed": self.feed}
        again = [output.attach() for output in self.outputs.values() if output.ended is None]
        await socket.send_message(json.dumps([hello, *again, *self.commands.values()]))
        while True:
            said: list[Item] = []
            for item in json.loads(await socket.get_message()):
                self.hear(item, said)
            if said:
                await socket.send_message(json.dumps(said))
            self.changed.set()
            self.changed = trio.Event()

    def hear(self, item: Item, said: list[Item]) -> None:
        output = self.outputs.get(item.get("job", ""))
        if item["t"] == "output.end" and output is not None:
            self.hear_end(output, item)
        match item["t"]:
            case "beat":
                said.append({"t": "beat"})
            case "reply" if item["id"] in self.commands:
                del self.commands[item["id"]]
                self.replies[item["id"]] = item
            case "welcome" if self.feed and item["epoch"] != self.feed["epoch"]:
                for voided in self.outputs.values():
                    voided.begin()
                    said.append(voided.attach())
            case "snapshot" | "feed":
                self.hear_feed(item, said)
            case "output" | "rewind" if output is not None:
                said += filter(None, [output.take(item)])
            case "gone" if output is not None:
                output.ended = item["reason"]
        if item["t"] in ("output", "output.end"):
            said.append({"t": "ack", "sent": item["sent"], "feed": self.feed["seq"] if self.feed else 0})

    def hear_end(self, output: Output, item: Item) -> None:
        if (item["attempt"], item["entries"]) == (output.attempt, output.n):
            output.ended = "verified" if output.verify(item) else "corrupt"

    def hear_feed(self, item: Item, said: list[Item]) -> None:
        """3."""
        if item["t"] == "feed" and self.feed != {"epoch": item["epoch"], "seq": item["prev"]}:
            if not self.asked:
                said.append({"t": "resync", "feed": self.feed})
            self.asked = True
            return
        if item["t"] == "snapshot":
            self.jobs, self.notifications = {}, {}
        self.asked = False
        self.feed, self.counts = {"epoch": item["epoch"], "seq": item["seq"]}, item["counts"]
        self.jobs |= {row["id"]: row for row in item["jobs"]}
        self.notifications |= {row["id"]: row for row in item["notifications"]}

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self.changed.wait()

    async def say(self, *items: Item) -> None:
        try:
            if self.out is not None:
                await self.out.send_message(json.dumps(items))
        except trio_websocket.ConnectionClosed:
            pass  # what is to be said is said again on the next connection

    async def ask(self, t: str, **fields: Any) -> Item:
        """2: the command is sent again until it is answered."""
        id = f"c{len(self.commands) + len(self.replies)}"
        self.commands[id] = {"t": t, "id": id, **fields}
        await self.say(self.commands[id])
        await self.until(lambda: id in self.replies)
        return self.replies[id]

    async def read(self, job: str) -> Output:
        self.outputs[job] = output = Output(job)
        await self.say(output.attach())
        await self.until(lambda: output.ended is not None)
        return output
