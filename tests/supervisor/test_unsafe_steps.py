"""A step that must not be repeated, until a savepoint is behind it (J6, E3)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.supervisor.support import Open, slow_seams, waiting

AGAIN = trouper.Retry(attempts=3, backoff=trouper.Backoff(base=0))


@pytest.mark.clause("J6")
async def test_an_unsafe_step_that_was_under_way_is_never_repeated(opened: Open) -> None:
    charged: list[int] = []

    @trouper.job(retry=trouper.Retry(attempts=5, backoff=trouper.Backoff(base=0)))
    async def pay(ctx: trouper.JobContext) -> None:
        async with ctx.unsafe("charge card"):
            charged.append(ctx.attempt)
            raise ConnectionError("no answer")

    async with opened(pay) as runtime:
        job = await runtime.submit(pay.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason) == (trouper.JobState.LOST, "unsafe:charge card")
        assert charged == [1]


@pytest.mark.clause("J6")
async def test_an_unsafe_step_that_was_saved_inside_of_its_block_is_not_repeated_after_a_crash_behind_it(
    opened: Open,
) -> None:
    charged: list[int] = []

    @trouper.job(retry=trouper.Retry(attempts=3, backoff=trouper.Backoff(base=0)))
    async def pay(ctx: trouper.JobContext) -> Any:
        if ctx.saved is None:
            async with ctx.unsafe("charge card"):
                charged.append(ctx.attempt)
                await ctx.savepoint({"receipt": 7})
        if ctx.attempt < 3:
            raise ConnectionError("the mail server is away")
        return ctx.saved

    async with opened(pay) as runtime:
        ended = await runtime.wait((await runtime.submit(pay.call(), user="ada")).id)
        assert (ended.state, ended.attempt, ended.result) == (
            trouper.JobState.COMPLETED,
            3,
            '{"receipt":7}',
        )
        assert charged == [1]


@pytest.mark.clause("J6")
async def test_a_crash_behind_an_unsafe_step_that_was_not_saved_is_the_last(opened: Open) -> None:
    charged: list[int] = []

    @trouper.job(retry=AGAIN)
    async def pay(ctx: trouper.JobContext) -> None:
        async with ctx.unsafe("charge card"):
            charged.append(ctx.attempt)
        raise ConnectionError("the mail server is away")

    async with opened(pay) as runtime:
        ended = await runtime.wait((await runtime.submit(pay.call(), user="ada")).id)
        assert (ended.state, ended.reason, charged) == (trouper.JobState.FAILED, "crash", [1])
        assert ended.error == (
            "ConnectionError: the mail server is away (not tried again without a savepoint behind the unsafe "
            "step 'charge card')"
        )


@pytest.mark.clause("J6")
async def test_an_idle_time_out_behind_an_unsafe_step_that_was_not_saved_is_the_last(
    opened: Open, autojump_clock: MockClock
) -> None:
    charged: list[int] = []

    @trouper.job(retry=AGAIN, idle_timeout=5)
    async def pay(ctx: trouper.JobContext) -> None:
        async with ctx.unsafe("charge card"):
            charged.append(ctx.attempt)
        await trio.sleep_forever()

    async with opened(pay) as runtime:
        ended = await runtime.wait((await runtime.submit(pay.call(), user="ada")).id)
        assert (ended.state, ended.reason) == (trouper.JobState.TIMED_OUT, "idle_timeout")
        assert charged == [1]


@pytest.mark.clause("J6", "J8")
async def test_nothing_is_asked_behind_an_unsafe_step_before_it_is_saved(
    opened: Open, autojump_clock: MockClock
) -> None:
    @trouper.job
    async def pay(ctx: trouper.JobContext) -> None:
        async with ctx.unsafe("charge card"):
            await ctx.write("charged")
        with pytest.raises(
            trouper.BadState, match="without a savepoint behind the unsafe step 'charge card'"
        ):
            await ctx.ask_user("A receipt?")
        await ctx.savepoint("charged")
        await ctx.ask_user("A receipt?")

    async with opened(pay) as runtime:
        job = await runtime.submit(pay.call(), user="ada")
        await waiting(runtime, job.id)
        row = await runtime.job(job.id)
        assert row is not None
        assert (row.saved, row.unsafe) == ('"charged"', None)


@pytest.mark.clause("J6")
async def test_the_savepoint_behind_one_unsafe_step_is_asked_of_the_next_one_too(opened: Open) -> None:
    steps: list[str] = []

    @trouper.job(retry=AGAIN)
    async def ship(ctx: trouper.JobContext) -> Any:
        if ctx.saved is None:
            async with ctx.unsafe("charge card"):
                steps.append("charge")
            async with ctx.unsafe("send parcel"):
                steps.append("send")
            await ctx.savepoint("sent")
        if ctx.attempt == 1:
            raise ConnectionError("the mail server is away")
        async with ctx.unsafe("thank"):
            steps.append("thank")
        raise ConnectionError("the mail server is away")

    async with opened(ship) as runtime:
        ended = await runtime.wait((await runtime.submit(ship.call(), user="ada")).id)
        assert (ended.state, ended.attempt, ended.unsafe) == (trouper.JobState.FAILED, 2, "thank")
        assert steps == ["charge", "send", "thank"]


@pytest.mark.clause("E3", "J6")
@pytest.mark.parametrize("saves_after_s", [1, None])
async def test_a_rolling_restart_waits_for_the_savepoint_behind_an_unsafe_step(
    opened: Open, tmp_path: Path, autojump_clock: MockClock, saves_after_s: float | None
) -> None:
    charged: list[int] = []

    @trouper.job
    async def pay(ctx: trouper.JobContext) -> Any:
        if ctx.saved is None:
            async with ctx.unsafe("charge card"):
                charged.append(ctx.attempt)
            await trio.sleep(math.inf if saves_after_s is None else saves_after_s)
            await ctx.savepoint("charged")
            await trio.sleep_forever()
        return ctx.saved

    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with opened(pay, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(pay.call(), user="ada")
        await trio.sleep(0.5)
    async with opened(pay, url=url, seams=slow_seams()) as runtime:
        ended = await runtime.wait(job.id)
    if saves_after_s is None:
        assert (ended.state, ended.reason) == (trouper.JobState.LOST, "unsafe:charge card")
    else:
        assert (ended.state, ended.result, ended.attempts_used) == (
            trouper.JobState.COMPLETED,
            '"charged"',
            0,
        )
    assert charged == [1]
