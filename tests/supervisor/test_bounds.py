"""Each bound on what comes in is enforced; its error names the option, the limit and the size given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trouper
from tests.supervisor.support import Open, forever
from trouper.actors.notifier import ReadOutput, Wake
from trouper.store.errors import TrouperError

LIMIT = 20
LARGE = "ö" * 10
"""20 bytes, and 22 of JSON."""


@trouper.job
async def takes(ctx: trouper.JobContext, *, text: str) -> None:
    await trio.lowlevel.checkpoint()


IN_A_JOB: dict[str, tuple[Callable[[trouper.JobContext], Awaitable[Any]], str]] = {
    "output_bytes": (lambda ctx: ctx.write(LARGE + "!"), "has 21 bytes: legal are up to 20 (output_bytes)"),
    "saved_bytes": (lambda ctx: ctx.savepoint(LARGE), "has 22 bytes: legal are up to 20 (saved_bytes)"),
    "notification_bytes": (
        lambda ctx: ctx.notify(key="k", title="!", body=LARGE),
        "has 21 bytes: legal are up to 20 (notification_bytes)",
    ),
    "question_bytes": (
        lambda ctx: ctx.ask_user(LARGE, key="k"),
        "has 45 bytes: legal are up to 20 (question_bytes)",
    ),
}


@pytest.mark.clause("E1", "E2")
@pytest.mark.parametrize("option", IN_A_JOB)
async def test_what_a_job_does_beyond_a_bound_ends_it_with_the_name_of_that_bound(
    opened: Open, option: str
) -> None:
    does, says = IN_A_JOB[option]

    @trouper.job
    async def too_much(ctx: trouper.JobContext) -> None:
        await does(ctx)

    options = trouper.RuntimeOptions(jobs=trouper.JobLimits(**{option: LIMIT}))
    async with opened(too_much, options=options) as runtime:
        job = await runtime.submit(too_much.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert ended.state is trouper.JobState.FAILED
        assert says in str(ended.error)


@pytest.mark.clause("E2")
async def test_a_result_beyond_its_bound_ends_the_job_with_the_name_of_that_bound(opened: Open) -> None:
    @trouper.job
    async def gives(ctx: trouper.JobContext) -> str:
        await trio.lowlevel.checkpoint()
        return LARGE

    options = trouper.RuntimeOptions(jobs=trouper.JobLimits(result_bytes=LIMIT))
    async with opened(gives, options=options) as runtime:
        job = await runtime.submit(gives.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason) == (trouper.JobState.FAILED, "result")
        assert "has 22 bytes: legal are up to 20 (result_bytes)" in str(ended.error)


LONG = "x" * 201
FROM_OUTSIDE: dict[str, tuple[dict[str, Any], Callable[[trouper.Runtime, str], Awaitable[Any]], str]] = {
    "arguments_bytes": (
        {"arguments_bytes": LIMIT},
        lambda runtime, _: runtime.submit(takes.call(text=LARGE), user="ada"),
        "has 31 bytes: legal are up to 20 (arguments_bytes)",
    ),
    "signal_bytes": (
        {"signal_bytes": LIMIT},
        lambda runtime, job: runtime.signal(job, LARGE),
        "has 22 bytes of JSON: legal are up to 20 (signal_bytes)",
    ),
    "answer_bytes": (
        {"answer_bytes": LIMIT},
        lambda runtime, job: runtime.answer(job, "k", LARGE),
        "has 22 bytes of JSON: legal are up to 20 (answer_bytes)",
    ),
    "max_delay_s": (
        {"max_delay_s": 20.0},
        lambda runtime, _: runtime.submit(takes.call(text=""), user="ada", delay=21),
        "delay=21: legal are 0 to 20 seconds (max_delay_s)",
    ),
    "max_queued": (
        {"max_running": 1, "max_queued": 1},
        lambda runtime, _: runtime.submit(forever.call(), user="bob"),
        "1 jobs are queued, which is the limit (max_queued)",
    ),
    "max_queued_per_user": (
        {"max_running": 1, "max_queued_per_user": 1},
        lambda runtime, _: runtime.submit(forever.call(), user="ada"),
        "1 of your jobs are queued, which is the limit (max_queued_per_user)",
    ),
    "max_sessions": (
        {"max_sessions": 1},
        lambda runtime, _: runtime.open_session("bob").__aenter__(),
        "1 sessions are open, which is the limit (max_sessions)",
    ),
    "user": (
        {},
        lambda runtime, _: runtime.submit(forever.call(), user=LONG),
        "has 201: legal are texts of 1 to 200 characters",
    ),
    "a user that is no text": (
        {},
        lambda runtime, _: runtime.submit(forever.call(), user=7),  # type: ignore[arg-type]
        "user 7 is int: legal is text",
    ),
    "thread": (
        {},
        lambda runtime, _: runtime.submit(forever.call(), user="ada", thread=LONG),
        "thread 'xxxx",
    ),
    "key": (
        {},
        lambda runtime, _: runtime.submit(forever.call(), user="ada", idempotency_key=LONG),
        "idempotency key 'xxxx",
    ),
}


@pytest.mark.clause("E1", "E2")
@pytest.mark.parametrize("bound", FROM_OUTSIDE)
async def test_what_comes_in_beyond_a_bound_is_refused_with_its_name_and_changes_nothing(
    opened: Open, bound: str
) -> None:
    options, does, says = FROM_OUTSIDE[bound]
    async with (
        opened(forever, takes, options=trouper.RuntimeOptions(**options)) as runtime,
        runtime.open_session("ada"),
    ):
        first = await runtime.submit(forever.call(), user="ada")
        await wait_all_tasks_blocked()
        await runtime.submit(forever.call(), user="ada")  # runs, or fills the queue
        await wait_all_tasks_blocked()
        before = [(job.id, job.state, job.signals) for job in await runtime.jobs("ada")]
        with pytest.raises(TrouperError) as refused:
            await does(runtime, first.id)
        assert says in str(refused.value)
        assert len(str(refused.value)) < 200, "what was too long is not repeated whole"
        assert [(job.id, job.state, job.signals) for job in await runtime.jobs("ada")] == before


@pytest.mark.clause("E2")
async def test_as_many_messages_as_may_be_pending_are_told_by_the_name_of_their_bound(opened: Open) -> None:
    store_options = trouper.StoreOptions(signals_pending_max=1)
    async with opened(forever, store_options=store_options) as runtime:
        job = await runtime.submit(forever.call(), user="ada")
        await wait_all_tasks_blocked()
        await runtime.signal(job.id, "a")
        with pytest.raises(trouper.Refusal, match=r"1 messages to job .* the limit \(signals_pending_max\)"):
            await runtime.signal(job.id, "b")


@pytest.mark.clause("E2")
async def test_each_bound_that_is_a_level_is_shown_with_its_use(opened: Open) -> None:
    options = trouper.RuntimeOptions(
        max_running=1, max_queued=7, max_sessions=5, max_hooks=3, expiry_mailbox=50
    )
    async with opened(forever, options=options) as runtime, runtime.open_session("ada") as channel:
        job = await runtime.submit(forever.call(), user="ada")
        await runtime.submit(forever.call(), user="ada")
        channel.attach(job.id, 0, 0)
        await wait_all_tasks_blocked()
        shown = runtime.statistics()
    assert shown["running"] == {"now": 1, "max": 1}
    assert shown["queued"] == {"now": 1, "max": 7}
    assert shown["sessions"] == {"now": 1, "max": 5}
    assert shown["attached"] == {"now": 1, "most": 1, "max": 256}
    assert shown["expiry_mailbox"] == {"now": 0, "max": 50}
    assert (shown["hooks"]["running"], shown["hooks"]["max"]) == (0, 3)
    outputs = shown["outputs"]
    assert (outputs["bytes_most"], outputs["bytes_max"]) == (5, 64 * 1024 * 1024)
    assert (outputs["tail_bytes_most"], outputs["tail_bytes_max"]) == (5, 256 * 1024)
    assert (outputs["pending_bytes_most"], outputs["pending_bytes_max"]) == (0, 256 * 1024)
    for name, most in (("jobs", 2), ("notifiers", 5), ("gateways", 64)):
        assert shown[name]["max_children"] == most


@pytest.mark.clause("E2")
async def test_use_of_the_bounds_of_users_and_jobs_is_shown_with_the_largest_users(
    opened: Open, autojump_clock: trio.testing.MockClock
) -> None:
    @trouper.job
    async def asks(ctx: trouper.JobContext) -> None:
        for key in ("first", "second"):
            await ctx.ask_user("?", key=key)

    limits = trouper.JobLimits(questions=4)
    options = trouper.RuntimeOptions(max_running_per_user=2, max_queued_per_user=5, jobs=limits)
    store_options = trouper.StoreOptions(signals_pending_max=7, tombstones_per_user_max=3)
    async with opened(forever, asks, options=options, store_options=store_options) as runtime:
        shown = runtime.statistics()
        assert shown["users"] == {"largest": [], "queued_max": 5, "running_max": 2}
        await runtime.submit(forever.call(), user="bob")
        jobs = [await runtime.submit(forever.call(), user="ada") for _ in range(3)]
        for _ in range(2):
            await runtime.signal(jobs[0].id, "hello")
        await runtime.cancel_key("k", user="cy")
        asking = await runtime.submit(asks.call(), user="dot")
        await trio.sleep(0.1)
        await runtime.answer(asking.id, "first", "yes")
        await trio.sleep(options.sweep_interval_s + 0.1)
        shown = runtime.statistics()
        assert shown["users"]["largest"] == [
            {"user": "ada", "queued": 1, "running": 2},
            {"user": "bob", "queued": 0, "running": 1},
            {"user": "dot", "queued": 1, "running": 0},
        ]
        assert shown["signals_pending"] == {"most": 2, "max": 7}
        assert shown["questions"] == {"most": 2, "max": 4}
        assert shown["tombstones_per_user"] == {"most": 1, "max": 3}


@pytest.mark.clause("E2")
async def test_the_users_whose_notifiers_have_the_most_messages_waiting_are_shown(opened: Open) -> None:
    async with (
        opened(options=trouper.RuntimeOptions(notifier_mailbox=9)) as runtime,
        runtime.open_session("ada"),
        runtime.open_session("bob"),
    ):
        await wait_all_tasks_blocked()
        nothing = {"now": 0, "most": 0, "largest": [], "max": 9}
        assert runtime.statistics()["notifier_mailboxes"] == nothing
        audience = runtime._tree.audience
        for message in (Wake(), ReadOutput("j1", 0), ReadOutput("j2", 0)):
            audience.tell_notifier("bob", message)
        audience.tell_notifier("ada", Wake())
        assert runtime.statistics()["notifier_mailboxes"] == {
            "now": 4,
            "most": 3,
            "largest": [{"user": "bob", "waiting": 3}, {"user": "ada", "waiting": 1}],
            "max": 9,
        }
        await wait_all_tasks_blocked()
        assert runtime.statistics()["notifier_mailboxes"] == nothing
