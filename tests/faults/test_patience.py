"""How long a running attempt waits for a store that is down: as long as was said, and each time anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.faults.outages import Kind, MemoryOutage, Outage, SqliteOutage

pytestmark = pytest.mark.clause("E1")

PATIENCE_S = 30.0  # the default of JobLimits.store_patience_s, as the page says

Deed = Callable[[trouper.JobContext], Awaitable[None]]


async def saves(ctx: trouper.JobContext) -> None:
    await ctx.savepoint("here")


async def writes(ctx: trouper.JobContext) -> None:
    await ctx.write("more")


async def tells(ctx: trouper.JobContext) -> None:
    await ctx.notify(key=f"{trio.current_time()}", title="look")


@attrs.define
class Scene:
    """A job that does something each second, as far as the store lets it."""

    deed: Deed
    stopped_at: float | None = None
    done: int = 0
    work: trouper.JobSpec[..., None] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        @trouper.job
        async def work(ctx: trouper.JobContext) -> None:
            try:
                while ctx.attempt == 1:
                    await self.deed(ctx)
                    self.done += 1
                    await trio.sleep(1)
            except trio.Cancelled:
                self.stopped_at = trio.current_time()
                raise

        self.work = work


@asynccontextmanager
async def running(scene: Scene, outage: Outage) -> AsyncIterator[tuple[trouper.Runtime, trouper.Job]]:
    wall = trouper.Seams(wall=lambda: 1_000_000.0 + trio.current_time())
    async with trouper.open_runtime(
        outage.open, jobs=[scene.work], seams=wall, on_report=lambda _: None
    ) as runtime:
        job = await runtime.submit(scene.work.call(), user="ada")
        await trio.sleep(5.5)
        assert scene.done > 3
        try:
            yield runtime, job
        finally:
            outage.end()


CASES: list[tuple[Callable[[Path], Outage], Deed]] = [
    (MemoryOutage, saves),  # its output is always taken: there is no disk
    (MemoryOutage, tells),
    (SqliteOutage, saves),
    (SqliteOutage, tells),
    (SqliteOutage, writes),
]


@pytest.mark.parametrize(("engine", "deed"), CASES)
async def test_an_attempt_is_given_back_after_its_patience_and_uses_nothing_up(
    tmp_path: Path, autojump_clock: MockClock, engine: Callable[[Path], Outage], deed: Deed
) -> None:
    scene, outage = Scene(deed), engine(tmp_path)
    async with running(scene, outage) as (runtime, job):
        outage.begin(Kind.DOWN)
        down_at = trio.current_time()
        await trio.sleep(1)
        with pytest.raises(trouper.StoreUnavailable):
            await runtime.submit(scene.work.call(), user="ada")
        await trio.sleep(PATIENCE_S - 2)
        assert scene.stopped_at is None
        await trio.sleep(10)
        assert scene.stopped_at == pytest.approx(down_at + PATIENCE_S, abs=4)
        await trio.sleep(20)
        outage.end()
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.attempt, ended.attempts_used) == (trouper.JobState.COMPLETED, 2, 0)


@pytest.mark.parametrize(("engine", "deed"), CASES)
async def test_outages_that_are_shorter_than_its_patience_do_not_add_up(
    tmp_path: Path, autojump_clock: MockClock, engine: Callable[[Path], Outage], deed: Deed
) -> None:
    scene, outage = Scene(deed), engine(tmp_path)
    async with running(scene, outage) as (runtime, job):
        for _ in range(3):
            before = scene.done
            outage.begin(Kind.DOWN)
            await trio.sleep(PATIENCE_S - 8)
            outage.end()
            await trio.sleep(6)
            assert scene.done > before + 2
        row = await runtime.job(job.id)
        assert row is not None
        assert (row.state, row.attempt, scene.stopped_at) == (trouper.JobState.RUNNING, 1, None)


@pytest.mark.clause("J6")
async def test_an_unsafe_step_that_was_given_up_before_the_store_answered_never_began(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    outage, charged = MemoryOutage(tmp_path), False

    @trouper.job(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=0)))
    async def pay(ctx: trouper.JobContext) -> None:
        nonlocal charged
        if ctx.attempt == 1:
            outage.begin(Kind.UNKNOWN)
            with trio.move_on_after(5):
                async with ctx.unsafe("charge card"):
                    charged = True
            outage.end()
            raise RuntimeError("something else")

    async with trouper.open_runtime(outage.open, jobs=[pay], on_report=lambda _: None) as runtime:
        ended = await runtime.wait((await runtime.submit(pay.call(), user="ada")).id)
        assert (ended.state, ended.attempt, ended.unsafe) == (trouper.JobState.COMPLETED, 2, None)
    assert not charged
