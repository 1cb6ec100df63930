"""A disk that hangs under a runtime: what goes on, who is told, and that it ends in time, its process too."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.faults.outages import Kind, SqliteOutage
from tests.supervisor.support import Open, VirtualWall, echo
from trouper.actors.channel_items import OutputItem
from trouper.actors.output_pieces import Transcript
from trouper.actors.reports import ReportKind
from trouper.supervisor.child_spec import ChildContext, ChildSpec

ANSWER_S = 10.0
CLOSE_S = 5.0
SHUTDOWN_S = 30.0
"""The defaults, as docs/bounds.md has them."""


@pytest.fixture
def outage(tmp_path: Path) -> SqliteOutage:
    return SqliteOutage(tmp_path)


@pytest.mark.clause("E1", "O2", "S5")
async def test_while_a_disk_hangs_what_is_committed_is_read_and_nothing_more_and_then_all_goes_on(
    opened: Open, outage: SqliteOutage, autojump_clock: MockClock
) -> None:
    more = trio.Event()

    @trouper.job
    async def tale(ctx: trouper.JobContext) -> str:
        await ctx.write("once upon ")
        await ctx.savepoint("half")
        await more.wait()
        await ctx.write("a time")
        return "told"

    async def read(runtime: trouper.Runtime, job_id: str, held: Transcript) -> None:
        async for piece in runtime.read(job_id):
            held.add(piece)

    async with opened(tale, echo, url=outage.open, seams=VirtualWall.seams()) as runtime:
        job = await runtime.submit(tale.call(), user="ada")
        first, second = Transcript(), Transcript()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, runtime, job.id, first)
            await trio.sleep(1)
            outage.begin(Kind.HANGS)
            more.set()
            began = trio.current_time()
            with pytest.raises(trouper.StoreUnavailable, match="has not answered for"):
                await runtime.submit(echo.call(text="a"), user="ada", idempotency_key="k")
            assert trio.current_time() - began <= ANSWER_S
            await trio.sleep(100)
            assert first.text == "once upon ", "durable before visible"
            store = runtime.statistics()["store"]
            assert 90_000 < store["call_ms"] < 120_000
            assert store["call_ms_max"] == ANSWER_S * 1000
            with pytest.raises(trouper.StoreUnavailable, match="nothing was done"), trio.fail_after(0.1):
                await runtime.submit(echo.call(text="a"), user="ada", idempotency_key="k")
            async with runtime.open_session("ada") as channel:  # who comes now reads what is in memory
                channel.attach(job.id, 1, 0)
                items = channel.take(1024)
                assert [item.parts for item in items if isinstance(item, OutputItem)] == [["once upon "]]
            outage.end()
            await trio.sleep(1)
            nursery.start_soon(read, runtime, job.id, second)
        assert (first.text, second.text) == ("once upon a time", "once upon a time")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.attempt) == (trouper.JobState.COMPLETED, 1)
        again = await runtime.submit(echo.call(text="a"), user="ada", idempotency_key="k")
        assert (await runtime.wait(again.id)).state is trouper.JobState.COMPLETED


@pytest.mark.clause("E1")
async def test_a_job_that_has_no_more_room_for_output_is_given_back_after_its_patience(
    opened: Open, outage: SqliteOutage, autojump_clock: MockClock
) -> None:
    stopped_at: list[float] = []

    @trouper.job
    async def much(ctx: trouper.JobContext) -> None:
        try:
            while ctx.attempt == 1:
                await ctx.write("x" * 10_000)
                await trio.sleep(0.1)
        except trio.Cancelled:
            stopped_at.append(trio.current_time())
            raise

    async with opened(much, url=outage.open, seams=VirtualWall.seams()) as runtime:
        job = await runtime.submit(much.call(), user="ada")
        await trio.sleep(1)
        outage.begin(Kind.HANGS)
        hung_at = trio.current_time()
        await trio.sleep(120)
        outage.end()
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.attempt, ended.attempts_used) == (trouper.JobState.COMPLETED, 2, 0)
    full_after_s = 2.7
    assert stopped_at == [pytest.approx(hung_at + full_after_s + 30, abs=1)]


@pytest.mark.clause("S5")
@pytest.mark.parametrize("kind", [Kind.HANGS, Kind.HANGS_AND_WRITES])
@pytest.mark.parametrize("shutdown_s", [30.0, 8.0, 1.0, 0.0])
async def test_a_runtime_ends_in_its_time_whatever_its_disk_does_and_says_what_was_left(
    opened: Open, outage: SqliteOutage, autojump_clock: MockClock, shutdown_s: float, kind: Kind
) -> None:
    reports: list[trouper.Report] = []

    @trouper.job(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=0)))
    async def long(ctx: trouper.JobContext) -> None:
        await ctx.savepoint("here")
        if ctx.attempt == 1:
            await trio.sleep_forever()

    options = trouper.RuntimeOptions(shutdown_total_s=shutdown_s)
    async with opened(
        long, url=outage.open, seams=VirtualWall.seams(), options=options, reports=reports
    ) as runtime:
        job = await runtime.submit(long.call(), user="ada")
        await trio.sleep(1)
        outage.begin(kind)
        began = trio.current_time()
    assert trio.current_time() - began <= max(shutdown_s, 0.5) + 0.001
    (left,) = (report for report in reports if report.kind is ReportKind.ABANDONED)
    assert (left.path, left.child) == ("runtime", "store")
    assert f"{outage.path} did not answer" in left.reason
    assert "Nothing that was acknowledged is lost" in left.reason
    assert "\n" not in left.reason
    assert [report.child for report in reports if report.kind is ReportKind.UNRECORDED] == [job.id]
    outage.end()
    async with opened(long, url=outage.open, seams=VirtualWall.seams()) as runtime:
        assert (await runtime.wait(job.id)).state is trouper.JobState.COMPLETED


@pytest.mark.clause("S5")
async def test_a_store_whose_turn_comes_late_has_its_time_all_the_same(
    opened: Open, outage: SqliteOutage, autojump_clock: MockClock
) -> None:
    """A gateway takes all the time that there is: what the jobs wrote last is committed nevertheless."""

    async def slow_to_end(context: ChildContext) -> None:
        context.started()
        await trio.sleep_forever()

    reports: list[trouper.Report] = []
    async with (
        trio.open_nursery() as nursery,
        opened(echo, url=outage.open, seams=VirtualWall.seams(), reports=reports) as runtime,
    ):
        slow = ChildSpec("slow", slow_to_end, shutdown_s=math.inf)
        nursery.start_soon(runtime.run_gateway, slow)  # noqa: ASYNC111  # stopped with the runtime
        job = await runtime.submit(echo.call(text="abc"), user="ada")
        await runtime.wait(job.id)
        began = trio.current_time()
    assert SHUTDOWN_S - CLOSE_S <= trio.current_time() - began <= SHUTDOWN_S
    assert [report.kind for report in reports if report.kind is not ReportKind.SHUTDOWN] == []
    async with opened(echo, url=outage.open, seams=VirtualWall.seams()) as runtime:
        assert await runtime.text(job.id) == "abc"


@pytest.mark.clause("S5")
async def test_an_opening_on_a_disk_that_hangs_is_one_error_in_its_time(
    opened: Open, outage: SqliteOutage, autojump_clock: MockClock
) -> None:
    outage.begin(Kind.HANGS)
    began = trio.current_time()
    with pytest.raises(trouper.StoreUnavailable, match="did not answer within 5 s"):
        async with opened(echo, url=outage.open, seams=VirtualWall.seams()):
            raise AssertionError("it opened")
    assert trio.current_time() - began <= 30 + CLOSE_S
    with trio.move_on_after(1) as scope:
        async with opened(echo, url=outage.open, seams=VirtualWall.seams()):
            raise AssertionError("it opened")
    assert scope.cancelled_caught
    outage.end()
    async with opened(echo, url=outage.open, seams=VirtualWall.seams()) as runtime:
        await runtime.submit(echo.call(text="a"), user="ada")


@pytest.mark.clause("E1", "J6", "S5")
async def test_a_store_that_crashed_beside_its_disk_is_started_again_when_that_has_let_go_of_the_file(
    opened: Open, outage: SqliteOutage, autojump_clock: MockClock
) -> None:
    reports: list[trouper.Report] = []

    @trouper.job(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=0)))
    async def tale(ctx: trouper.JobContext) -> int:
        await ctx.write(str(ctx.attempt))
        if ctx.attempt == 1:
            await trio.sleep_forever()
        return ctx.attempt

    def broken(notice: object) -> None:
        if outage.kind is None and not reports:
            outage.begin(Kind.HANGS)  # with the closing of the file
            raise RuntimeError("a listener's own fault")

    async with opened(tale, url=outage.open, seams=VirtualWall.seams(), reports=reports) as runtime:
        job = await runtime.submit(tale.call(), user="ada")
        await trio.sleep(1)
        runtime.store.listen(broken)
        with suppress(trouper.StoreUnavailable):
            await runtime.submit(tale.call(), user="eve")
        await trio.sleep(CLOSE_S - 1)
        outage.kind = None  # for whoever comes now; the call that is under way does not return yet
        await trio.sleep(8)
        in_use = [report.reason for report in reports if report.kind is ReportKind.START_FAILED]
        assert in_use
        assert "which is this one: maybe by a thread that was left" in in_use[-1]
        outage.end()
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.result) == (trouper.JobState.COMPLETED, "2")
    crashes = [report.reason for report in reports if report.kind is ReportKind.CRASH]
    assert len(crashes) == 1
    assert "did not answer within 5 s" in crashes[0]


# --- with a real thread ---

PROGRAM = """
import sys, threading, trio, trouper

