"""Time in the runtime: idle attempts, waits in the queue, jobs that are put off, a clock that is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.supervisor.support import Feed, Open, SlowThread, echo, forever, slow_seams
from trouper.store.protocol import Admission

pytestmark = pytest.mark.clause("J5")

QUEUED, COMPLETED, FAILED = trouper.JobState.QUEUED, trouper.JobState.COMPLETED, trouper.JobState.FAILED
TIMED_OUT, LOST = trouper.JobState.TIMED_OUT, trouper.JobState.LOST
NOW = 1_000_000.0


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def file(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@attrs.define
class Clock:
    """A wall clock that goes with trio's and can be set."""

    set_by_s: float = 0.0

    def seams(self) -> trouper.Seams:
        return trouper.Seams(open_thread=SlowThread, wall=lambda: NOW + trio.current_time() + self.set_by_s)


# --- no entry for too long ---


async def test_an_attempt_without_an_entry_for_too_long_is_tried_again_and_ends_timed_out(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    began: list[float] = []

    @trouper.job(idle_timeout=10, retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=0)))
    async def silent(ctx: trouper.JobContext) -> None:
        began.append(trio.current_time())
        for _ in range(3):
            await trio.sleep(9)
            await ctx.write("x")
            await ctx.progress(1)
        await ctx.savepoint(0)
        for _ in range(100):
            await trio.sleep(1)
            await ctx.progress(2)
            await ctx.savepoint(1)

    reports: list[trouper.Report] = []
    async with opened(silent, url=url, seams=slow_seams(), reports=reports) as runtime:
        job = await runtime.submit(silent.call(), user="ada")
        with trio.fail_after(200):
            ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason, ended.attempt, ended.attempts_used) == (
            TIMED_OUT,
            "idle_timeout",
            2,
            2,
        )
        assert began[1] - began[0] == pytest.approx(27 + 10, abs=0.5)
        assert ended.error == "no entry of output came within the idle time-out"
        assert [report.reason for report in reports] == ["no entry of output came for 10 s"] * 2


async def test_output_at_less_than_the_idle_time_out_goes_on_for_ever(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    @trouper.job(idle_timeout=10)
    async def steady(ctx: trouper.JobContext) -> None:
        for number in range(20):
            await trio.sleep(9.9)
            await (ctx.write("x") if number % 2 else ctx.emit("tick"))

    async with opened(steady, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(steady.call(), user="ada")
        assert (await runtime.wait(job.id)).state is COMPLETED


class Stalls(SlowThread):
    """A thread that takes 8 s for everything from the tenth second on, as a disk that fails does."""

    async def run(self, call: Any) -> Any:
        if trio.current_time() >= 10:
            with trio.CancelScope(shield=True):
                await trio.sleep(8)
        return await super().run(call)


async def test_waiting_for_the_store_is_no_idleness(
    opened: Open, file: str, autojump_clock: MockClock
) -> None:
    @trouper.job(idle_timeout=5)
    async def saves(ctx: trouper.JobContext) -> None:
        await trio.sleep(12)
        for number in range(4):
            await ctx.savepoint(number)
            await trio.sleep(1)

    @trouper.job(idle_timeout=15)
    async def patient(ctx: trouper.JobContext) -> None:
        await trio.sleep(12)
        for number in range(4):
            await ctx.savepoint(number)
            await trio.sleep(0.5)

    @trouper.job(idle_timeout=21)
    async def waits(ctx: trouper.JobContext) -> None:
        await trio.sleep(11)
        await ctx.savepoint(1)
        await trio.sleep(8)

    seams = attrs.evolve(slow_seams(), open_thread=Stalls)
    options = trouper.RuntimeOptions(sweep_interval_s=1_000)  # it would ask the store as well
    async with opened(saves, patient, waits, url=file, seams=seams, options=options) as runtime:
        early = await runtime.submit(saves.call(), user="ada")
        long = await runtime.submit(waits.call(), user="eve")
        job = await runtime.submit(patient.call(), user="bob")
        assert (await runtime.wait(job.id)).state is COMPLETED, "12 s and 2 s without the store"
        assert (await runtime.wait(early.id)).reason == "idle_timeout", "12 s by itself"
        assert (await runtime.wait(long.id)).state is COMPLETED, "11 s, 8 s of the store's, and 8 s"


async def test_an_idle_attempt_that_does_not_end_is_left_behind_and_another_begins(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    @trouper.job(idle_timeout=1, retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=0)))
    async def stubborn(ctx: trouper.JobContext) -> int:
        if ctx.attempt == 1:
            with trio.move_on_after(30, shield=True):
                await trio.sleep_forever()
            await ctx.write("late")
        await ctx.write("second")
        return ctx.attempt

    async with opened(stubborn, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(stubborn.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.result, ended.attempts_used) == (COMPLETED, "2", 1)
        await trio.sleep(40)
        assert await runtime.text(job.id) == "second"


# --- put off ---


async def test_a_job_runs_at_its_time_and_not_before(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    async with opened(echo, url=url, seams=slow_seams()) as runtime:
        nine = datetime.fromtimestamp(NOW + 90, UTC)
        put_off = [{"delay": 60}, {"at": nine}, {"at": NOW + 120}]
        jobs = [await runtime.submit(echo.call(text="a"), user="ada", **when) for when in put_off]  # type: ignore[arg-type]
        began = [(await runtime.wait(job.id)).started_at for job in jobs]
        assert began == [pytest.approx(NOW + due, abs=0.2) for due in (60, 90, 120)]


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"at": datetime(2030, 1, 1)}, "has no time zone: legal are aware datetimes"),  # noqa: DTZ001
        ({"at": NOW, "delay": 1}, "at and delay are both given"),
        ({"delay": -1}, "delay=-1: legal are 0 to 600 seconds"),
        ({"delay": 601}, "delay=601: legal are"),
        ({"delay": float("nan")}, "delay=nan: legal are"),
        ({"at": NOW + 700}, "legal are seconds since the epoch, up to 600 from now"),
        ({"at": datetime.fromtimestamp(NOW, UTC) + timedelta(days=999)}, "up to 600 from now"),
        ({"delay": 1, "on_busy": "interrupt"}, "of a job that is put off: legal is 'enqueue'"),
    ],
)
async def test_a_time_that_is_not_legal_is_refused(
    opened: Open, autojump_clock: MockClock, when: dict[str, Any], message: str
) -> None:
    options = trouper.RuntimeOptions(max_delay_s=600)
    async with opened(echo, options=options, seams=slow_seams()) as runtime:
        with pytest.raises(trouper.BadArguments, match=message):
            await runtime.submit(echo.call(text="a"), user="ada", **when)
        assert await runtime.jobs("ada") == ()


