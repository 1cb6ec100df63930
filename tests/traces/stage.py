"""A server with one client that says what a trace has, and what happens meanwhile."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trio_websocket

import trouper
from tests.traces.hearing import Heard
from tests.traces.reading import Item, Line, named
from tests.traces.setups import FREE, SETUPS, Setup
from trouper.transport.auth import Hello
from trouper.transport.codes import SUBPROTOCOL

PATIENCE_S = 20.0

Step = Callable[[trouper.JobContext], Awaitable[None]]


class Cues:
    """What each job is told to do, by its id, and the place that the page's trace waits for."""

    def __init__(self) -> None:
        self.place = trio.Event()
        self._channels: dict[str, tuple[trio.MemorySendChannel[Any], trio.MemoryReceiveChannel[Any]]] = {}

    def of(self, job_id: str) -> tuple[trio.MemorySendChannel[Any], trio.MemoryReceiveChannel[Any]]:
        return self._channels.setdefault(job_id, trio.open_memory_channel[Any](10))


CUES: list[Cues] = []
"""Of the test that runs; a list, because jobs are declared once."""


@trouper.job()
async def hidden(ctx: trouper.JobContext) -> None:
    """Holds a place until it is freed. No client may submit it."""
    await CUES[0].place.wait()


@trouper.job(client=True, retry=trouper.Retry(attempts=3, backoff=trouper.Backoff(base=0.001)))
async def echo(ctx: trouper.JobContext, *, text: str) -> str:
    """Does what it is told to, step by step."""
    _, steps = CUES[0].of(ctx.job_id)
    while True:
        step, done = await steps.receive()
        if step is None:
            return text
        await step(ctx)
        done.set()


async def _write(ctx: trouper.JobContext, *, texts: list[str]) -> None:
    for text in texts:
        await ctx.write(text)


async def _emit(ctx: trouper.JobContext, *, name: str, data: str) -> None:
    await ctx.emit(name, json.loads(data))


async def _save(ctx: trouper.JobContext) -> None:
    await ctx.savepoint({})


async def _read(ctx: trouper.JobContext) -> None:
    await anext(ctx.messages)


async def _report(ctx: trouper.JobContext, *, done: int, total: int) -> None:
    await ctx.progress(done, total)


async def _ask(ctx: trouper.JobContext, *, key: str, question: str) -> None:
    await ctx.ask_user(question, schema={"type": "string"}, key=key)


async def _charge(ctx: trouper.JobContext, *, begun: trio.Event, over: trio.Event) -> None:
    async with ctx.unsafe("charge"):
        begun.set()
        await over.wait()


async def _crash(ctx: trouper.JobContext) -> None:
    raise RuntimeError("as the trace has it")


def known(hello: Hello) -> str | None:
    return None if hello.token == "of nobody" else "ada"


