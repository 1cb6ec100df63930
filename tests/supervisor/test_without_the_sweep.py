"""Everything happens at once or when it is due. The sweep, every 5 s, is for words that were lost: here it
comes in a thousand seconds, so that what waits for it is seen to wait."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trouper
from tests.supervisor.support import Open, VirtualWall
from trouper.store.errors import StoreUnavailable
from trouper.supervisor.dynamic import DynamicSupervisor

SWEEP_S = 1000.0
BACKOFF = trouper.Backoff(base=40.0, factor=1.0, max=40.0)


@attrs.define
class Runs:
    """A job whose hook notes when it runs, and fails as often as it is told to."""

    fails: int = 0
    takes_s: float = 0.0
    at: list[float] = attrs.field(factory=list)

    def job(self, **retry: Any) -> Any:
        @trouper.job
        async def work(ctx: trouper.JobContext) -> None:
            await trio.lowlevel.checkpoint()

        @work.on_ended(retry=trouper.Retry(backoff=BACKOFF, **retry))
        async def hook(job: trouper.Job) -> None:
            self.at.append(trio.current_time())
            await trio.sleep(self.takes_s)
            if len(self.at) <= self.fails:
                raise OSError("not yet")

        return work


@asynccontextmanager
async def unswept(opened: Open, *jobs: Any, **options: Any) -> AsyncIterator[trouper.Runtime]:
    runtime_options = trouper.RuntimeOptions(sweep_interval_s=SWEEP_S, **options)
    seams = attrs.evolve(VirtualWall.seams(), random=Middle())
    async with opened(*jobs, options=runtime_options, seams=seams) as runtime:
        yield runtime


class Middle(random.Random):
    """Draws the middle: half of the longest wait."""

    def random(self) -> float:
        return 0.5


@pytest.mark.clause("N1")
async def test_a_hook_that_failed_is_tried_again_when_its_back_off_is_over(
    opened: Open, autojump_clock: MockClock
) -> None:
    runs = Runs(fails=3)
    work = runs.job(attempts=4)
    async with unswept(opened, work) as runtime:
        await runtime.submit(work.call(), user="ada")
        await trio.sleep(SWEEP_S / 2)
        assert runs.at == pytest.approx([runs.at[0] + 20 * n for n in range(4)], abs=0.01)


@pytest.mark.clause("N1")
async def test_a_hook_that_was_given_up_runs_as_soon_as_it_is_asked_for(
    opened: Open, autojump_clock: MockClock
) -> None:
    runs = Runs(fails=1)
    work = runs.job(attempts=1)
    async with unswept(opened, work) as runtime:
        job = await runtime.submit(work.call(), user="ada")
        await trio.sleep(10)
        assert await runtime.retry_completion(job.id)
        await trio.sleep(10)
        assert runs.at == pytest.approx([0, 10], abs=0.01)


@pytest.mark.clause("N1")
async def test_a_hook_that_waits_for_a_place_runs_when_another_has_ended(
    opened: Open, autojump_clock: MockClock
) -> None:
    runs = Runs(takes_s=7.0)
    work = runs.job()
    async with unswept(opened, work, max_hooks=1) as runtime:
        for _ in range(3):
            await runtime.submit(work.call(), user="ada")
        await trio.sleep(SWEEP_S / 2)
        assert runs.at == pytest.approx([0, 7, 14], abs=0.01)


@pytest.mark.clause("E1", "N1")
async def test_hooks_are_claimed_again_a_second_after_the_store_could_not(
    opened: Open, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs()
    work = runs.job()
    async with unswept(opened, work) as runtime:
        claim = runtime.store.claim_completions
        failed: list[float] = []

        async def down(*values: Any, **named: Any) -> Any:
            if runtime.store.statistics()["completions"] and len(failed) < 3:
                failed.append(trio.current_time())
                raise StoreUnavailable("the disk is full")
            return await claim(*values, **named)

        monkeypatch.setattr(runtime.store, "claim_completions", down)
        await runtime.submit(work.call(), user="ada")
        await trio.sleep(SWEEP_S / 2)
        assert [*failed, *runs.at] == pytest.approx([0, 1, 2, 3], abs=0.01)


@pytest.mark.clause("N1")
async def test_a_failure_that_only_the_next_incarnation_could_record_is_tried_again_when_due(
    opened: Open, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The actor that runs the hooks dies while the store does not hear how one went."""
    runs = Runs(fails=1)
    work = runs.job(attempts=2)
    async with unswept(opened, work) as runtime:
        store = runtime.store
        claim, settle = store.claim_completions, store.settle_completion
        down = crashing = False

        async def settles(*values: Any) -> Any:
            if down:
                raise StoreUnavailable("the disk is full")
            return await settle(*values)

        async def claims(*values: Any, **named: Any) -> Any:
            if crashing:
                raise ValueError("a bug of ours")
            return await claim(*values, **named)

        monkeypatch.setattr(store, "settle_completion", settles)
        monkeypatch.setattr(store, "claim_completions", claims)
        down = True
        job = await runtime.submit(work.call(), user="ada")
        await trio.sleep(5)
        crashing = True
        await runtime.retry_completion(job.id)  # wakes the actor
        await wait_all_tasks_blocked()
        crashing = False
        await trio.sleep(5)
        down = False
        await trio.sleep(SWEEP_S / 2)
        assert len(runs.at) == 2
        assert runs.at[1] - runs.at[0] < 35, "10 s of outage, a pause between two calls, and 20"


