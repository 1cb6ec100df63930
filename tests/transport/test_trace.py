"""The trace of docs/protocol.md, section 8, read from the page and run against a real server.

Its lines are what is said (``>``), what is heard (``<``) and, in parentheses, what happens meanwhile.
Ids and the epoch are names, bound where they are heard first; ``…`` stands for fields left out.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio_websocket

import trouper
from tests.transport.ws_peer import Peer
from trouper.transport.codes import SUBPROTOCOL

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
NAMES = frozenset({"s1", "s2", "e1", "j1", "n1"})
REST = "…"
FEED = frozenset({"snapshot", "feed"})
REPLIES = frozenset({"welcome", "reply", "error"})


@attrs.frozen
class Line:
    kind: str
    """``>``, ``<`` or ``(``."""
    items: list[dict[str, Any]]
    happens: str = ""


def trace() -> list[Line]:
    """The lines of the page."""
    block = re.search(r"^## 8\. A trace\n.*?^```\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    assert block, "the page has no trace"
    lines: list[Line] = []
    for text in block[1].splitlines():
        kind, rest = text[:1], text.strip()
        if kind in "<>" and kind:
            lines.append(Line(kind, json.loads(text[2:])))
        else:
            assert rest[:1] == "(", text
            assert rest[-1:] == ")", text
            lines.append(Line("(", [], rest[1:-1]))
    return lines


class Cues:
    """What the job of the trace is told to do, and the place that it waits for."""

    def __init__(self) -> None:
        self.place = trio.Event()
        self.send, self.receive = trio.open_memory_channel[str | None](10)
        self.done = trio.Event()


CUES: list[Cues] = []
"""Of the test that runs; a list, because jobs are declared once."""


@trouper.job()
async def holder(ctx: trouper.JobContext) -> None:
    """Holds the server's only place until it is freed."""
    await CUES[0].place.wait()


@trouper.job(client=True, retry=trouper.Retry(attempts=3, backoff=trouper.Backoff(base=0.001)))
async def echo(ctx: trouper.JobContext, *, text: str) -> str:
    """Writes what it is told to, an entry for each letter, and ends when it is told to."""
    while (letters := await CUES[0].receive.receive()) is not None:
        for letter in letters:
            await ctx.write(letter)
        CUES[0].done.set()
    return text


class Stage:
    """A server, one client, and the names that were bound so far."""

    runtime: trouper.Runtime

    def __init__(self, directory: Path) -> None:
        self.names: dict[str, str] = {}
        self._database = directory / "first.db"
        self._next = directory / "second.db"
        self._life = AsyncExitStack()
        self._connection = AsyncExitStack()
        self._peer: Peer | None = None
        self._heard: deque[dict[str, Any]] = deque()
        self._actions: dict[str, Callable[[], Awaitable[None]]] = {
            "a place is free: the job starts": self._free_place,
            'the job writes "h"': partial(self._write, "h"),
            'the job writes "h" and "i"': partial(self._write, "hi"),
            "the job ends": self._end,
            "the connection is cut; the server is killed in mid-job and starts again: "
            "attempt 2 keeps nothing": self._kill,
        }

    # --- the server ---

    async def open(self) -> None:
        self.runtime = await self._life.enter_async_context(
            trouper.open_runtime(
                f"sqlite:///{self._database}",
                jobs=[holder, echo],
                options=trouper.RuntimeOptions(max_running=1),
                on_report=lambda _: None,
            )
        )
        nursery = await self._life.enter_async_context(trio.open_nursery())
        self._life.callback(nursery.cancel_scope.cancel)
        gateway = await nursery.start(
            partial(trouper.serve, self.runtime, port=0, authenticate=lambda _: "ada")
        )
        self._port = gateway.port

    async def close(self) -> None:
        await self._connection.aclose()
        self._peer = None
        self._heard.clear()
        await self._life.aclose()

    # --- what happens meanwhile ---

    async def happen(self, what: str) -> None:
        assert what in self._actions, f"({what}) is not played; played are {list(self._actions)}"
        await self._actions[what]()

    async def _free_place(self) -> None:
        CUES[0].place.set()

    async def _write(self, letters: str) -> None:
        CUES[0].done = trio.Event()
        CUES[0].send.send_nowait(letters)
        await CUES[0].done.wait()

    async def _end(self) -> None:
        CUES[0].send.send_nowait(None)

    async def _kill(self) -> None:
        """What a kill leaves is the files as they are at that moment; the next life opens them."""
        for file in self._database.parent.glob(f"{self._database.name}*"):
            shutil.copy(file, str(file).replace(self._database.name, self._next.name))
        await self.close()
        self._database = self._next
        await self.open()
        while (row := await self.runtime.job(self.names["j1"])) is None or row.attempt < 2:  # noqa: ASYNC110  # nothing tells of it
            await trio.lowlevel.checkpoint()

    # --- the client ---

    async def say(self, items: list[dict[str, Any]]) -> None:
        if self._peer is None:
            stream = await trio.open_tcp_stream("127.0.0.1", self._port)
            self._connection.push_async_callback(trio.aclose_forcefully, stream)
            nursery = await self._connection.enter_async_context(trio.open_nursery())
            self._connection.callback(nursery.cancel_scope.cancel)
            websocket = await trio_websocket.wrap_client_stream(
                nursery, stream, "here.test", "/ws", subprotocols=[SUBPROTOCOL]
            )
            self._peer = Peer(websocket)
        await self._peer.say(*self._with_names(items))

    def _with_names(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._with_names(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._with_names(each) for each in value]
        return self.names[value] if value in NAMES else value

    async def hear(self, items: list[dict[str, Any]]) -> None:
        """Exactly ``items`` come: replies, feed and output each in their order. Between the three the
        page promises an order within a message only."""
        due: dict[str, deque[dict[str, Any]]] = {}
        for item in items:
            due.setdefault(_lane(item), deque()).append(item)
        while any(due.values()):
            if not self._heard:
                assert self._peer is not None
                self._heard.extend(await self._peer.hear())
            item = self._heard.popleft()
            lane = due.get(_lane(item))
            assert lane, f"{item} came, and the page has none such here: {items}"
            self._compare(lane.popleft(), item, item["t"])

    async def hear_no_more(self) -> None:
        """Nothing comes that the page does not have: a reply is the next thing to be heard."""
        assert self._peer is not None
        assert not self._heard
        await self._peer.say({"t": "jobs", "id": "last", "limit": 1})
        [reply] = await self._peer.hear()
        assert reply["id"] == "last"

    def _compare(self, page: Any, real: Any, path: str) -> None:
        if isinstance(page, dict):
            assert isinstance(real, dict), path
            wanted = page.keys() - {REST}
            left_out = REST in page
            assert wanted <= real.keys() if left_out else wanted == real.keys(), (path, page, real)
            for key in wanted:
                self._compare(page[key], real[key], f"{path}.{key}")
        elif isinstance(page, list):
            assert len(page) == len(real), (path, page, real)
            for number, (one, other) in enumerate(zip(page, real, strict=True)):
                self._compare(one, other, f"{path}[{number}]")
        elif page in NAMES:
            assert real == self.names.setdefault(page, real), (path, page, real)
        else:
            assert (type(page), page) == (type(real), real), (path, page, real)


def _lane(item: dict[str, Any]) -> str:
    return "feed" if item["t"] in FEED else "replies" if item["t"] in REPLIES else "output"


@pytest.mark.clause("J6", "N2", "N3", "N5", "O2", "O3", "O6")
async def test_the_trace_of_the_specification_is_what_happens(tmp_path: Path) -> None:
    CUES[:] = [Cues()]
    with trio.fail_after(30):
        stage = Stage(tmp_path)
        await stage.open()
        try:
            await stage.runtime.submit(holder.call(), user="eve")
            for line in trace():
                match line.kind:
                    case ">":
                        await stage.say(line.items)
                    case "<":
                        await stage.hear(line.items)
                    case _:
                        await stage.happen(line.happens)
            await stage.hear_no_more()
        finally:
            await stage.close()  # noqa: ASYNC102  # a test's own time-out bounds it
    assert len(set(stage.names.values())) == len(stage.names) == len(NAMES)
