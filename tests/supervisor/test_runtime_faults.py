"""Jobs that misbehave: their attempt suffers, and nothing else does."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trouper
from tests.supervisor.support import Feed, Open, echo, forever
from trouper.actors.job_actor import JobActor
from trouper.actors.reports import ReportKind
from trouper.store import memory
from trouper.store.errors import StoreCorrupt
from trouper.store.protocol import Append, RefusalReason, Refused
from trouper.store.transactions import append
from trouper.supervisor import expiry
from trouper.supervisor.child_spec import ChildContext, ChildSpec
from trouper.supervisor.dynamic import DynamicSupervisor
from trouper.supervisor.refusals import GatewayFailed


@pytest.mark.clause("J6")
async def test_an_attempt_whose_actor_dies_of_a_bug_of_ours_is_finished_as_a_crash(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any) -> None:
        raise AssertionError("a bug of ours")

    monkeypatch.setattr(JobActor, "_judge", bug)
    async with opened(echo) as runtime:
        job = await runtime.submit(echo.call(text="a"), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason) == (trouper.JobState.FAILED, "actor_died")
        assert await runtime.text(job.id) == "a"


@pytest.mark.clause("E1", "J6")
async def test_an_attempt_whose_actor_is_gone_and_whose_output_is_damaged_is_lost(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any) -> None:
        raise AssertionError("a bug of ours")

    async def damaged(*_: Any) -> None:
        raise StoreCorrupt("a block cannot be read")

    monkeypatch.setattr(JobActor, "_judge", bug)
    monkeypatch.setattr(expiry, "hash_log", damaged)
    async with opened(echo) as runtime:
        job = await runtime.submit(echo.call(text="a"), user="ada")
        with trio.fail_after(5):
            ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason) == (trouper.JobState.LOST, "undecodable")
        assert len(runtime._tree.begun) == 0, "nothing of it is remembered"


@pytest.mark.clause("E1", "O2")
async def test_output_that_the_store_refuses_ends_the_attempt_with_what_it_has_accepted(
    opened: Open, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """The function has returned by then: so it is the finish that finds the log shorter than it was told."""

    def refuses(tables: Any, request: Append, outputs: Any) -> Any:
        if "refused" in request.entries:
            return Refused(RefusalReason.POISONED, request.start, "not this one")
        return append(tables, request, outputs)

    monkeypatch.setattr(memory, "append", refuses)

    @trouper.job
    async def work(ctx: trouper.JobContext) -> int:
        await ctx.write("kept")
        await trio.sleep(1)
        await ctx.write("refused")
        return 1

    async with opened(work) as runtime:
        job = await runtime.submit(work.call(), user="ada")
        with trio.fail_after(500):
            ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason) == (trouper.JobState.FAILED, "output")
        assert (ended.entries, ended.result) == (1, None)
        assert ended.sha256 == hashlib.sha256(b"kept").hexdigest()
        assert await runtime.text(job.id) == "kept"


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


class Panic(BaseException):
    """As a library raises it that is written in Rust."""


@pytest.mark.clause("E1")
@pytest.mark.parametrize("error", [Panic("no"), asyncio.CancelledError(), GeneratorExit()])
async def test_what_stands_beside_exception_ends_neither_the_process_nor_another_job(
    opened: Open, error: BaseException
) -> None:
    heard: list[str] = []

    @trouper.job(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=0)))
    async def panics(ctx: trouper.JobContext) -> None:
        await ctx.write("so far")
        raise error

    @panics.on_ended(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=0)))
    async def hook(job: trouper.Job) -> None:
        heard.append(job.state)
        if len(heard) == 1:
            raise error

    async with opened(panics, forever) as runtime:
        other = await runtime.submit(forever.call(), user="ada")
        ended = await runtime.wait((await runtime.submit(panics.call(), user="ada")).id)
        assert (ended.state, ended.attempt, ended.reason) == (trouper.JobState.FAILED, 2, "crash")
        assert (ended.error or "").startswith(type(error).__name__)
        with trio.fail_after(5):
            while runtime.statistics()["hooks"]["done"] == 0:  # noqa: ASYNC110  # a counter has no event
                await trio.lowlevel.checkpoint()
        assert heard == ["failed", "failed"]
        running = await runtime.job(other.id)
        assert running is not None
        assert (running.state, running.attempt) == (trouper.JobState.RUNNING, 1)


@pytest.mark.clause("S3")
async def test_an_interrupt_inside_a_job_passes_though_something_else_failed_beside_it(
    opened: Open,
) -> None:
    @trouper.job
    async def both(ctx: trouper.JobContext) -> None:
        raise BaseExceptionGroup("two at once", [ValueError("mine"), KeyboardInterrupt()])

    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        async with opened(both) as runtime:
            await runtime.submit(both.call(), user="ada")
            await trio.sleep_forever()


@pytest.mark.clause("S3", "J5")
@pytest.mark.parametrize(
    ("error", "attempts", "reason"),
    [
        (SystemExit(3), 2, "crash"),
        (trouper.Fail("for good"), 1, "fail"),
        (trouper.Again("later"), 2, "crash"),
    ],
)
async def test_what_comes_out_of_a_task_of_the_job_means_the_same_as_out_of_the_job(
    opened: Open, error: BaseException, attempts: int, reason: str
) -> None:
    @trouper.job(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=0)))
    async def splits(ctx: trouper.JobContext) -> None:
        async def part() -> None:
            raise error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(part)
            nursery.start_soon(trio.sleep_forever)

    async with opened(splits, echo) as runtime:
        ended = await runtime.wait((await runtime.submit(splits.call(), user="ada")).id)
        assert (ended.state, ended.attempt, ended.reason) == (trouper.JobState.FAILED, attempts, reason)
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
                await trio.lowlevel.checkpoint()  # noqa: ASYNC102  # that is what is tested

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
        (lambda ctx: ctx.emit("what", [1, math.nan]), "is not JSON: NaN and infinities have no JSON"),
        (lambda ctx: ctx.savepoint({"best": -math.inf}), "is not JSON: NaN and infinities have no JSON"),
        (lambda ctx: ctx.emit(7, 1), "event 7 is not JSON"),
        (lambda ctx: ctx.emit("deep", orjson.loads("[" * 101 + "]" * 101)), "legal are 100 levels"),
        (lambda ctx: ctx.savepoint(object()), "is not JSON"),
        (lambda ctx: ctx.notify(key="", title="t"), "legal are 1 to 200 characters"),
        (lambda ctx: ctx.progress(1, 2, "\ud800"), "legal is valid Unicode text"),
        (lambda ctx: ctx.progress(2**70), "legal are finite numbers up to 2^53"),
        (lambda ctx: ctx.progress(1, float("nan")), "legal are finite numbers up to 2^53"),
        (lambda ctx: ctx.progress("half"), "legal are finite numbers up to 2^53"),
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
async def test_submits_beyond_the_queue_are_refused_and_can_be_tried_again(opened: Open) -> None:
    options = trouper.RuntimeOptions(max_running=1, max_queued=1)
    async with opened(forever, options=options) as runtime:
        await runtime.submit(forever.call(), user="ada")
        await wait_all_tasks_blocked()
        await runtime.submit(forever.call(), user="ada")
        with pytest.raises(trouper.Refusal, match="1 jobs are queued, which is the limit") as refusal:
            await runtime.submit(forever.call(), user="ada")
        assert refusal.value.retryable


@pytest.mark.clause("E1", "S1")
async def test_after_a_crash_of_the_store_jobs_sessions_and_gateways_go_on(
    opened: Open, autojump_clock: MockClock
) -> None:
    """A listener that fails is a bug of ours that ends the store's task; what rests on it starts again."""
    gateways: list[int] = []

    async def gateway(context: ChildContext) -> None:
        gateways.append(context.incarnation)
        context.started()
        await context.stopping.wait()

    @trouper.job(retry=trouper.Retry(attempts=3))
    async def long(ctx: trouper.JobContext) -> int:
        await ctx.savepoint("begun")
        if ctx.attempt == 1:
            await trio.sleep_forever()
        return ctx.attempt

    reports: list[trouper.Report] = []
    async with trio.open_nursery() as nursery, opened(long, echo, reports=reports) as runtime:
        nursery.start_soon(runtime.run_gateway, ChildSpec("g", gateway))  # noqa: ASYNC111  # stopped before the runtime is
        job = await runtime.submit(long.call(), user="ada")
        async with runtime.open_session("ada") as channel:
            await wait_all_tasks_blocked()
            fail = [True]

            def listener(_: object) -> None:
                if fail and fail.pop():
                    raise AssertionError("a bug of ours")

            runtime.store.listen(listener)
            await runtime.submit(echo.call(text="a"), user="ada")
            ended = await runtime.wait(job.id)
            assert (ended.state, ended.result) == (trouper.JobState.COMPLETED, "2")
            await trio.sleep(1)
            assert len(gateways) == 2
            other = await runtime.submit(echo.call(text="b"), user="ada")
            await runtime.wait(other.id)
            feed = Feed()
            await feed.follow(channel, until=lambda: feed.counts.unread == 3)
        nursery.cancel_scope.cancel()
    assert any(report.kind.value == "crash" and report.child == "store" for report in reports)


