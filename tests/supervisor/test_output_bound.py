"""``output_bytes``: how much a job may write, over all its attempts."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import trouper
from tests.supervisor.support import Open

AGAIN = trouper.Retry(attempts=5, backoff=trouper.Backoff(base=0))


@pytest.fixture(params=["memory:", "sqlite:///{folder}/store.db"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    form: str = request.param
    return form.format(folder=tmp_path)


def bounded(output_bytes: int) -> trouper.RuntimeOptions:
    return trouper.RuntimeOptions(jobs=trouper.JobLimits(output_bytes=output_bytes))


@pytest.mark.clause("E2")
async def test_output_beyond_its_bound_fails_clearly_and_keeps_what_was_produced(
    opened: Open, url: str
) -> None:
    @trouper.job(retry=AGAIN)
    async def chatty(ctx: trouper.JobContext) -> None:
        while True:
            await ctx.write("ö" * 15)

    async with opened(chatty, url=url, options=bounded(100)) as runtime:
        job = await runtime.submit(chatty.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert "has 120 bytes: legal are up to 100 (output_bytes)" in str(ended.error)
        assert (ended.state, ended.reason, ended.attempt) == (trouper.JobState.FAILED, "output_too_large", 1)
        assert await runtime.text(job.id) == "ö" * 45


@pytest.mark.clause("E2", "J5")
async def test_a_job_that_is_retried_for_ever_does_not_write_for_ever(opened: Open, url: str) -> None:
    """What its savepoints keep of each attempt adds up, however few bytes each of them writes."""

    @trouper.job(retry=trouper.Retry(attempts=1000, backoff=trouper.Backoff(base=0)))
    async def hopeless(ctx: trouper.JobContext) -> None:
        await ctx.emit("try", "x" * 15)  # 3 bytes of name, 17 of JSON
        await ctx.write("y" * 10)
        await ctx.savepoint(ctx.attempt)
        raise RuntimeError("on purpose")

    async with opened(hopeless, url=url, options=bounded(100)) as runtime:
        job = await runtime.submit(hopeless.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason, ended.attempt) == (trouper.JobState.FAILED, "output_too_large", 4)
        assert "has 110 bytes" in str(ended.error)
        assert await runtime.text(job.id) == "y" * 30
        assert ended.entries == 6


@pytest.mark.clause("E2", "O3")
async def test_output_that_a_retry_cuts_off_does_not_count_against_the_bound(opened: Open, url: str) -> None:
    @trouper.job(retry=AGAIN)
    async def clumsy(ctx: trouper.JobContext) -> None:
        await ctx.write("z" * 90)
        if ctx.attempt < 5:
            raise RuntimeError("on purpose")

    async with opened(clumsy, url=url, options=bounded(100)) as runtime:
        job = await runtime.submit(clumsy.call(), user="ada")
        assert (await runtime.wait(job.id)).state is trouper.JobState.COMPLETED


@pytest.mark.clause("E2", "E3")
async def test_the_bound_on_output_counts_what_was_written_before_a_restart(
    opened: Open, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    wrote = trio.Event()

    @trouper.job
    async def long(ctx: trouper.JobContext) -> None:
        await ctx.write("a" * 60)
        await ctx.savepoint(None)
        wrote.set()
        if ctx.attempt == 1:
            await trio.sleep_forever()

    async with opened(long, url=url, options=bounded(100)) as runtime:
        job = await runtime.submit(long.call(), user="ada")
        await wrote.wait()
    async with opened(long, url=url, options=bounded(100)) as runtime:
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason, ended.attempt) == (trouper.JobState.FAILED, "output_too_large", 2)
        assert await runtime.text(job.id) == "a" * 60


@pytest.mark.clause("E2")
async def test_the_largest_output_under_way_is_shown_beside_its_bound(opened: Open) -> None:
    wrote = trio.Event()

    @trouper.job
    async def long(ctx: trouper.JobContext) -> None:
        await ctx.write("a" * 60)
        wrote.set()
        await trio.sleep_forever()

    async with opened(long, options=bounded(100)) as runtime:
        await runtime.submit(long.call(), user="ada")
        await wrote.wait()
        assert (outputs := runtime.statistics()["outputs"])["bytes_most"] == 60
        assert outputs["bytes_max"] == 100