# --- time in the queue ---


@trouper.job(queue_timeout=30)
async def soon(ctx: trouper.JobContext) -> None:
    await ctx.write("x")


async def test_a_job_that_finds_no_place_in_time_ends_timed_out(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    options = trouper.RuntimeOptions(max_running=1)
    async with opened(forever, soon, url=url, seams=slow_seams(), options=options) as runtime:
        await runtime.submit(forever.call(), user="ada")
        job = await runtime.submit(soon.call(), user="bob")
        began = trio.current_time()
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason, ended.attempts_used) == (TIMED_OUT, "queue_timeout", 0)
        assert trio.current_time() - began == pytest.approx(30, abs=0.2)
        assert [row.title for row in await runtime.inbox("bob")] == ["soon timed out"]


# --- names and arguments of another version of the application ---


@pytest.mark.clause("J6")
async def test_a_job_that_was_removed_waits_visibly_and_is_lost_after_a_while(
    opened: Open, file: str, autojump_clock: MockClock
) -> None:
    async with opened(forever, url=file, seams=slow_seams()) as runtime:
        job = await runtime.submit(forever.call(), user="ada")
        await trio.sleep(1)
    options = trouper.RuntimeOptions(unknown_job_s=600)
    began = trio.current_time()
    async with opened(echo, url=file, seams=slow_seams(), options=options) as runtime:
        async with runtime.open_session("ada") as channel:
            feed = Feed()
            await feed.follow(channel, until=lambda: job.id in feed.jobs and bool(feed.jobs[job.id].reason))
            assert (feed.jobs[job.id].state, feed.jobs[job.id].reason) == (QUEUED, "unknown_job")
        await trio.sleep(300)
    async with opened(echo, url=file, seams=slow_seams(), options=options) as runtime:
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason) == (LOST, "unknown_job")
        assert trio.current_time() - began == pytest.approx(600, abs=1)


@pytest.mark.clause("J6")
async def test_a_job_that_comes_back_goes_on_where_it_was(
    opened: Open, file: str, autojump_clock: MockClock
) -> None:
    @trouper.job(retry=trouper.Retry(attempts=2))
    async def later(ctx: trouper.JobContext) -> object:
        if ctx.saved is None:
            await ctx.savepoint("half")
            await trio.sleep_forever()
        return ctx.saved

    async with opened(later, url=file, seams=slow_seams()) as runtime:
        job = await runtime.submit(later.call(), user="ada")
        await trio.sleep(1)
    async with opened(echo, url=file, seams=slow_seams()) as runtime:
        await trio.sleep(100)
    async with opened(later, url=file, seams=slow_seams()) as runtime:
        assert (await runtime.wait(job.id)).result == '"half"'


