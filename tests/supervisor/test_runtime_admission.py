"""Submitting to the runtime: limits per user, and turns."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trouper
from tests.supervisor.support import Open, echo, forever
from trouper.supervisor.refusals import QueueIsFull, UserQueueIsFull


@pytest.mark.clause("J4")
async def test_a_user_whose_queue_is_full_is_told_so_and_may_try_again(opened: Open) -> None:
    options = trouper.RuntimeOptions(max_running=1, max_queued_per_user=1, max_queued=2)
    async with opened(forever, echo, options=options) as runtime:
        await runtime.submit(forever.call(), user="ada")
        await wait_all_tasks_blocked()
        await runtime.submit(echo.call(text="a"), user="ada")
        with pytest.raises(UserQueueIsFull, match="1 of your jobs are queued") as caught:
            await runtime.submit(echo.call(text="b"), user="ada")
        assert (caught.value.code, caught.value.retryable) == ("user_queue_full", True)
        await runtime.submit(echo.call(text="c"), user="bob")
        with pytest.raises(QueueIsFull):
            await runtime.submit(echo.call(text="d"), user="cy")


@pytest.mark.clause("J4")
async def test_one_user_does_not_take_all_places(opened: Open) -> None:
    options = trouper.RuntimeOptions(max_running=3, max_running_per_user=2)
    async with opened(forever, options=options) as runtime:
        for user in ("ada", "ada", "ada", "bob"):
            await runtime.submit(forever.call(), user=user)
        await wait_all_tasks_blocked()
        states = {user: [job.state.value for job in await runtime.jobs(user)] for user in ("ada", "bob")}
        assert states == {"ada": ["queued", "running", "running"], "bob": ["running"]}


@pytest.mark.clause("J4")
async def test_users_take_turns_at_the_one_place_there_is(opened: Open) -> None:
    order: list[str] = []
    begin = trio.Event()

    @trouper.job
    async def note(ctx: trouper.JobContext, *, name: str) -> None:
        await begin.wait()
        order.append(name)

    async with opened(note, options=trouper.RuntimeOptions(max_running=1)) as runtime:
        jobs = [
            await runtime.submit(note.call(name=f"{user}{place}"), user=user)
            for user in ("ada", "bob")
            for place in range(3)
        ]
        begin.set()
        for job in jobs:
            await runtime.wait(job.id)
    assert order == ["ada0", "bob0", "ada1", "bob1", "ada2", "bob2"]
