"""A job that is told something while it runs, tested without anybody who tells it."""

from __future__ import annotations

import pytest

import trouper
import trouper.testing

pytestmark = pytest.mark.clause("J7")


@trouper.job(retry=trouper.Retry(attempts=2))
async def listen(ctx: trouper.JobContext) -> list[object]:
    heard = list(ctx.saved or [])
    while ctx.messages.pending:
        heard.append((await anext(ctx.messages)).data)
        await ctx.savepoint(heard)
    await ctx.write("listened")
    return heard


async def test_what_a_job_is_sent_is_there_when_it_begins_in_order() -> None:
    result = await trouper.testing.run_job(listen, signals=["shorter", {"stop": True}])
    assert (result.result, result.text) == (["shorter", {"stop": True}], "listened")
    assert [title for title, _ in result.notifications] == ["listen completed"]


@pytest.mark.parametrize("crash_at", [1, 2, 3])
async def test_nothing_of_it_is_lost_or_heard_twice_wherever_the_job_crashes(crash_at: int) -> None:
    result = await trouper.testing.run_job(listen, crash_at=crash_at, signals=["a", "b"])
    assert (result.result, result.attempts) == (["a", "b"], 2)


async def test_a_job_that_is_sent_nothing_finds_nothing() -> None:
    assert (await trouper.testing.run_job(listen)).result == []
