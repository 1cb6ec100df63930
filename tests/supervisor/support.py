"""What the tests of the runtime share: a few jobs, and a runtime on the memory store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import orjson
import trio

import trouper
from trouper.actors.channel_items import FeedChanges, FeedSnapshot
from trouper.simulation.world import InlineThread
from trouper.store.protocol import Changes, Snapshot

T = TypeVar("T")


@trouper.job(client=True)
async def echo(ctx: trouper.JobContext, *, text: str) -> dict[str, int]:
    for character in text:
        await ctx.write(character)
    return {"length": len(text)}


@trouper.job
async def forever(ctx: trouper.JobContext) -> None:
    await ctx.write("begun")
    await trio.sleep_forever()


@trouper.job
async def broken(ctx: trouper.JobContext) -> None:
    await ctx.write("so far")
    raise ValueError("no such model")


class VirtualWall:
    """A wall clock that goes with trio's."""

    @staticmethod
    def seams() -> trouper.Seams:
        return trouper.Seams(wall=lambda: 1_000_000.0 + trio.current_time())


class SlowThread(InlineThread):
    """A store's thread that takes its time: virtual time, so that every interleaving is the same again."""

    delay_s = 0.02

    async def run(self, call: Callable[[], T]) -> T:
        with trio.CancelScope(shield=True):
            await trio.sleep(self.delay_s)
        return await super().run(call)


def slow_seams() -> trouper.Seams:
    """Seams under which everything that SQLite does takes 20 ms of virtual time."""
    return trouper.Seams(open_thread=SlowThread, wall=lambda: 1_000_000.0 + trio.current_time())


Open = Callable[..., AbstractAsyncContextManager[trouper.Runtime]]


def opener() -> Open:
    """Opens a runtime, on the memory store unless told otherwise; its reports go to ``reports``."""

    @asynccontextmanager
    async def open_one(
        *jobs: Any, reports: list[trouper.Report] | None = None, url: str = "memory:", **options: Any
    ) -> AsyncIterator[trouper.Runtime]:
        heard = [] if reports is None else reports
        async with trouper.open_runtime(url, jobs=jobs, on_report=heard.append, **options) as runtime:
            yield runtime

    return open_one


class Feed:
    """What a session holds of the feed, applied as the protocol says."""

    def __init__(self) -> None:
        self.seq: int | None = None
        self.jobs: dict[str, trouper.Job] = {}
        self.counts = trouper.Counts()

    async def follow(self, channel: Any, until: Callable[[], bool]) -> None:
        changed = trio.Event()

        def wake() -> None:
            changed.set()

        channel.on_ready = wake
        with trio.fail_after(5):
            while True:
                for item in channel.take(64 * 1024):
                    match item:
                        case FeedSnapshot(snapshot=snapshot):
                            self._apply(snapshot)
                        case FeedChanges(changes=changes):
                            assert changes.prev == self.seq
                            self._apply(changes)
                if until():
                    return
                await changed.wait()
                changed = trio.Event()

    def _apply(self, state: Snapshot | Changes) -> None:
        self.seq, self.counts = state.seq, state.counts
        self.jobs.update({job.id: job for job in state.jobs})


async def waiting(runtime: trouper.Runtime, job_id: str) -> dict[str, Any]:
    """The open question of a job, once there is one."""
    for _ in range(1000):
        job = await runtime.job(job_id)
        assert job is not None
        assert not job.state.terminal, job
        if job.asking is not None:
            question: dict[str, Any] = orjson.loads(job.asking)
            return question
        await trio.sleep(0.02)
    raise AssertionError("it asked nothing")