@pytest.mark.clause("E1", "E2")
async def test_a_gateway_that_keeps_crashing_is_given_up_with_its_reason(
    opened: Open, autojump_clock: MockClock
) -> None:
    async def gateway(context: ChildContext) -> None:
        context.started()
        await trio.lowlevel.checkpoint()
        raise OSError("no such device")

    async with opened(echo) as runtime:
        with pytest.raises(GatewayFailed, match="no such device"):
            await runtime.run_gateway(ChildSpec("g", gateway))
        job = await runtime.submit(echo.call(text="a"), user="ada")
        assert (await runtime.wait(job.id)).state is trouper.JobState.COMPLETED


@pytest.mark.clause("E1")
async def test_an_attempt_whose_actor_cannot_be_started_is_reported_and_queued_again(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That start is ours and no attempt of the job's: it uses none up, and the next job goes on."""
    start_child = DynamicSupervisor.start_child
    left = [2]

    async def fails_twice(self: DynamicSupervisor, spec: ChildSpec) -> None:
        if self.name == "jobs" and left[0]:
            left[0] -= 1
            raise LookupError("a bug of ours")
        await start_child(self, spec)

    monkeypatch.setattr(DynamicSupervisor, "start_child", fails_twice)
    reports: list[trouper.Report] = []
    async with opened(echo, reports=reports) as runtime:
        job = await runtime.submit(echo.call(text="a"), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.attempts_used) == (trouper.JobState.COMPLETED, 0)
    told = [report for report in reports if report.kind is ReportKind.START_FAILED]
    assert [(report.child, report.incarnation) for report in told] == [(job.id, 1), (job.id, 2)]
    assert "no actor for 'echo', which is queued again: LookupError: a bug of ours" in told[0].reason
    assert "fails_twice" in told[0].detail
