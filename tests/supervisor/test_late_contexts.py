"""A ``ctx`` that is used after its job has ended: by a task of another nursery, by a callback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.supervisor.support import Open, forever, slow_seams


async def unsafely(ctx: trouper.JobContext) -> None:
    async with ctx.unsafe("too late"):
        raise AssertionError("it never begins")


@pytest.mark.clause("E1")
@pytest.mark.parametrize("engine", ["memory", "sqlite"])
@pytest.mark.parametrize(
    "late",
    [
        lambda ctx: ctx.write("late"),
        lambda ctx: ctx.emit("late"),
        lambda ctx: ctx.progress(1),
        lambda ctx: ctx.savepoint("late"),
        lambda ctx: ctx.notify(key="late", title="late"),
        lambda ctx: ctx.ask_user("late?"),
        lambda ctx: anext(ctx.messages),
        unsafely,
    ],
)
async def test_a_context_that_outlives_its_job_is_refused_and_harms_no_other(
    opened: Open,
    engine: str,
    late: Callable[[trouper.JobContext], Any],
    tmp_path: Path,
    autojump_clock: MockClock,
) -> None:
    kept: list[trouper.JobContext] = []

    @trouper.job
    async def lends(ctx: trouper.JobContext) -> None:  # noqa: ASYNC124  # it only gives its context away
        kept.append(ctx)

    url = "memory:" if engine == "memory" else f"sqlite:///{tmp_path / 'chat.db'}"
    reports: list[trouper.Report] = []
    async with opened(lends, forever, url=url, seams=slow_seams(), reports=reports) as runtime:
        other = await runtime.submit(forever.call(), user="bob")
        lender = await runtime.wait((await runtime.submit(lends.call(), user="ada")).id)
        with pytest.raises(trouper.AttemptOver, match=r"attempt 1 of job .* is over"):
            await late(kept[0])
        await trio.sleep(1)
        assert reports == []
        running = await runtime.job(other.id)
        assert running is not None
        assert (running.state, running.attempt) == (trouper.JobState.RUNNING, 1)
        assert await runtime.job(lender.id) == lender


@pytest.mark.clause("E1")
async def test_output_that_is_refused_after_its_actor_was_stopped_harms_no_other(
    opened: Open, tmp_path: Path, autojump_clock: MockClock
) -> None:
    @trouper.job
    async def parting(ctx: trouper.JobContext) -> None:
        try:
            await trio.sleep_forever()
        finally:
            await ctx.write("farewell")  # noqa: ASYNC102  # it is in the output, and nobody has asked the store

    url = f"sqlite:///{tmp_path / 'chat.db'}"
    reports: list[trouper.Report] = []
    async with opened(parting, forever, url=url, seams=slow_seams(), reports=reports) as runtime:
        other = await runtime.submit(forever.call(), user="bob")
        job = await runtime.submit(parting.call(), user="ada")
        await trio.sleep(1)
        row = await runtime.job(job.id)
        assert row is not None
        await runtime.store.lose(job.id, row.fence, "lost")
        await runtime._tree.jobs.terminate_child(f"{job.id}#1")
        await trio.sleep(1)
        assert reports == []
        running = await runtime.job(other.id)
        assert running is not None
        assert (running.state, running.attempt) == (trouper.JobState.RUNNING, 1)


async def test_who_waits_for_room_in_the_output_of_a_job_that_has_ended_is_told_so(
    opened: Open, autojump_clock: MockClock, tmp_path: Path
) -> None:
    told: list[str] = []

    async with trio.open_nursery() as outside:

        @trouper.job
        async def leaves(ctx: trouper.JobContext) -> None:
            async def write_too_much() -> None:
                try:
                    await ctx.write("x" * 100)
                except trouper.AttemptOver as over:
                    told.append(str(over))

            outside.start_soon(write_too_much)
            await trio.sleep(0.001)

        limits = trouper.RuntimeOptions(jobs=trouper.JobLimits(pending_bytes=10))
        url = f"sqlite:///{tmp_path / 'chat.db'}"
        async with opened(leaves, url=url, seams=slow_seams(), options=limits) as runtime:
            ended = await runtime.wait((await runtime.submit(leaves.call(), user="ada")).id)
            assert told == [f"attempt 1 of job {ended.id} is over"]
