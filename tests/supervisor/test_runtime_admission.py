"""Submitting to the runtime: limits per user, and turns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trouper
from tests.supervisor.support import Feed, Open, echo, forever
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


@pytest.mark.clause("J4", "J5")
@pytest.mark.parametrize(("how", "kept"), [("interrupt", "begun"), ("rollback", "")])
async def test_a_submit_stops_what_runs_in_its_thread_and_starts_when_that_has_ended(
    opened: Open, how: Any, kept: str
) -> None:
    async with opened(forever, echo) as runtime:
        running = await runtime.submit(forever.call(), user="ada", thread="t")
        waiting = await runtime.submit(forever.call(), user="ada", thread="t")
        await wait_all_tasks_blocked()
        new = await runtime.submit(echo.call(text="new"), user="ada", thread="t", on_busy=how)
        assert (await runtime.wait(new.id)).state is trouper.JobState.COMPLETED
        for job in (running, waiting):
            ended = await runtime.wait(job.id)
            assert (ended.state, ended.reason) == (trouper.JobState.CANCELLED, "superseded")
        assert await runtime.text(running.id) == kept
        assert [row.job for row in await runtime.inbox("ada")] == [new.id]


@pytest.mark.clause("J5")
async def test_a_job_that_returns_although_it_was_interrupted_is_not_completed(opened: Open) -> None:
    @trouper.job
    async def deaf(ctx: trouper.JobContext) -> str:
        with trio.CancelScope(shield=True):
            await go.wait()
        return "done"

    go = trio.Event()
    async with opened(deaf) as runtime:
        job = await runtime.submit(deaf.call(), user="ada", thread="t")
        await wait_all_tasks_blocked()
        await runtime.submit(deaf.call(), user="ada", thread="t", on_busy="interrupt")
        go.set()
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason, ended.result) == (trouper.JobState.CANCELLED, "superseded", None)


@pytest.mark.clause("J4", "O3")
async def test_who_reads_along_is_told_that_a_rolled_back_output_is_gone(opened: Open) -> None:
    async with opened(forever, echo) as runtime:
        job = await runtime.submit(forever.call(), user="ada", thread="t")
        got: list[Any] = []
        async with aclosing(runtime.read(job.id)) as output:
            async for piece in output:
                got.append(piece)
                if piece == trouper.Text("begun"):
                    await runtime.submit(echo.call(text=""), user="ada", thread="t", on_busy="rollback")
    empty = hashlib.sha256().hexdigest()
    assert got[-2:] == [trouper.Rewind(2, 0, 0, 0), trouper.End(0, empty, True, trouper.JobState.CANCELLED)]


@pytest.mark.clause("J4", "N3")
async def test_a_session_is_given_its_feed_anew_when_a_rollback_took_a_notification(opened: Open) -> None:
    @trouper.job
    async def telling(ctx: trouper.JobContext) -> None:
        await ctx.notify(key="half", title="half way")
        await trio.sleep_forever()

    feed = Feed()
    async with opened(telling, echo) as runtime, runtime.open_session("ada") as session:
        job = await runtime.submit(telling.call(), user="ada", thread="t")
        await feed.follow(session, lambda: feed.counts.unseen == 1)
        new = await runtime.submit(echo.call(text=""), user="ada", thread="t", on_busy="rollback")
        ended = await runtime.wait(new.id)
        # A feed given anew holds active jobs only: the one that ended may be in it or not.
        await feed.follow(session, lambda: feed.seq is not None and feed.seq >= ended.feed_seq)
        assert feed.counts.unseen == 1
        assert [row.job for row in await runtime.inbox("ada")] == [new.id]
        assert (await runtime.wait(job.id)).state is trouper.JobState.CANCELLED


@pytest.mark.clause("J2")
async def test_a_cancel_by_key_may_come_before_its_submit(opened: Open) -> None:
    async with opened(forever) as runtime:
        early = await runtime.cancel_key("k", user="ada")
        assert early == trouper.CancelResult(trouper.CancelAnswer.ACCEPTED)
        job = await runtime.submit(forever.call(), user="ada", idempotency_key="k")
        assert (job.state, job.reason) == (trouper.JobState.CANCELLED, "user")
        running = await runtime.submit(forever.call(), user="bob", idempotency_key="k")
        await wait_all_tasks_blocked()
        await runtime.cancel_key("k", user="bob")
        assert (await runtime.wait(running.id)).state is trouper.JobState.CANCELLED
        with pytest.raises(trouper.BadArguments):
            await runtime.cancel_key("", user="ada")


@pytest.mark.clause("E1")
@pytest.mark.parametrize("wrong", [echo, "echo", None, {"job": "echo"}])
async def test_what_is_no_call_is_refused_with_what_is(opened: Open, wrong: Any) -> None:
    async with opened(echo) as runtime:
        with pytest.raises(TypeError, match=r"legal is reply\.call\(…\), of a job reply"):
            await runtime.submit(wrong, user="ada")


@pytest.mark.clause("E1")
async def test_the_job_in_the_place_of_its_id_is_told_and_not_taken_for_an_unknown_one(opened: Open) -> None:
    async with opened(echo) as runtime:
        job: Any = await runtime.submit(echo.call(text="a"), user="ada")
        asked: list[Callable[[Any], Any]] = [
            runtime.job,
            runtime.wait,
            runtime.cancel,
            runtime.text,
            runtime.retry_completion,
            lambda id: runtime.signal(id, 1),
            lambda id: runtime.answer(id, "k", 1),
        ]
        for ask in asked:
            with pytest.raises(trouper.BadArguments, match="is Job: legal is text, the job's id"):
                await ask(job)
            with pytest.raises(trouper.BadArguments, match="has a lone surrogate"):
                await ask("\ud800")
        with pytest.raises(trouper.BadArguments, match="is Job: legal is text, the job's id"):
            runtime.read(job)
        for listed in (runtime.jobs, runtime.threads, runtime.inbox):
            with pytest.raises(trouper.BadArguments, match="user None is NoneType: legal is text"):
                await listed(None)  # type: ignore[arg-type]


@pytest.mark.clause("J4")
async def test_what_is_to_become_of_a_busy_thread_needs_a_thread(opened: Open) -> None:
    async with opened(echo) as runtime:
        for how in ("reject", "interrupt", "rollback"):
            with pytest.raises(trouper.BadArguments, match="of a job without a thread: legal is 'enqueue'"):
                await runtime.submit(echo.call(text="a"), user="ada", on_busy=how)
        for wrong in (b"t", "\ud800", ""):
            with pytest.raises(trouper.BadArguments, match=r"^thread "):
                await runtime.submit(echo.call(text="a"), user="ada", thread=wrong)  # type: ignore[arg-type]


@pytest.mark.clause("J3", "J4")
async def test_a_refusal_because_of_another_job_names_it(opened: Open) -> None:
    async with opened(forever, echo) as runtime:
        first = await runtime.submit(forever.call(), user="ada", thread="t", idempotency_key="k")
        with pytest.raises(trouper.KeyConflict) as conflict:
            await runtime.submit(echo.call(text="a"), user="ada", idempotency_key="k")
        with pytest.raises(trouper.ThreadIsBusy) as busy:
            await runtime.submit(echo.call(text="a"), user="ada", thread="t", on_busy="reject")
        assert conflict.value.job_id == busy.value.job_id == first.id
