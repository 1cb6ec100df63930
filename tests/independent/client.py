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
    """4: what is held of one output."""

    def __init__(self, job: str, attempt: int = 0, n: int = 0) -> None:
        self.job, self.attempt, self.whole = job, attempt, n == 0
        self.ended: str | None = None
        self.answered = self.missed = self.fetched_again = False
        self.frames: list[tuple[int, list[Any]]] = [(n, [])]

    def begin(self) -> Item:
        self.attempt, self.whole, self.frames = 0, True, [(0, [])]
        return self.attach()

    @property
    def n(self) -> int:
        return self.frames[-1][0]

    @property
    def parts(self) -> list[Any]:
        return [part for _, parts in self.frames for part in parts]

    def attach(self) -> Item:
        self.answered = self.missed = False
        return {"t": "attach", "job": self.job, "attempt": self.attempt, "n": self.n}

    def take(self, item: Item) -> Item | None:
        """What is to be said in return, if anything."""
        match item["t"]:
            case "rewind":
                return self.rewind(item["attempt"], item["keep"])
            case "output.end":
                return self.end(item)
            case "gone":
                self.ended = item["reason"]
            case "output" if item["attempt"] == self.attempt and item["to"] > self.n:
                if item["from"] != self.n:
                    return self.misfit()
                self.answered, self.missed = True, False
                self.frames.append((item["to"], item["parts"]))
        return None

    def misfit(self) -> Item | None:
        self.missed = not self.answered
        return self.attach() if self.answered else None

    def rewind(self, attempt: int, keep: int) -> Item | None:
        """4.2."""
        if attempt < self.attempt:
            if self.answered:
                return None
            keep = 0
        elif attempt == self.attempt and keep >= self.n and not self.answered:
            return None
        self.frames = [frame for frame in self.frames if frame[0] <= keep]
        if not self.frames:
            self.whole, self.frames = True, [(0, [])]
        self.attempt = attempt
        return self.attach()

    def end(self, item: Item) -> Item | None:
        """4.3."""
        if item["attempt"] < self.attempt:
            return None
        if (item["attempt"], item["entries"]) != (self.attempt, self.n):
            return self.misfit()
        fits = self.digest() == item["sha256"]
        if self.whole and not fits and not self.fetched_again:
            self.fetched_again = True
            return self.begin()
        self.ended = ("verified" if fits else "corrupt") if self.whole else "unverified"
        return None

    def digest(self) -> str:
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(part.encode() if isinstance(part, str) else f"\0{part[0]}\0{part[1]}\0".encode())
        return digest.hexdigest()


class Client:
    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.feed: Item | None = None
        self.epoch: str | None = None
        self.jobs: dict[str, Item] = {}
        self.notifications: dict[str, Item] = {}
        self.counts: Item | None = None
        self.outputs: dict[str, Output] = {}
        self.commands: dict[str, Item] = {}
        self.replies: dict[str, Item] = {}
        self.asked = self.ack_due = False
        self.window = self.sent = self.acked = 0
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
        await socket.send_message(json.dumps(self.greet()))
        while True:
            said = self.hear(json.loads(await socket.get_message()))
            if said:
                await socket.send_message(json.dumps(said))
            self.changed.set()
            self.changed = trio.Event()

    def greet(self) -> list[Item]:
        """1.1, 1.3: what a connection begins with."""
        self.asked, self.sent, self.acked = False, 0, 0
        hello = {"t": "hello", "visible": True, "token": self.token, "feed": self.feed}
        again = [output.attach() for output in self.outputs.values() if output.ended is None]
        return [hello, *again, *self.commands.values()]

    def hear(self, items: list[Item]) -> list[Item]:
        """One message; what is to be said in return."""
        said: list[Item] = []
        for item in items:
            self.hear_item(item, said)
        if self.ack_due or 2 * (self.sent - self.acked) >= self.window:  # 4.1
            self.ack_due, self.acked = False, self.sent
            said.append({"t": "ack", "sent": self.sent, "feed": self.feed["seq"] if self.feed else None})
        return said

    def hear_item(self, item: Item, said: list[Item]) -> None:
        output = self.outputs.get(item.get("job", ""))
        if output is not None and output.ended is None:
            said += filter(None, [output.take(item)])
        match item["t"]:
            case "beat":
                said.append({"t": "beat"})
                said += [output.attach() for output in self.outputs.values() if output.missed]
            case "reply" if item["id"] in self.commands:
                del self.commands[item["id"]]
                self.replies[item["id"]] = item
            case "welcome":
                self.window = item["window"]
                self.hear_epoch(item, said)
            case "snapshot" | "feed":
                self.hear_feed(item, said)
            case "output" | "output.end":
                self.sent = item["sent"]
                self.ack_due |= item["t"] == "output.end"

    def hear_epoch(self, item: Item, said: list[Item]) -> None:
        """3: another one voids every cursor."""
        if self.epoch not in (None, item["epoch"]):
            said += [voided.begin() for voided in self.outputs.values() if voided.ended is None]
        self.epoch = item["epoch"]

    def hear_feed(self, item: Item, said: list[Item]) -> None:
        """3."""
        if item["t"] == "feed" and self.feed != {"epoch": item["epoch"], "seq": item["prev"]}:
            if not self.asked:
                said.append({"t": "resync", "feed": self.feed})
            self.asked = True
            return
        if item["t"] == "snapshot":
            self.jobs, self.notifications = {}, {}
            self.hear_epoch(item, said)
        self.asked = False
        self.ack_due |= bool(item["notifications"])
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

    def command(self, t: str, **fields: Any) -> Item:
        id = f"c{len(self.commands) + len(self.replies)}"
        self.commands[id] = {"t": t, "id": id, **fields}
        return self.commands[id]

    async def ask(self, t: str, **fields: Any) -> Item:
        """2: the command is sent again until it is answered."""
        command = self.command(t, **fields)
        await self.say(command)
        await self.until(lambda: command["id"] in self.replies)
        return self.replies[command["id"]]

    async def read(self, job: str) -> Output:
        self.outputs[job] = output = Output(job)
        await self.say(output.attach())
        await self.until(lambda: output.ended is not None)
        return output
