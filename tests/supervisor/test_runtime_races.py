"""What can come between two steps: the runtime on SQLite, whose thread takes its time (virtually)."""

from __future__ import annotations

import sqlite3
from contextlib import aclosing, closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trouper
import trouper.testing
from tests.supervisor.support import Feed, Open, echo, forever, slow_seams
from trouper.actors.channel_items import GoneItem

COMPLETED, CANCELLED = trouper.JobState.COMPLETED, trouper.JobState.CANCELLED


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.mark.clause("J2")
@pytest.mark.parametrize("batch", [1, 8])
async def test_a_cancel_that_was_accepted_is_never_lost_wherever_it_falls(
    opened: Open, url: str, autojump_clock: MockClock, batch: int
) -> None:
    options = trouper.RuntimeOptions(sweep_interval_s=1_000)  # which would find it too, but late
    async with opened(forever, url=url, seams=slow_seams(), options=options) as runtime:
        for pause_ms in range(120):
            jobs = [await runtime.submit(forever.call(), user=f"user{n}") for n in range(batch)]
            await trio.sleep(pause_ms / 1000)
            async with trio.open_nursery() as nursery:
                for job in jobs:
                    nursery.start_soon(runtime.cancel, job.id)
            with trio.fail_after(30):  # noqa: ASYNC100  # in the comprehension
                assert [(await runtime.wait(job.id)).state for job in jobs] == [CANCELLED] * batch