class Stage:
    """**Resources**: ``close`` ends the server and the connection."""

    runtime: trouper.Runtime

    def __init__(self, directory: Path, setup: Setup) -> None:
        self.names: dict[str, str] = {}
        self.heard = Heard()
        self._setup = setup
        self._filled = False
        self._database = directory / "first.db"
        self._next = directory / "second.db"
        self._life = AsyncExitStack()
        self._connection = AsyncExitStack()
        self._websocket: trio_websocket.WebSocketConnection | None = None
        played: dict[str, Callable[..., Awaitable[None]]] = {
            r"(j\d) is running": self._start,
            "|".join(SETUPS.keys() - {FREE}): self._nothing,
            FREE: self._free_place,
            r'(the job|j\d) writes (".*")': self._writes,
            r"(j\d) emits (\w+) (.*)": self._emits,
            r"(j\d) saves": partial(self._steps, _save),
            r"(j\d) reads a message": partial(self._steps, _read),
            r"(j\d) reports (\d+) of (\d+)": self._reports,
            r'(j\d) asks (\w+) "(.*)"': self._asks,
            r"(j\d) crashes": self._crashes,
            r"(the job|j\d) ends": self._ends,
            r"(j\d) is cancelled": self._wait,
            r"(j\d) runs": self._runs,
            r"(j\d) goes on": partial(self._runs, attempt=2),
            r"a beat is due|nothing is said for silence_ms": self._nothing,
            r"a message of (\d+) bytes is said": self._say_much,
            r"the store is down": self._store_down,
            r"the store answers nothing": self._store_hangs,
            r"the store is back": self._store_back,
            r"the server stops": self._stop,
            r"(j\d) is inside of an unsafe step": self._begins_a_step,
            r"the step ends": self._ends_the_step,
            r"the whole server begins to stop": self._drain,
            r"the store has a bug": self._store_bug,
            r"(j\d)'s output is damaged on the disk, and the server starts again": self._damage,
            r"the connection is cut": self._cut,
            r"the connection is cut; the server is killed in mid-job and starts again: .*": self._kill,
        }
        self._played = [(re.compile(pattern), act) for pattern, act in played.items()]

    # --- the server ---

    async def open(self) -> None:
        self._stopping = trio.Event()
        nursery = await self._life.enter_async_context(trio.open_nursery())
        self.runtime = await nursery.start(self._live)
        self._serving = trio.CancelScope()
        self._port = await nursery.start(self._serve)
        for _ in range(self._setup.sessions):
            await self._life.enter_async_context(self.runtime.open_session("eve"))
        if self._setup.full and not self._filled:
            self._filled = True
            job = await self.runtime.submit(hidden.call(), user="eve")
            await self._attempt(job.id, 1)

    async def _live(self, *, task_status: trio.TaskStatus[trouper.Runtime]) -> None:
        """A task of its own, so that it can begin to stop while it is served."""
        async with trouper.open_runtime(
            f"sqlite:///{self._database}",
            jobs=[hidden, echo],
            options=self._setup.runtime,
            store_options=self._setup.store,
            on_report=lambda _: None,
        ) as runtime:
            task_status.started(runtime)
            await self._stopping.wait()

    async def _serve(self, *, task_status: trio.TaskStatus[int]) -> None:
        with self._serving:
            async with trio.open_nursery() as nursery:
                serve = partial(
                    trouper.serve, self.runtime, port=0, authenticate=known, options=self._setup.gateway
                )
                task_status.started((await nursery.start(serve)).port)

    async def close(self) -> None:
        await self._cut()
        self._serving.cancel()
        self._stopping.set()
        await self._life.aclose()

    # --- what happens meanwhile ---

    async def happen(self, what: str) -> None:
        for pattern, act in self._played:
            if (match := pattern.fullmatch(what)) is not None:
                await act(*match.groups())
                return
        raise AssertionError(f"({what}) is not played; played are {[p.pattern for p, _ in self._played]}")

    async def _start(self, name: str) -> None:
        job = await self.runtime.submit(
            echo.call(text=f"text of {name}"), user="ada", idempotency_key=f"key of {name}"
        )
        self.names[name] = job.id
        await self._attempt(job.id, 1)

    async def _attempt(self, job_id: str, least: int) -> None:
        while (row := await self.runtime.job(job_id)) is None or row.attempt < least:  # noqa: ASYNC110  # nothing tells of it
            await trio.lowlevel.checkpoint()

    async def _step(self, who: str, step: Step | None) -> trio.Event:
        send, _ = CUES[0].of(self.names["j1" if who == "the job" else who])
        done = trio.Event()
        send.send_nowait((step, done))
        return done

    async def _steps(self, step: Step, who: str) -> None:
        await (await self._step(who, step)).wait()

    async def _writes(self, who: str, texts: str) -> None:
        await self._steps(partial(_write, texts=re.findall(r'"([^"]*)"', texts)), who)

    async def _emits(self, who: str, name: str, data: str) -> None:
        await self._steps(partial(_emit, name=name, data=data), who)

    async def _reports(self, who: str, done: str, total: str) -> None:
        await self._steps(partial(_report, done=int(done), total=int(total)), who)

    async def _asks(self, who: str, key: str, question: str) -> None:
        await self._step(who, partial(_ask, key=key, question=question))

    async def _crashes(self, who: str) -> None:
        job = await self.runtime.job(self.names[who])
        assert job is not None
        await self._step(who, _crash)
        await self._attempt(job.id, job.attempt + 1)

    async def _begins_a_step(self, who: str) -> None:
        begun, self._step_over = trio.Event(), trio.Event()
        await self._step(who, partial(_charge, begun=begun, over=self._step_over))
        await begun.wait()

    async def _ends_the_step(self) -> None:
        self._step_over.set()

    async def _ends(self, who: str) -> None:
        await self._step(who, None)
        await self._wait("j1" if who == "the job" else who)

    async def _wait(self, who: str) -> None:
        await self.runtime.wait(self.names[who])

    async def _runs(self, who: str, attempt: int = 1) -> None:
        await self._attempt(self.names[who], attempt)

    async def _nothing(self) -> None:
        """What comes of it is heard."""

    async def _say_much(self, size: str) -> None:
        websocket = await self._connected()
        await websocket.send_message("x" * int(size))

    async def _store_down(self) -> None:
        async def down(*args: object, **more: object) -> tuple[trouper.Job, ...]:
            raise trouper.StoreUnavailable("the disk is full")

        self.runtime.store.jobs = down  # type: ignore[method-assign]

    async def _store_bug(self) -> None:
        async def fail(*args: object, **more: object) -> tuple[trouper.Job, ...]:
            raise ZeroDivisionError("a bug of ours")

        self.runtime.store.jobs = fail  # type: ignore[method-assign]

    async def _store_hangs(self) -> None:
        async def hang(*args: object, **more: object) -> tuple[trouper.Job, ...]:
            await trio.sleep_forever()
            raise AssertionError("it answers nothing")

        self.runtime.store.jobs = hang  # type: ignore[method-assign]

    async def _store_back(self) -> None:
        del self.runtime.store.jobs

    async def _stop(self) -> None:
        self._serving.cancel()

    async def _drain(self) -> None:
        self._stopping.set()
        while self.runtime.ready:  # noqa: ASYNC110  # nothing tells of it
            await trio.lowlevel.checkpoint()

    async def _damage(self, who: str) -> None:
        await self.close()
        with closing(sqlite3.connect(self._database)) as database, database:
            database.execute("UPDATE blocks SET body = 'damaged'")
            database.execute("UPDATE journal SET body = 'damaged'")
        CUES[0] = Cues()
        await self.open()

    async def _free_place(self) -> None:
        CUES[0].place.set()

    async def _cut(self) -> None:
        await self._connection.aclose()
        self._websocket = None
        self.heard = Heard()

    async def _kill(self) -> None:
        """What a kill leaves is the files as they are at that moment; the next life opens them."""
        for file in self._database.parent.glob(f"{self._database.name}*"):
            shutil.copy(file, str(file).replace(self._database.name, self._next.name))
        await self.close()
        self._database = self._next
        CUES[0] = Cues()
        await self.open()
        await self._attempt(self.names["j1"], 2)

    # --- the client ---

    async def say(self, line: Line) -> None:
        websocket = await self._connected()
        if line.kind == ">":
            await websocket.send_message(json.dumps(named(line.items, self.names)))
        else:
            await websocket.send_message(line.text.encode() if line.kind == ">b" else line.text)

    async def _connected(self) -> trio_websocket.WebSocketConnection:
        if self._websocket is None:
            stream = await trio.open_tcp_stream("127.0.0.1", self._port)
            self._connection.push_async_callback(trio.aclose_forcefully, stream)
            nursery = await self._connection.enter_async_context(trio.open_nursery())
            self._connection.callback(nursery.cancel_scope.cancel)
            self._websocket = await trio_websocket.wrap_client_stream(
                nursery, stream, "here.test", "/ws", subprotocols=[SUBPROTOCOL]
            )
        return self._websocket

    async def hear(self, items: list[Item]) -> None:
        """``items`` come, and nothing else of the lanes that they are of."""
        wrong = self.heard.take(items, self.names)
        with trio.move_on_after(PATIENCE_S):
            while wrong is not None:
                assert self._websocket is not None
                self.heard.add(json.loads(await self._websocket.get_message()))
                wrong = self.heard.take(items, self.names)
        assert wrong is None, f"{wrong}; heard: {self.heard}"

    async def hear_the_end(self, code: int) -> None:
        assert self._websocket is not None
        reason: trio_websocket.CloseReason | None = None
        try:
            with trio.fail_after(PATIENCE_S):
                while True:
                    await self._websocket.get_message()
        except trio_websocket.ConnectionClosed as closed:
            reason = closed.reason
        assert reason is not None
        assert reason.code == code, reason
        assert reason.reason, "it tells why"
