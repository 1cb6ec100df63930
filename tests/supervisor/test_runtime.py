"""The runtime in one process: jobs run, are watched, are cancelled, end; on the memory store."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trouper
from trouper.actors.channel_items import FeedChanges, FeedSnapshot
from trouper.store.protocol import Changes, Snapshot


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


Open = Callable[..., AbstractAsyncContextManager[trouper.Runtime]]


@pytest.fixture
def opened() -> Open:
    """Open a runtime whose reports are collected in ``runtime.reports``-like lists by the caller."""

    @asynccontextmanager
    async def open_one(
        *jobs: Any, reports: list[trouper.Report] | None = None, **options: Any
    ) -> AsyncIterator[trouper.Runtime]:
        heard = [] if reports is None else reports
        async with trouper.open_runtime("memory:", jobs=jobs, on_report=heard.append, **options) as runtime:
            yield runtime

    return open_one


async def pieces(runtime: trouper.Runtime, job_id: str) -> list[Any]:
    async with aclosing(runtime.read(job_id)) as output:
        return [piece async for piece in output]


@pytest.mark.clause("J1", "N1")
async def test_a_job_runs_to_its_end_and_leaves_one_notification(opened: Open) -> None:
    async with opened(echo) as runtime:
        job = await runtime.submit(echo.call(text="héllo"), user="ada", thread="t1")
        assert job.state is trouper.JobState.QUEUED
        ended = await runtime.wait(job.id)
        assert ended.state is trouper.JobState.COMPLETED
        assert ended.result == orjson.dumps({"length": 5}).decode()
        assert ended.sha256 == hashlib.sha256("héllo".encode()).hexdigest()
        assert await runtime.text(job.id) == "héllo"
        inbox = await runtime.inbox("ada")
        assert [(n.title, n.thread) for n in inbox] == [("echo completed", "t1")]
        assert await runtime.inbox("eve") == ()


@pytest.mark.clause("O6")
async def test_reading_along_ends_with_the_hash_and_on_nothing_else(opened: Open) -> None:
    async with opened(echo) as runtime:
        job = await runtime.submit(echo.call(text="abc"), user="ada")
        got = await pieces(runtime, job.id)
        assert "".join(p.text for p in got if isinstance(p, trouper.Text)) == "abc"
        sha256 = hashlib.sha256(b"abc").hexdigest()
        assert got[-1] == trouper.End(3, sha256, trouper.JobState.COMPLETED)
        assert await pieces(runtime, job.id) == [
            trouper.Rewind(1, 0),
            trouper.Text("abc"),
            got[-1],
        ]


@pytest.mark.clause("J3")
async def test_the_same_key_gives_the_same_job_and_other_content_is_a_conflict(opened: Open) -> None:
    async with opened(echo) as runtime:
        call = echo.call(text="a")
        first = await runtime.submit(call, user="ada", idempotency_key="k")
        await runtime.wait(first.id)
        again = await runtime.submit(call, user="ada", idempotency_key="k")
        assert again.id == first.id
        other = await runtime.submit(call, user="eve", idempotency_key="k")
        assert other.id != first.id
        with pytest.raises(trouper.Refusal, match="was used with other content"):
            await runtime.submit(echo.call(text="b"), user="ada", idempotency_key="k")


@pytest.mark.clause("J2")
async def test_a_running_job_is_cancelled_and_a_cancel_is_answered_once_durable(opened: Open) -> None:
    async with opened(forever) as runtime:
        job = await runtime.submit(forever.call(), user="ada")
        await wait_all_tasks_blocked()
        assert (await runtime.cancel(job.id, user="eve")).answer is trouper.CancelAnswer.UNKNOWN
        result = await runtime.cancel(job.id, user="ada")
        assert result.answer is trouper.CancelAnswer.ACCEPTED
        assert result.job is not None
        assert result.job.cancel_requested
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason) == (trouper.JobState.CANCELLED, "user")
        assert await runtime.text(job.id) == "begun"
        assert (await runtime.cancel(job.id)).answer is trouper.CancelAnswer.ALREADY_ENDED
        assert await runtime.inbox("ada") == ()


@pytest.mark.clause("J2")
async def test_a_queued_job_is_cancelled_without_running(opened: Open) -> None:
    options = trouper.RuntimeOptions(max_running=1)
    async with opened(forever, echo, options=options) as runtime:
        await runtime.submit(forever.call(), user="ada")
        queued = await runtime.submit(echo.call(text="a"), user="ada")
        await wait_all_tasks_blocked()
        await runtime.cancel(queued.id)
        ended = await runtime.wait(queued.id)
        assert (ended.state, ended.attempt) == (trouper.JobState.CANCELLED, 0)


@pytest.mark.clause("J2", "S5")
async def test_a_task_that_will_not_end_is_reported_and_its_job_ended_without_it(
    opened: Open, autojump_clock: MockClock
) -> None:
    refused: list[BaseException] = []
    release = trio.Event()

    @trouper.job
    async def stubborn(ctx: trouper.JobContext) -> None:
        with trio.CancelScope(shield=True):
            await release.wait()
            try:
                await ctx.write("too late")
            except trouper.AttemptOver as error:
                refused.append(error)

    reports: list[trouper.Report] = []
    async with opened(stubborn, reports=reports) as runtime:
        job = await runtime.submit(stubborn.call(), user="ada")
        await wait_all_tasks_blocked()
        await runtime.cancel(job.id)
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.stuck) == (trouper.JobState.CANCELLED, True)
        stuck = [report for report in reports if report.kind.value == "stuck"]
        assert len(stuck) == 1
        assert "stubborn" in stuck[0].detail
        release.set()
        await wait_all_tasks_blocked()
        assert len(refused) == 1
        assert await runtime.text(job.id) == ""


@pytest.mark.clause("J5")
async def test_a_crash_without_retry_fails_with_its_message_and_keeps_its_output(opened: Open) -> None:
    reports: list[trouper.Report] = []
    async with opened(broken, reports=reports) as runtime:
        job = await runtime.submit(broken.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.error) == (trouper.JobState.FAILED, "ValueError: no such model")
        assert await runtime.text(job.id) == "so far"
        assert [n.body for n in await runtime.inbox("ada")] == ["ValueError: no such model"]
        assert "no such model" in reports[0].detail


@pytest.mark.clause("J5", "O3")
async def test_a_retry_goes_on_at_the_savepoint_and_readers_are_rewound(
    opened: Open, autojump_clock: MockClock
) -> None:
    @trouper.job(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=30)))
    async def steps(ctx: trouper.JobContext) -> str:
        done = ctx.saved or 0
        for step in range(done, 3):
            await ctx.write(f"step {step}; ")
            if (ctx.attempt, step) == (1, 1):
                raise RuntimeError("cut")
            await ctx.savepoint(step + 1)
        return f"attempt {ctx.attempt}"

    async with opened(steps, seams=VirtualWall.seams()) as runtime:
        job = await runtime.submit(steps.call(), user="ada")
        got = await pieces(runtime, job.id)
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.attempt, ended.attempts_used) == (trouper.JobState.COMPLETED, 2, 1)
        assert ended.keeps == (0, 1)
        assert await runtime.text(job.id) == "step 0; step 1; step 2; "
        assert trouper.Rewind(2, 1) in got
        assert ended.sha256 == hashlib.sha256(b"step 0; step 1; step 2; ").hexdigest()


@pytest.mark.clause("J5")
async def test_fail_is_never_retried_and_again_not_before_its_time(
    opened: Open, autojump_clock: MockClock
) -> None:
    tried: list[float] = []

    @trouper.job(retry=trouper.Retry(attempts=5))
    async def hopeless(ctx: trouper.JobContext) -> None:
        raise trouper.Fail("400: bad prompt")

    @trouper.job(retry=trouper.Retry(attempts=5))
    async def limited(ctx: trouper.JobContext) -> None:
        tried.append(trio.current_time())
        if ctx.attempt == 1:
            raise trouper.Again("429", after=60)

    async with opened(hopeless, limited, seams=VirtualWall.seams()) as runtime:
        job = await runtime.submit(hopeless.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.attempt, ended.error) == (trouper.JobState.FAILED, 1, "400: bad prompt")
        job = await runtime.submit(limited.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert ended.state is trouper.JobState.COMPLETED
        assert tried[1] - tried[0] >= 60


@pytest.mark.clause("J5")
async def test_the_time_out_counts_running_time_over_all_attempts(
    opened: Open, autojump_clock: MockClock
) -> None:
    @trouper.job(timeout=100, retry=trouper.Retry(attempts=9, backoff=trouper.Backoff(base=0)))
    async def slow(ctx: trouper.JobContext) -> None:
        await trio.sleep(60)
        raise RuntimeError("again")

    async with opened(slow, seams=VirtualWall.seams()) as runtime:
        job = await runtime.submit(slow.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.attempt) == (trouper.JobState.TIMED_OUT, 2)
        assert 100_000 <= ended.used_ms < 101_000


async def test_jobs_of_one_thread_run_one_after_the_other_and_others_beside_them(opened: Open) -> None:
    order: list[str] = []
    go = {name: trio.Event() for name in "abc"}

    @trouper.job
    async def step(ctx: trouper.JobContext, *, name: str) -> None:
        order.append(f"+{name}")
        await go[name].wait()
        order.append(f"-{name}")

    async with opened(step) as runtime:
        a = await runtime.submit(step.call(name="a"), user="ada", thread="t")
        b = await runtime.submit(step.call(name="b"), user="ada", thread="t")
        await runtime.submit(step.call(name="c"), user="eve", thread="t")
        with pytest.raises(trouper.Refusal, match="is busy with job"):
            await runtime.submit(step.call(name="a"), user="ada", thread="t", on_busy="reject")
        await wait_all_tasks_blocked()
        assert sorted(order) == ["+a", "+c"]
        go["a"].set()
        await runtime.wait(a.id)
        go["b"].set()
        await runtime.wait(b.id)
        assert order.index("-a") < order.index("+b")


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
async def test_an_attempt_whose_actor_dies_of_a_bug_of_ours_is_finished_as_a_crash(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trouper.actors.job_actor import JobActor

    def bug(*_: Any) -> None:
        raise AssertionError("a bug of ours")

    monkeypatch.setattr(JobActor, "_judge", bug)
    async with opened(echo) as runtime:
        job = await runtime.submit(echo.call(text="a"), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason) == (trouper.JobState.FAILED, "actor_died")
        assert await runtime.text(job.id) == "a"


@pytest.mark.clause("S3")
async def test_system_exit_out_of_a_job_is_a_crash_of_its_attempt_only(opened: Open) -> None:
    @trouper.job
    async def leaves(ctx: trouper.JobContext) -> None:
        raise SystemExit(3)

    async with opened(leaves, echo) as runtime:
        job = await runtime.submit(leaves.call(), user="ada")
        assert (await runtime.wait(job.id)).error == "SystemExit: 3"
        job = await runtime.submit(echo.call(text="still here"), user="ada")
        assert (await runtime.wait(job.id)).state is trouper.JobState.COMPLETED


@pytest.mark.clause("S3")
async def test_a_crash_is_not_hidden_by_a_cleanup_that_awaits(opened: Open) -> None:
    @trouper.job
    async def messy(ctx: trouper.JobContext) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                raise KeyError("the real reason")
            finally:
                await trio.lowlevel.checkpoint()

    async with opened(messy) as runtime:
        job = await runtime.submit(messy.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert ended.error is not None
        assert "the real reason" in ended.error


@pytest.mark.clause("E1")
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda ctx: ctx.write("\ud800"), "lone surrogate"),
        (lambda ctx: ctx.write(7), "write takes text, got int"),
        (lambda ctx: ctx.emit("big", "x" * 20_000), "legal are up to 16384"),
        (lambda ctx: ctx.emit("", 1), "legal are 1 to 100 characters"),
        (lambda ctx: ctx.emit("what", object()), "is not JSON"),
        (lambda ctx: ctx.savepoint(object()), "is not JSON"),
        (lambda ctx: ctx.notify(key="", title="t"), "legal are 1 to 200 characters"),
    ],
)
async def test_bad_output_is_refused_at_the_call_and_what_was_written_before_stays(
    opened: Open, bad: Callable[[Any], Any], message: str
) -> None:
    @trouper.job
    async def writes(ctx: trouper.JobContext) -> None:
        await ctx.write("good")
        await bad(ctx)

    async with opened(writes) as runtime:
        job = await runtime.submit(writes.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert ended.state is trouper.JobState.FAILED
        assert message in str(ended.error)
        assert await runtime.text(job.id) == "good"


@pytest.mark.clause("E2")
async def test_output_beyond_its_bound_fails_clearly_and_keeps_what_was_produced(opened: Open) -> None:
    limits = trouper.JobLimits(output_bytes=100)

    @trouper.job
    async def chatty(ctx: trouper.JobContext) -> None:
        while True:
            await ctx.write("x" * 30)

    async with opened(chatty, options=trouper.RuntimeOptions(jobs=limits)) as runtime:
        job = await runtime.submit(chatty.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert "would go beyond 100 bytes" in str(ended.error)
        assert await runtime.text(job.id) == "x" * 90


@pytest.mark.clause("E2")
async def test_submits_beyond_the_queue_are_refused_and_can_be_tried_again(opened: Open) -> None:
    options = trouper.RuntimeOptions(max_running=1, max_queued=1)
    async with opened(forever, options=options) as runtime:
        await runtime.submit(forever.call(), user="ada")
        await wait_all_tasks_blocked()
        await runtime.submit(forever.call(), user="ada")
        with pytest.raises(trouper.Refusal, match="1 jobs are queued, which is the limit") as refusal:
            await runtime.submit(forever.call(), user="ada")
        assert refusal.value.retryable


@pytest.mark.clause("N1")
async def test_a_notification_of_a_job_is_left_once_over_all_attempts(opened: Open) -> None:
    @trouper.job(retry=trouper.Retry(attempts=3, backoff=trouper.Backoff(base=0)))
    async def tells(ctx: trouper.JobContext) -> None:
        await ctx.notify(key="half", title="half way", body="10 of 20")
        if ctx.attempt < 3:
            raise RuntimeError("again")

    async with opened(tells) as runtime:
        job = await runtime.submit(tells.call(), user="ada")
        await runtime.wait(job.id)
        titles = [n.title for n in await runtime.inbox("ada")]
        assert sorted(titles) == ["half way", "tells completed"]


@pytest.mark.clause("N2", "N3", "N5")
async def test_one_session_hears_of_all_jobs_with_absolute_counts(opened: Open) -> None:
    async with opened(echo) as runtime, runtime.open_session("ada") as channel:
        feed = Feed()
        await feed.follow(channel, until=lambda: feed.seq == 0)
        jobs = [await runtime.submit(echo.call(text=str(n)), user="ada") for n in range(3)]
        await runtime.submit(echo.call(text="other"), user="eve")
        await feed.follow(channel, until=lambda: feed.counts == trouper.Counts(3, 3))
        assert {id: job.state.value for id, job in feed.jobs.items()} == {job.id: "completed" for job in jobs}
        counts = await runtime.mark("ada", "read", job_id=jobs[0].id)
        assert counts == trouper.Counts(2, 2)
        await feed.follow(channel, until=lambda: feed.counts == counts)


@pytest.mark.clause("N6", "N2")
async def test_a_notifier_lives_only_while_its_user_has_sessions(opened: Open) -> None:
    async with opened(echo) as runtime:
        notifiers = runtime._tree.notifiers
        job = await runtime.submit(echo.call(text="a"), user="ada")
        await runtime.wait(job.id)
        assert notifiers.statistics().children == 0
        async with runtime.open_session("ada"), runtime.open_session("ada"), runtime.open_session("eve"):
            await wait_all_tasks_blocked()
            assert notifiers.statistics().children == 2
        await wait_all_tasks_blocked()
        assert notifiers.statistics().children == 0


@pytest.mark.clause("N2")
async def test_a_notifier_that_crashes_serves_the_sessions_that_were_there(
    opened: Open, autojump_clock: MockClock
) -> None:
    async with opened(echo) as runtime, runtime.open_session("ada") as channel:
        feed = Feed()
        await feed.follow(channel, until=lambda: feed.seq == 0)
        runtime._tree.notifiers.ref("ada").tell("not a message")  # type: ignore[arg-type]
        job = await runtime.submit(echo.call(text="a"), user="ada")
        await feed.follow(channel, until=lambda: feed.counts == trouper.Counts(1, 1))
        assert feed.jobs[job.id].state is trouper.JobState.COMPLETED


@pytest.mark.clause("E3")
async def test_closing_the_runtime_releases_what_runs_and_the_next_start_goes_on(
    opened: Open,
) -> None:
    begun: list[int] = []
    finish = False

    @trouper.job
    async def long(ctx: trouper.JobContext) -> None:
        begun.append(ctx.attempt)
        await ctx.savepoint("here")
        if not finish:
            await trio.sleep_forever()

    async with opened(long) as runtime:
        store = runtime.store
        job = await runtime.submit(long.call(), user="ada")
        await wait_all_tasks_blocked()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        row = await store.job(job.id)
        assert row is not None
        assert (row.state.value, row.reason, row.attempts_used) == ("queued", "released", 0)
        nursery.cancel_scope.cancel()
    assert begun == [1]


@pytest.mark.clause("S5")
async def test_a_runtime_that_was_closed_leaves_no_task_behind(opened: Open) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with opened(echo, forever) as runtime, runtime.open_session("ada") as channel:
        job = await runtime.submit(forever.call(), user="ada")
        channel.attach(job.id, 0, 0)
        await wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert channel.closed


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
