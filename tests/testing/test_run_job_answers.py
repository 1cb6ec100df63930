"""A job that asks a person, tested without one."""

from __future__ import annotations

import pytest

import trouper
import trouper.testing

pytestmark = pytest.mark.clause("J8")


@trouper.job
async def book(ctx: trouper.JobContext) -> list[object]:
    flight = await ctx.ask_user("Which?", choices=["early", "late"], key="flight")
    return [flight, await ctx.ask_user("How many?", schema={"type": "integer"})]


async def test_what_the_job_asks_is_answered_from_those_given() -> None:
    result = await trouper.testing.run_job(book, answers={"flight": "late", "How many?": 2})
    assert (result.state, result.result, result.attempts) == (trouper.JobState.COMPLETED, ["late", 2], 3)


async def test_a_question_without_an_answer_is_told_and_not_waited_for() -> None:
    with pytest.raises(LookupError, match="the job asks 'How many"):
        await trouper.testing.run_job(book, answers={"flight": "late"})


async def test_an_answer_that_does_not_fit_is_told() -> None:
    with pytest.raises(trouper.BadArguments, match='legal are "early", "late"'):
        await trouper.testing.run_job(book, answers={"flight": "noon"})
