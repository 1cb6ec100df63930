"""The runtime in one process: jobs run, are read, cancelled, retried, end; on the memory store."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trouper
from tests.supervisor.support import Open, VirtualWall, broken, echo, forever


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
        assert got[-1] == trouper.End(3, sha256, True, trouper.JobState.COMPLETED)
        assert await pieces(runtime, job.id) == [
            trouper.Rewind(1, 0, 0, 0),
            trouper.Text("abc"),
            got[-1],
        ]


@pytest.mark.clause("O1")
@pytest.mark.parametrize("cursor", [{"n": -1}, {"attempt": -1}, {"n": 2.5}, {"n": True}, {"attempt": "1"}])
async def test_a_cursor_that_no_output_has_is_refused_and_not_looked_for(
    opened: Open, cursor: dict[str, Any]
) -> None:
    async with opened(echo) as runtime:
        job = await runtime.submit(echo.call(text="a"), user="ada")
        with pytest.raises(trouper.BadArguments, match="of a cursor: legal are whole numbers from 0"):
            runtime.read(job.id, **cursor)


@pytest.mark.clause("J3")
async def test_the_same_key_gives_the_same_job_and_other_content_is_a_conflict(opened: Open) -> None:
    @trouper.job
    async def repeat(ctx: trouper.JobContext, *, text: str) -> None: ...

    async with opened(echo, repeat) as runtime:
        call = echo.call(text="a")
        first = await runtime.submit(call, user="ada", idempotency_key="k")
        await runtime.wait(first.id)
        again = await runtime.submit(call, user="ada", idempotency_key="k")
        assert again.id == first.id
        other = await runtime.submit(call, user="eve", idempotency_key="k")
        assert other.id != first.id
        for other_call, thread in ((echo.call(text="b"), None), (call, "t"), (repeat.call(text="a"), None)):
            with pytest.raises(trouper.Refusal, match="was used with other content"):
                await runtime.submit(other_call, user="ada", idempotency_key="k", thread=thread)
        assert [job.id for job in await runtime.jobs("ada")] == [first.id]


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
        assert trouper.Rewind(2, 1, len("step 0; "), 0) in got
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


async def test_what_is_asked_in_words_that_mean_nothing_is_refused_with_the_legal_ones(opened: Open) -> None:
    async with opened(echo) as runtime:
        for ask in (runtime.jobs, runtime.threads, runtime.inbox):
            for limit in (0, -3, "x", True):
                with pytest.raises(trouper.BadArguments, match="legal are whole numbers from 1"):
                    await ask("ada", limit=limit)  # type: ignore[arg-type]
        with pytest.raises(trouper.BadArguments, match="mark='sen': legal are 'seen', 'read', 'archived'"):
            await runtime.mark("ada", "sen", ids=["n"])  # type: ignore[arg-type]
        with pytest.raises(trouper.BadArguments, match="ids='one' is one text: legal are many ids"):
            await runtime.mark("ada", "seen", ids="one")