@pytest.mark.clause("E1")
@pytest.mark.parametrize(
    "arguments", ['{"text": 7}', "{}", '{"text": "a", "more": 1}', "[]", "[1]", "7", "{"]
)
async def test_arguments_that_no_longer_fit_end_the_job_failed_and_say_why(
    opened: Open, url: str, autojump_clock: MockClock, arguments: str
) -> None:
    reports: list[trouper.Report] = []
    async with opened(echo, url=url, seams=slow_seams(), reports=reports) as runtime:
        three = attrs.evolve(echo.options, attempts=3)
        await runtime.store.admit(
            Admission(id="old", user="ada", name="echo", arguments=arguments, fingerprint="f", options=three)
        )
        ended = await runtime.wait("old")
        assert (ended.state, ended.reason, ended.attempt) == (FAILED, "fail", 1)
        assert ended.error is not None
        assert "stored arguments no longer fit" in ended.error
        assert reports == [], "it is no crash"


# --- the wall clock is set ---


@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
async def test_a_clock_that_is_set_disturbs_nothing_that_runs_or_waits(
    opened: Open, url: str, autojump_clock: MockClock, by_s: float
) -> None:
    @trouper.job(timeout=100, idle_timeout=50)
    async def steady(ctx: trouper.JobContext) -> None:
        for _ in range(9):
            await trio.sleep(10)
            await ctx.write("x")

    @trouper.job(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=60, max=60)))
    async def again(ctx: trouper.JobContext) -> None:
        if ctx.attempt == 1:
            raise trouper.Again(after=60)

    clock = Clock()
    options = trouper.RuntimeOptions(max_running=2, max_running_per_user=1)
    async with opened(steady, again, soon, forever, url=url, seams=clock.seams(), options=options) as runtime:
        running = await runtime.submit(steady.call(), user="ada")
        retried = await runtime.submit(again.call(), user="bob")
        await trio.sleep(1)
        delayed = await runtime.submit(soon.call(), user="eve", delay=40)
        waiting = await runtime.submit(soon.call(), user="ada")
        began = trio.current_time()
        await trio.sleep(5)
        clock.set_by_s = by_s

        ended: dict[str, tuple[trouper.JobState, int]] = {}

        async def note(job: trouper.Job) -> None:
            state = (await runtime.wait(job.id)).state
            ended[job.id] = state, round(trio.current_time() - began)

        with trio.fail_after(200):
            async with trio.open_nursery() as nursery:
                for job in (running, retried, delayed, waiting):
                    nursery.start_soon(note, job)
        assert ended == {
            running.id: (COMPLETED, 89),
            retried.id: (COMPLETED, 59),
            delayed.id: (COMPLETED, 40),
            waiting.id: (TIMED_OUT, 30),
        }


# --- what is shown ---


@pytest.mark.clause("E2")
async def test_the_statistics_show_how_many_jobs_wait_of_how_many_may(opened: Open) -> None:
    options = trouper.RuntimeOptions(max_running=1, max_queued=50)
    async with opened(forever, options=options) as runtime:
        for _ in range(3):
            await runtime.submit(forever.call(), user="ada")
        await trio.testing.wait_all_tasks_blocked()
        assert runtime.statistics()["queued"] == {"now": 2, "max": 50}


# --- what comes first, and what is counted ---


@pytest.mark.parametrize(("cancel_after_s", "state"), [(9, trouper.JobState.CANCELLED), (11, TIMED_OUT)])
async def test_the_first_reason_to_stop_is_the_reason_whatever_comes_while_the_job_cleans_up(
    opened: Open, autojump_clock: MockClock, cancel_after_s: float, state: trouper.JobState
) -> None:
    @trouper.job(timeout=10)
    async def tidy(ctx: trouper.JobContext) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    async with opened(tidy, seams=slow_seams()) as runtime:
        job = await runtime.submit(tidy.call(), user="ada")
        await trio.sleep(cancel_after_s)
        assert (await runtime.cancel(job.id)).answer is trouper.CancelAnswer.ACCEPTED
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason) == (state, {TIMED_OUT: "timeout"}.get(state, "user"))
        assert not ended.stuck, "3 s are within its grace of 5"
        assert trio.current_time() == pytest.approx(min(cancel_after_s, 10) + 3, abs=0.5)


@pytest.mark.parametrize("commit", ["write", "savepoint", "notify", "unsafe"])
async def test_each_commit_of_an_attempt_tells_how_long_it_has_run_so_that_a_death_forgets_no_more(
    opened: Open, autojump_clock: MockClock, commit: str
) -> None:
    @trouper.job(timeout=1_000)
    async def long(ctx: trouper.JobContext) -> None:
        await trio.sleep(60)
        if commit == "write":
            await ctx.write("so far")
        elif commit == "savepoint":
            await ctx.savepoint("here")
        elif commit == "notify":
            await ctx.notify(key="k", title="half-way")
        else:
            async with ctx.unsafe("charge"):
                await trio.sleep_forever()
        await trio.sleep_forever()

    async with opened(long, seams=slow_seams()) as runtime:
        job = await runtime.submit(long.call(), user="ada")
        await trio.sleep(100)
        row = await runtime.job(job.id)
        assert row is not None
        assert 60_000 <= row.used_ms < 62_000
