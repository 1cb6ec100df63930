"""What the sweep finds, every 5 s, of which every other word was lost."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trouper
from tests.supervisor.support import Feed, Open, VirtualWall
from trouper.actors.notifier import Notifier


@trouper.job
async def work(ctx: trouper.JobContext) -> int:
    return ctx.attempt


@pytest.mark.clause("J5", "J6")
async def test_a_row_that_runs_without_an_actor_is_given_back_by_the_sweep(
    opened: Open, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine whose claim told of nothing that it had started."""
    async with opened(work, seams=VirtualWall.seams()) as runtime:
        claim = runtime.store.claim
        untold: list[trouper.Job] = []

        async def claims(*values: Any, **named: Any) -> Any:
            told = await claim(*values, **named)
            if told.started and not untold:
                untold.extend(told.started)
                return attrs.evolve(told, started=())
            return told

        monkeypatch.setattr(runtime.store, "claim", claims)
        job = await runtime.submit(work.call(), user="ada")
        with trio.fail_after(6):
            ended = await runtime.wait(job.id)
        assert [row.attempt for row in untold] == [1]
        assert (ended.state, ended.result, ended.attempts_used) == (trouper.JobState.COMPLETED, "2", 0)


@pytest.mark.clause("E1", "N2")
async def test_sessions_hear_again_of_their_jobs_when_their_notifiers_quarantine_is_over(
    opened: Open, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing happens any more that would wake it: the job ended long ago."""
    receive, broken = Notifier.receive, False

    async def fails(self: Notifier, message: Any) -> None:
        if broken:
            raise ValueError("a bug of ours")
        await receive(self, message)

    monkeypatch.setattr(Notifier, "receive", fails)
    async with opened(work, seams=VirtualWall.seams()) as runtime, runtime.open_session("ada") as channel:
        feed = Feed()
        await feed.follow(channel, lambda: feed.seq is not None)
        broken = True
        jobs = []
        for _ in range(5):
            jobs.append(await runtime.submit(work.call(), user="ada"))
            await trio.sleep(3)
        last = jobs[-1].id
        await wait_all_tasks_blocked()
        assert runtime.statistics()["notifiers"]["gave_up"] == 1
        assert last not in feed.jobs
        broken = False
        await trio.sleep(70)
        await feed.follow(channel, lambda: last in feed.jobs)
        assert feed.jobs[last].state is trouper.JobState.COMPLETED
