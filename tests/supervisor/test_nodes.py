"""Two runtimes on one store: each job runs once, whoever is cut off, and whatever a node's clocks show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.store.shared_memory import Line, SharedMemory
from tests.supervisor.nodes import LEASE, Node, node_of
from trouper.actors.reports import ReportKind
from trouper.store.leases import Lease


@asynccontextmanager
async def running_on(a: Node, spec: Any, **arguments: Any) -> AsyncIterator[tuple[trouper.Job, Node]]:
    """A job that runs on ``a``, and another node that came later."""
    job = await a.runtime.submit(spec.call(**arguments), user="ada")
    await trio.sleep(1)
    assert [row.id for row in await a.store.running()] == [job.id]
    async with node_of(a.store.shared, "b", spec) as b:
        yield job, b


@attrs.define
class Runs:
    """What the attempts of jobs did, and when."""

    seen: list[tuple[str, int, str, float]] = attrs.field(factory=list)
    """(job id, attempt, what, when)."""

    def note(self, ctx: trouper.JobContext, what: str) -> None:
        self.seen.append((ctx.job_id, ctx.attempt, what, trio.current_time()))

    def times(self, attempt: int, what: str) -> list[float]:
        return [at for _, number, did, at in self.seen if (number, did) == (attempt, what)]


def long_job(runs: Runs, *, attempts: int = 3) -> Any:
    @trouper.job(retry=trouper.Retry(attempts=attempts))
    async def long(ctx: trouper.JobContext, *, seconds: float) -> int:
        runs.note(ctx, "begun")
        try:
            await ctx.write(f"<{ctx.attempt}>")
            await ctx.savepoint(ctx.attempt)
            for _ in range(round(seconds)):
                await trio.sleep(1)
                await ctx.write(".")
        except trio.Cancelled:
            runs.note(ctx, "stopped")
            raise
        runs.note(ctx, "done")
        return ctx.attempt

    return long


@pytest.mark.clause("J6")
@pytest.mark.parametrize("line", ["down", "silent"])
@pytest.mark.parametrize("late_s", [0.0, 5000.0])
async def test_what_a_cut_off_node_ran_is_run_by_the_other_once_it_has_let_go(
    line: Line, late_s: float, autojump_clock: MockClock
) -> None:
    shared, runs = SharedMemory(lease=LEASE), Runs()
    long = long_job(runs)
    async with node_of(shared, "a", long, late_s=late_s) as a:
        job = await a.runtime.submit(long.call(seconds=60), user="ada")
        await trio.sleep(12)
        async with node_of(shared, "b", long) as b:
            cut_at = trio.current_time()
            a.store.cut(line)
            ended = await b.runtime.wait(job.id)
            assert (ended.state, ended.attempt, ended.result) == (trouper.JobState.COMPLETED, 2, "2")
            (stopped,), (again,) = runs.times(1, "stopped"), runs.times(2, "begun")
            assert cut_at < stopped <= cut_at + LEASE.seconds - LEASE.margin_s
            assert stopped + LEASE.margin_s <= again, "the other one waits for the store's clock"
            assert len(a.told(ReportKind.LEASE_LOST)) == 1
            assert a.runtime.statistics()["lease"]["held"] == 0
            text = await b.runtime.text(job.id)
            assert text == "<1><2>" + "." * 60, "cut to the savepoint, and nothing late of the first"
            a.store.heal()
            await trio.sleep(20)
            assert await a.runtime.text(job.id) == text
            assert a.runtime.statistics()["lease"]["held"] == 1
            assert len(await b.runtime.inbox("ada")) == 1
            assert await a.runtime.job(job.id) == await b.runtime.job(job.id) == ended
            assert not b.told(ReportKind.LEASE_LOST)
        # It takes work again, under a boot of its own.
        other = await a.runtime.submit(long.call(seconds=2), user="ada")
        assert (await a.runtime.wait(other.id)).attempt == 1
        assert len(await a.runtime.inbox("ada")) == 2


@pytest.mark.clause("J6")
async def test_a_write_that_was_on_its_way_when_the_lease_ended_is_refused(
    autojump_clock: MockClock,
) -> None:
    """A task that will not be cancelled goes on writing, through a line that was only silent."""
    shared = SharedMemory(lease=LEASE)
    outcomes: list[str] = []

    @trouper.job(retry=trouper.Retry(attempts=3))
    async def deaf(ctx: trouper.JobContext) -> int:
        await ctx.write(f"<{ctx.attempt}>")
        if ctx.attempt > 1:
            await trio.sleep(50)
            return ctx.attempt
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
            for act in (ctx.write("late"), ctx.savepoint("late"), ctx.notify(key="late", title="late")):
                try:
                    await act
                    outcomes.append("went")
                except trouper.AttemptOver:
                    outcomes.append("over")
        return ctx.attempt

    async with node_of(shared, "a", deaf) as a:
        job = await a.runtime.submit(deaf.call(), user="ada")
        await trio.sleep(1)
        async with node_of(shared, "b", deaf) as b:
            a.store.cut("silent")
            await trio.sleep(45)
            assert (await b.runtime.job(job.id)).attempt == 2
            assert a.told(ReportKind.STUCK), "trio cannot kill it; it is told with its stack"
            a.store.heal()
            await trio.sleep(20)
            assert outcomes == ["over", "over", "over"]
            ended = await b.runtime.wait(job.id)
            assert (ended.state, ended.result, ended.attempts_used) == (trouper.JobState.COMPLETED, "2", 1)
            assert await b.runtime.text(job.id) == "<2>"
            assert [row.kind for row in await b.runtime.inbox("ada")] == ["ended"]


async def test_a_finish_that_was_on_its_way_when_the_lease_ended_ends_nothing(
    autojump_clock: MockClock,
) -> None:
    shared, runs = SharedMemory(lease=LEASE), Runs()
    long = long_job(runs)
    async with node_of(shared, "a", long) as a:
        job = await a.runtime.submit(long.call(seconds=15), user="ada")
        await trio.sleep(3)
        a.store.cut("silent")
        async with node_of(shared, "b", long) as b:
            await trio.sleep(40)
            assert runs.times(1, "done")
            assert (await b.runtime.job(job.id)).state is trouper.JobState.RUNNING
            a.store.heal()
            ended = await b.runtime.wait(job.id)
            assert (ended.attempt, ended.result) == (2, "2")
            assert len(await b.runtime.inbox("ada")) == 1


@pytest.mark.clause("J4")
async def test_two_nodes_share_one_queue_without_running_anything_twice(autojump_clock: MockClock) -> None:
    shared, runs = SharedMemory(lease=LEASE), Runs()
    long = long_job(runs)
    most = dict.fromkeys(("ada", "bob"), 0)
    options = {"max_running": 3, "max_running_per_user": 4}
    async with node_of(shared, "a", long, **options) as a, node_of(shared, "b", long, **options) as b:
        jobs = [await a.runtime.submit(long.call(seconds=3), user="ada") for _ in range(20)]
        jobs += [await b.runtime.submit(long.call(seconds=3), user="bob") for _ in range(4)]
        first_of_bob: list[int] = []
        while len(runs.times(1, "done")) < len(jobs):
            await trio.sleep(0.5)
            running = [*await a.store.running(), *await b.store.running()]
            assert len({job.id for job in running}) == len(running) <= 6
            for user in most:
                most[user] = max(most[user], sum(job.user == user for job in running))
            if not first_of_bob and any(job.user == "bob" for job in running):
                first_of_bob.append(len(runs.times(1, "done")))
        for job in jobs:
            assert (await b.runtime.wait(job.id)).attempt == 1
        assert sorted(job for job, _, what, _ in runs.seen if what == "begun") == sorted(j.id for j in jobs)
        assert max(most.values()) == 4, "the limit of a user is over both nodes"
        assert first_of_bob[0] < 4, "who came later does not wait for all of who came before"
        assert {len(await a.runtime.inbox(user)) for user in most} == {20, 4}


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
async def test_a_wall_clock_that_jumps_on_one_node_does_nothing(
    jump_s: float, autojump_clock: MockClock
) -> None:
    shared, runs = SharedMemory(lease=LEASE), Runs()
    long = long_job(runs)

    @trouper.job(retry=trouper.Retry(attempts=2))
    async def again(ctx: trouper.JobContext) -> int:
        runs.note(ctx, "again")
        if ctx.attempt == 1:
            raise trouper.Again("not yet", after=40)
        return ctx.attempt

    async with node_of(shared, "a", long, again) as a, node_of(shared, "b", long, again) as b:
        slow = await a.runtime.submit(long.call(seconds=200), user="ada")
        retried = await a.runtime.submit(again.call(), user="ada")
        await trio.sleep(1)
        a.wall_off_s = jump_s
        claims = a.store.statistics()["commits"]
        ended = await b.runtime.wait(retried.id)
        (first,), (second,) = runs.times(1, "again"), runs.times(2, "again")
        assert 40 <= second - first < 46, "when the store's clock says so, at the next look at the latest"
        assert (ended.state, ended.attempt) == (trouper.JobState.COMPLETED, 2)
        assert a.store.statistics()["commits"] - claims < 200, "it does not claim in vain again and again"
        assert (await a.runtime.wait(slow.id)).attempt == 1
    assert not a.told(ReportKind.LEASE_LOST)
    assert not b.told(ReportKind.LEASE_LOST)


@pytest.mark.clause("J2")
async def test_a_job_is_cancelled_from_a_node_that_does_not_run_it(autojump_clock: MockClock) -> None:
    shared, runs = SharedMemory(lease=LEASE), Runs()
    long = long_job(runs)
    async with node_of(shared, "a", long) as a, running_on(a, long, seconds=100) as (job, b):
        assert (await b.runtime.cancel(job.id, user="ada")).answer is trouper.CancelAnswer.ACCEPTED
        assert (await b.runtime.wait(job.id)).state is trouper.JobState.CANCELLED


@pytest.mark.clause("J2")
async def test_a_cancel_that_its_node_was_not_told_of_is_found_by_the_sweep(
    autojump_clock: MockClock,
) -> None:
    shared, runs = SharedMemory(lease=LEASE), Runs()
    long = long_job(runs)
    async with node_of(shared, "a", long) as a, running_on(a, long, seconds=100) as (job, b):
        a.store.cut("silent")
        await b.runtime.cancel(job.id, user="ada")
        a.store._missed.clear()
        a.store.heal()
        with trio.fail_after(a.runtime.options.sweep_interval_s + 1):
            assert (await b.runtime.wait(job.id)).state is trouper.JobState.CANCELLED


@pytest.mark.clause("J6")
async def test_a_node_that_ends_without_a_word_is_followed_by_the_other_after_its_lease(
    autojump_clock: MockClock,
) -> None:
    """As a process that dies: its store is gone with all that it would have written."""
    shared, runs = SharedMemory(lease=LEASE), Runs()
    long = long_job(runs)
    died = trio.Event()

    async def node_that_dies(task_status: trio.TaskStatus[Any]) -> None:
        async with node_of(shared, "a", long) as a:
            job = await a.runtime.submit(long.call(seconds=9), user="ada")
            await trio.sleep(1)
            task_status.started(job)
            await died.wait()
            a.store.cut("down")

    async with trio.open_nursery() as nursery:
        job = await nursery.start(node_that_dies)
        async with node_of(shared, "b", long) as b:
            died.set()
            asked = trio.current_time()
            ended = await b.runtime.wait(job.id)
            assert (ended.state, ended.attempt) == (trouper.JobState.COMPLETED, 2)
            assert trio.current_time() - asked < LEASE.seconds + 9 + b.runtime.options.sweep_interval_s


async def test_a_lease_is_kept_for_as_long_as_the_store_answers(autojump_clock: MockClock) -> None:
    shared, runs = SharedMemory(lease=LEASE), Runs()
    long = long_job(runs)
    async with node_of(shared, "a", long) as a:
        job = await a.runtime.submit(long.call(seconds=600), user="ada")
        for _ in range(5):  # shorter than what may be missed
            await trio.sleep(20)
            a.store.cut("down")
            await trio.sleep(10)
            a.store.heal()
        assert (await a.runtime.wait(job.id)).attempt == 1
        lease = a.runtime.statistics()["lease"]
        assert (lease["held"], lease["losses"], lease["seconds"], lease["margin_s"]) == (1, 0, 30.0, 10.0)
        assert 50 <= lease["renewals"] <= 100
    assert not a.told(ReportKind.LEASE_LOST)


async def test_a_store_with_one_owner_has_no_lease_to_lose(autojump_clock: MockClock) -> None:
    async with trouper.open_runtime("memory:", jobs=[]) as runtime:
        assert runtime.store.lease is None
        assert runtime.statistics()["lease"] == {}
        renewed = await runtime.store.renew(anew=True)
        assert (renewed.boot, renewed.anew) == (runtime.store.boot, False)


@pytest.mark.parametrize("margin_s", [0.0, 30.0, float("nan")])
def test_a_margin_lies_within_its_lease(margin_s: float) -> None:
    with pytest.raises(ValueError, match="margin_s"):
        Lease(seconds=30.0, margin_s=margin_s)


@pytest.mark.clause("N1")
async def test_a_hook_is_tried_again_by_the_store_s_clock_whatever_its_node_s_shows(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    @trouper.job
    async def work(ctx: trouper.JobContext) -> None:
        pass

    @work.on_ended(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=8, factor=1)))
    async def store_it(job: trouper.Job) -> None:
        tries.append(trio.current_time())
        if len(tries) == 1:
            raise RuntimeError("not now")

    shared = SharedMemory(lease=LEASE)
    async with node_of(shared, "a", work) as a:
        a.wall_off_s = 3600.0
        claims = [0]
        claim = a.store.claim_completions

        async def counted(limit: int, **begun: Any) -> Any:
            claims[0] += 1
            assert claims[0] < 100, "it asks again and again"
            return await claim(limit, **begun)

        monkeypatch.setattr(a.store, "claim_completions", counted)
        job = await a.runtime.submit(work.call(), user="ada")
        await a.runtime.wait(job.id)
        await trio.sleep(30)
        assert len(tries) == 2
        assert claims[0] < 20