@pytest.mark.clause("J5")
async def test_an_attempt_without_an_actor_is_given_back_at_once_and_tried_again(
    opened: Open, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[float] = []

    @trouper.job
    async def work(ctx: trouper.JobContext) -> None:
        started.append(trio.current_time())

    start_child = DynamicSupervisor.start_child
    failed: list[str] = []

    async def fails(self: DynamicSupervisor, spec: Any) -> Any:
        if "#" in spec.name and not failed:
            failed.append(spec.name)
            raise OSError("no more tasks")
        return await start_child(self, spec)

    monkeypatch.setattr(DynamicSupervisor, "start_child", fails)
    async with unswept(opened, work) as runtime:
        job = await runtime.submit(work.call(), user="ada")
        await trio.sleep(SWEEP_S / 2)
        row = await runtime.job(job.id)
        assert row is not None
        assert (row.state, row.attempt, row.attempts_used) == (trouper.JobState.COMPLETED, 2, 0)
        assert started == pytest.approx([0], abs=0.01)


@pytest.mark.clause("J4")
async def test_a_job_that_waits_for_a_place_starts_when_another_has_ended(
    opened: Open, autojump_clock: MockClock
) -> None:
    started: list[float] = []

    @trouper.job
    async def work(ctx: trouper.JobContext) -> None:
        started.append(trio.current_time())
        await trio.sleep(7)

    async with unswept(opened, work, max_running=1) as runtime:
        for user in ("ada", "bob", "cy"):
            await runtime.submit(work.call(), user=user)
        await trio.sleep(SWEEP_S / 2)
        assert started == pytest.approx([0, 7, 14], abs=0.01)


@pytest.mark.clause("E1", "J1")
async def test_who_waits_for_an_end_hears_of_one_that_a_store_had_not_told_when_it_crashed(
    opened: Open, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    @trouper.job
    async def work(ctx: trouper.JobContext) -> None:
        await trio.sleep(1)

    async with unswept(opened, work) as runtime:
        store: Any = runtime.store
        tell = store._tell
        untold: list[Any] = []

        def crashes(notice: Any) -> None:
            if notice is not None and any(job.state.terminal for job in notice.jobs) and not untold:
                untold.append(notice)
                store._faults.append(RuntimeError("it dies behind its commit"))
                store._failed.set()
            else:
                tell(notice)

        monkeypatch.setattr(store, "_tell", crashes)
        job = await runtime.submit(work.call(), user="ada")
        with trio.fail_after(SWEEP_S / 2):
            ended = await runtime.wait(job.id)
        assert (ended.state, len(untold)) == (trouper.JobState.COMPLETED, 1)


@pytest.mark.clause("E1", "J5")
async def test_a_claim_that_the_store_could_not_carry_out_is_repeated_after_a_second(
    opened: Open, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []

    @trouper.job
    async def work(ctx: trouper.JobContext) -> None:
        times.append(trio.current_time())

    async with unswept(opened, work) as runtime:
        claim = runtime.store.claim

        async def down(*values: Any, **named: Any) -> Any:
            if len(times) < 3:
                times.append(trio.current_time())
                raise StoreUnavailable("the disk is full")
            return await claim(*values, **named)

        await trio.sleep(1)
        monkeypatch.setattr(runtime.store, "claim", down)
        await runtime.submit(work.call(), user="ada")
        await trio.sleep(SWEEP_S / 2)
        assert times == pytest.approx([1, 2, 3, 4], abs=0.01)