@pytest.mark.clause("E2", "J5")
async def test_tasks_of_one_job_that_write_while_the_store_is_behind_all_go_on(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    @trouper.job
    async def busy(ctx: trouper.JobContext) -> None:
        async def write() -> None:
            for _ in range(20):
                await ctx.write("x" * 60_000)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(write)

    async with opened(busy, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(busy.call(), user="ada")
        with trio.fail_after(60):
            assert (await runtime.wait(job.id)).state is COMPLETED
        assert len(await runtime.text(job.id)) == 3 * 20 * 60_000


@pytest.mark.clause("J5", "O3")
async def test_a_savepoint_beside_a_task_that_writes_stands_where_it_was_asked_for(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    @trouper.job(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=0)))
    async def both(ctx: trouper.JobContext) -> None:
        async def write() -> None:
            for number in range(50):
                await ctx.write(f"{number} ")
                await trio.sleep(0.005)

        if ctx.attempt == 2:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            for number in range(5):
                await trio.sleep(0.02)
                await ctx.savepoint(number)
        raise RuntimeError("again")

    async with opened(both, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(both.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.attempt, ended.saved) == (COMPLETED, 2, "4")
        assert await runtime.text(job.id) == "".join(f"{number} " for number in range(ended.entries))
        assert 0 < ended.entries < 50


@pytest.mark.clause("J6", "E3")
async def test_a_release_while_an_unsafe_step_is_being_recorded_waits_for_its_end(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    charged: list[int] = []

    @trouper.job
    async def pay(ctx: trouper.JobContext) -> None:
        if charged:
            return
        async with ctx.unsafe("charge card"):
            charged.append(ctx.attempt)
            await ctx.savepoint("charged")
        await trio.sleep_forever()

    for pause_ms in range(10, 200, 10):
        charged.clear()
        async with opened(pay, url=url, seams=slow_seams()) as runtime:
            job = await runtime.submit(pay.call(), user="ada")
            await trio.sleep(pause_ms / 1000)
            began = trio.current_time()
        assert trio.current_time() - began < 2, "it stops as soon as the step has ended"
        async with opened(pay, url=url, seams=slow_seams()) as runtime:
            if not charged:
                await runtime.cancel(job.id)
            ended = await runtime.wait(job.id)
            assert ended.state in (COMPLETED, CANCELLED), (pause_ms, ended.reason)
            assert len(charged) <= 1


@pytest.mark.clause("E3")
async def test_stopping_while_jobs_are_being_claimed_does_not_wait_for_their_grace(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    for pause_ms in range(0, 150, 10):
        async with opened(forever, url=url, seams=slow_seams()) as runtime:
            for number in range(4):
                await runtime.submit(forever.call(), user=f"user{number}")
            await trio.sleep(pause_ms / 1000)
            began = trio.current_time()
        assert trio.current_time() - began < 2, pause_ms


@pytest.mark.clause("J2", "J6")
async def test_an_attempt_after_a_stuck_one_is_not_taken_for_stuck(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    @trouper.job
    async def stubborn(ctx: trouper.JobContext) -> int:
        if ctx.attempt == 1:
            with trio.move_on_after(8, shield=True):
                await trio.sleep_forever()
        await ctx.savepoint("second")
        await trio.sleep(20)
        return ctx.attempt

    async with opened(stubborn, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(stubborn.call(), user="ada")
        await trio.sleep(1)
    async with opened(stubborn, url=url, seams=slow_seams()) as runtime:
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.attempt, ended.attempts_used) == (COMPLETED, 2, 0)


@pytest.mark.clause("E1", "E2")
async def test_tasks_that_do_not_end_take_places_and_give_them_back(
    opened: Open, autojump_clock: MockClock
) -> None:
    release = trio.Event()

    @trouper.job
    async def stubborn(ctx: trouper.JobContext) -> None:
        with trio.CancelScope(shield=True):
            await release.wait()

    options = trouper.RuntimeOptions(max_running=1)
    async with opened(stubborn, echo, options=options) as runtime:
        for _ in range(2):
            job = await runtime.submit(stubborn.call(), user="ada")
            await wait_all_tasks_blocked()
            await runtime.cancel(job.id)
            assert (await runtime.wait(job.id)).stuck
        waiting = await runtime.submit(echo.call(text="a"), user="eve")
        await trio.sleep(30)
        row = await runtime.job(waiting.id)
        assert row is not None
        assert row.state is trouper.JobState.QUEUED
        release.set()
        with trio.fail_after(30):
            assert (await runtime.wait(waiting.id)).state is COMPLETED


# --- damage ---


@trouper.job(retry=trouper.Retry(attempts=3))
async def long_output(ctx: trouper.JobContext) -> None:
    if ctx.attempt == 1:
        for number in range(8):
            await ctx.write(f"{number}" * 16_000)
            await ctx.write("-" * 16_000)
            await ctx.write("=" * 16_000)
            await ctx.savepoint(number)
        await trio.sleep_forever()


def damage(path: Path) -> None:
    """Overwrite a block in the middle of the only output there is."""
    with closing(sqlite3.connect(path)) as connection, connection:
        starts = [start for (start,) in connection.execute("SELECT start FROM blocks ORDER BY start")]
        assert len(starts) >= 3
        connection.execute("UPDATE blocks SET body = x'ff00' WHERE start = ?", (starts[1],))


async def read_all(runtime: trouper.Runtime, job_id: str) -> int:
    """How many pieces there are."""
    async with aclosing(runtime.read(job_id)) as output:
        return len([piece async for piece in output])


@pytest.mark.clause("E1")
async def test_a_job_whose_output_is_damaged_is_lost_alone_and_the_others_run(
    opened: Open, url: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(long_output, echo, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(long_output.call(), user="ada")
        await trio.sleep(5)
    damage(tmp_path / "store.db")
    reports: list[trouper.Report] = []
    async with opened(long_output, echo, url=url, seams=slow_seams(), reports=reports) as runtime:
        others = [await runtime.submit(echo.call(text="a"), user=f"user{n}") for n in range(3)]
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason) == (trouper.JobState.LOST, "undecodable")
        assert [(await runtime.wait(other.id)).state for other in others] == [COMPLETED] * 3
        assert [report.reason.partition(":")[0] for report in reports if report.kind.value != "shutdown"] == [
            "'long_output' lost its output"
        ]
        assert len(await runtime.inbox("ada")) == 1


@pytest.mark.clause("E1", "N2")
async def test_reading_damaged_output_says_so_and_the_session_hears_on(
    opened: Open, url: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(long_output, echo, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(long_output.call(), user="ada")
        await trio.sleep(5)
        await runtime.cancel(job.id)
        await runtime.wait(job.id)
    damage(tmp_path / "store.db")
    async with opened(echo, url=url, seams=slow_seams()) as runtime, runtime.open_session("ada") as channel:
        feed = Feed()
        await feed.follow(channel, until=lambda: feed.seq is not None)
        with pytest.raises(trouper.StoreRefused, match="cannot be read"):
            await read_all(runtime, job.id)
        channel.attach(job.id, 1, 0)
        gone: list[GoneItem] = []
        while not gone:
            await trio.sleep(0.1)
            items = channel.take(1 << 20)
            gone += [item for item in items if isinstance(item, GoneItem)]
            sent = channel.statistics().sent_bytes
            channel.ack(sent, 0)
        assert gone == [GoneItem(job.id, "damaged")]
        other = await runtime.submit(echo.call(text="a"), user="ada")
        await feed.follow(channel, until=lambda: other.id in feed.jobs and feed.counts.unread == 1)


# --- the test kit ---


async def test_a_simulated_crash_falls_into_the_first_attempt_or_nowhere() -> None:
    @trouper.job(retry=trouper.Retry(attempts=3))
    async def twice(ctx: trouper.JobContext) -> None:
        await ctx.write(f"{ctx.attempt} ")
        if ctx.attempt == 1:
            raise RuntimeError("by itself")
        await ctx.write("more")

    result = await trouper.testing.run_job(twice, crash_at=2)
    assert (result.state, result.attempts, result.text) == (COMPLETED, 2, "2 more")