hung, gate = threading.Event(), threading.Event()

def fault(site):
    if site == "admit.begun" and hung.is_set():
        gate.wait()  # as a disk that hangs: in the middle of a transaction, and for ever

@trouper.job
async def job(ctx):
    await ctx.savepoint("here")
    await trio.sleep_forever()

async def main():
    bounds = {"store_options": trouper.StoreOptions(answer_s=0.3, close_s=0.3, lock_wait_s=0)}
    told = lambda report: print(report.kind.value, flush=True)
    async with trouper.open_runtime(
        sys.argv[1], jobs=[job], seams=trouper.Seams(fault=fault), on_report=told, **bounds
    ) as runtime:
        print((await runtime.submit(job.call(), user="ada", idempotency_key="a")).id, flush=True)
        hung.set()
        try:
            await runtime.submit(job.call(), user="ada", idempotency_key="b")
        except trouper.StoreUnavailable:
            print("told", flush=True)
    try:
        async with trouper.open_runtime(sys.argv[1], jobs=[job], on_report=lambda _: None, **bounds):
            print("it was opened beside the thread that may still write")
    except trouper.StoreRefused:
        print("refused", flush=True)

trio.run(main)
print("the loop has ended", flush=True)
"""


@pytest.mark.slow
@pytest.mark.clause("S5")
async def test_a_process_ends_though_a_real_thread_of_it_never_comes_back(
    opened: Open, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    ended = subprocess.run(  # noqa: ASYNC221  # nothing else runs here
        [sys.executable, "-c", PROGRAM, url], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"/.*/store.db has not answered for \S+ s \(answer_s is 0.3\): .*\n", ended.stderr)
    id, *told = ended.stdout.split("\n")
    said = [line for line in told if line not in ("shutdown", "unrecorded", "stuck", "")]
    assert said == ["told", "abandoned", "refused", "the loop has ended"]
    async with opened(url=url) as runtime:
        assert [job.id for job in await runtime.jobs("ada")] == [id], "what was acknowledged, and no more"
