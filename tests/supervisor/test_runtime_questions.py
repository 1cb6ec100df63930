"""Waiting for a person: the job is put away while it waits, and goes on with the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.supervisor.support import Feed, Open, echo, slow_seams, waiting
from trouper.actors.attempt import Attempt

pytestmark = pytest.mark.clause("J8")

ACCEPTED = trouper.AnswerOutcome.ACCEPTED
COMPLETED, FAILED, CANCELLED = (
    trouper.JobState.COMPLETED,
    trouper.JobState.FAILED,
    trouper.JobState.CANCELLED,
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@trouper.job(timeout=10)
async def book(ctx: trouper.JobContext, *, timeout: float | None = None) -> list[Any]:
    if ctx.saved is None:
        await ctx.write("Two flights. ")
        await ctx.savepoint("found")
    flight = await ctx.ask_user("Which?", choices=["early", "late"], key="flight")
    seats = await ctx.ask_user("How many?", schema={"type": "integer", "minimum": 1}, timeout=timeout)
    await ctx.write(f"{flight} {seats}")
    return [flight, seats, ctx.attempt]


async def test_a_job_asks_is_put_away_and_goes_on_with_each_answer(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    async with opened(book, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(book.call(), user="ada", thread="t")
        question = await waiting(runtime, job.id)
        assert (question["key"], question["question"], question["expires_at"]) == ("flight", "Which?", None)
        assert question["schema"] == {"type": "string", "enum": ["early", "late"]}
        assert runtime.statistics()["running"]["now"] == 0
        await trio.sleep(1000)  # longer than its time-out, which counts running time
        with pytest.raises(trouper.BadArguments, match='the answer is "noon"; legal are "early", "late"'):
            await runtime.answer(job.id, "flight", "noon", user="ada")
        for value in ("late", 7):  # what does not fit is no news for eve either
            assert await runtime.answer(job.id, "flight", value, user="eve") is trouper.AnswerOutcome.UNKNOWN
        assert await runtime.answer(job.id, "flight", "late", user="ada") is ACCEPTED
        assert (await waiting(runtime, job.id))["key"] == "How many?"
        assert await runtime.answer(job.id, "How many?", 2) is ACCEPTED
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.result, ended.attempts_used) == (COMPLETED, '["late",2,3]', 0)
        assert ended.used_ms < 10_000
        assert await runtime.text(job.id) == "Two flights. late 2"
        kinds = [(row.kind, row.title, row.read_at is not None) for row in await runtime.inbox("ada")]
        assert kinds == [
            ("ended", "book completed", False),
            ("question", "How many?", True),
            ("question", "Which?", True),
        ]


async def test_questions_and_answers_outlive_the_process(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    async with opened(book, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(book.call(), user="ada")
        await waiting(runtime, job.id)
    async with opened(book, url=url, seams=slow_seams()) as runtime:
        await waiting(runtime, job.id)
        await runtime.answer(job.id, "flight", "early")
        await waiting(runtime, job.id)
    async with opened(book, url=url, seams=slow_seams()) as runtime:
        await runtime.answer(job.id, "How many?", 1)
        assert (await runtime.wait(job.id)).result == '["early",1,3]'


async def test_a_job_that_waits_holds_its_thread_and_no_place(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    options = trouper.RuntimeOptions(max_running=1)
    async with opened(book, echo, url=url, seams=slow_seams(), options=options) as runtime:
        asks = await runtime.submit(book.call(), user="ada", thread="t")
        behind = await runtime.submit(echo.call(text="b"), user="ada", thread="t")
        beside = await runtime.submit(echo.call(text="c"), user="ada")
        await waiting(runtime, asks.id)
        assert (await runtime.wait(beside.id)).state is COMPLETED
        row = await runtime.job(behind.id)
        assert row is not None
        assert row.state is trouper.JobState.QUEUED
        await runtime.cancel(asks.id, user="ada")
        assert (await runtime.wait(asks.id)).state is CANCELLED
        assert (await runtime.wait(behind.id)).state is COMPLETED
        assert await runtime.answer(asks.id, "flight", "late") is trouper.AnswerOutcome.ALREADY_ENDED


@pytest.mark.clause("E2")
async def test_a_job_that_waits_for_a_person_counts_as_queued_so_that_they_are_bounded(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    options = trouper.RuntimeOptions(max_queued_per_user=1)
    async with opened(book, url=url, seams=slow_seams(), options=options) as runtime:
        asks = await runtime.submit(book.call(), user="ada")
        await waiting(runtime, asks.id)
        with pytest.raises(trouper.Refusal, match="max_queued_per_user"):
            await runtime.submit(book.call(), user="ada")
        await runtime.cancel(asks.id, user="ada")
        await runtime.submit(book.call(), user="ada")


async def test_without_an_answer_in_time_the_next_attempt_is_told_so(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    @trouper.job
    async def patient(ctx: trouper.JobContext) -> list[Any]:
        try:
            return [await ctx.ask_user("Go on?", timeout=60)]
        except trouper.NoAnswer as error:
            return [str(error), await ctx.ask_user("Really?", schema={"type": "boolean"})]

    async with opened(patient, book, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(patient.call(), user="ada")
        question = await waiting(runtime, job.id)
        asked_at = trio.current_time()
        assert question["expires_at"] - question["asked_at"] == 60
        for _ in range(100):
            if (await waiting(runtime, job.id))["key"] != "Go on?":
                break
            await trio.sleep(1)
        assert 55 < trio.current_time() - asked_at < 65
        assert await runtime.answer(job.id, "Go on?", "late") is trouper.AnswerOutcome.NOT_ASKED
        await runtime.answer(job.id, "Really?", True)
        assert (await runtime.wait(job.id)).result == "[\"nobody answered 'Go on?' in time\",true]"
        uncaught = await runtime.submit(book.call(timeout=5), user="ada")
        await waiting(runtime, uncaught.id)
        await runtime.answer(uncaught.id, "flight", "late")
        ended = await runtime.wait(uncaught.id)
        assert (ended.state, ended.error) == (FAILED, "nobody answered 'How many?' in time")


async def test_an_answer_is_found_again_after_a_crash(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    @trouper.job(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=0)))
    async def stumbles(ctx: trouper.JobContext) -> list[Any]:
        answer = await ctx.ask_user("Go on?")
        if ctx.attempt == 2:
            raise RuntimeError("behind the answer")
        return [answer, ctx.attempt]

    async with opened(stumbles, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(stumbles.call(), user="ada")
        await waiting(runtime, job.id)
        await runtime.answer(job.id, "Go on?", "yes")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.result, ended.attempts_used) == (COMPLETED, '["yes",3]', 1)


async def test_a_cancel_wherever_it_falls_ends_the_job_and_none_is_lost(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    async with opened(book, url=url, seams=slow_seams()) as runtime:
        for pause_ms in range(0, 250, 7):
            job = await runtime.submit(book.call(), user="ada")
            await trio.sleep(pause_ms / 1000)
            await runtime.cancel(job.id)
            with trio.fail_after(30):
                ended = await runtime.wait(job.id)
            assert (ended.state, ended.asking) == (CANCELLED, None)


async def test_of_answers_that_come_together_one_is_accepted(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    async with opened(book, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(book.call(), user="ada")
        await waiting(runtime, job.id)
        outcomes: list[trouper.AnswerOutcome] = []

        async def answer(value: str) -> None:
            outcomes.append(await runtime.answer(job.id, "flight", value, user="ada"))

        async with trio.open_nursery() as nursery:
            for value in ("early", "late", "late", "early"):
                nursery.start_soon(answer, value)
        assert sorted(outcomes).count(ACCEPTED) == 2, "the first, and the same again"
        assert outcomes.count(trouper.AnswerOutcome.ALREADY_ANSWERED) == 2


async def test_clean_up_code_runs_when_a_job_asks_and_other_tasks_of_it_end(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    ended: list[str] = []

    @trouper.job
    async def tidy(ctx: trouper.JobContext) -> object:
        async def beside() -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(f"beside {ctx.attempt}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(beside)
            await trio.lowlevel.checkpoint()
            try:
                answer = await ctx.ask_user("Go on?")
            finally:
                ended.append(f"asked {ctx.attempt}")
                nursery.cancel_scope.cancel()
        return answer

    async with opened(tidy, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(tidy.call(), user="ada")
        await waiting(runtime, job.id)
        assert sorted(ended) == ["asked 1", "beside 1"]
        await runtime.answer(job.id, "Go on?", "yes")
        assert (await runtime.wait(job.id)).result == '"yes"'


async def test_the_question_is_on_the_feed_of_a_session(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    async with (
        opened(book, url=url, seams=slow_seams()) as runtime,
        runtime.open_session("ada") as channel,
    ):
        feed = Feed()
        job = await runtime.submit(book.call(), user="ada")
        await feed.follow(channel, until=lambda: job.id in feed.jobs and bool(feed.jobs[job.id].asking))
        assert feed.counts.unread == 1
        await runtime.answer(job.id, "flight", "late", user="ada")
        await feed.follow(channel, until=lambda: "How many?" in (feed.jobs[job.id].asking or ""))


@pytest.mark.clause("E2")
async def test_no_question_inside_of_an_unsafe_step_and_no_more_than_may_be(
    opened: Open, autojump_clock: MockClock
) -> None:
    @trouper.job
    async def careless(ctx: trouper.JobContext) -> None:
        async with ctx.unsafe("charge card"):
            await ctx.ask_user("Sure?")

    @trouper.job
    async def curious(ctx: trouper.JobContext) -> None:
        for number in range(9):
            await ctx.ask_user(f"{number}?")

    options = trouper.RuntimeOptions(jobs=trouper.JobLimits(questions=2))
    async with opened(careless, curious, options=options) as runtime:
        job = await runtime.submit(careless.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.reason) == (trouper.JobState.LOST, "unsafe:charge card")
        assert "inside of the unsafe step 'charge card': ask before it" in str(ended.error)
        job = await runtime.submit(curious.call(), user="ada")
        for number in range(2):
            await waiting(runtime, job.id)
            await runtime.answer(job.id, f"{number}?", "a")
        assert "has 3 questions: legal are up to 2 (questions)" in str((await runtime.wait(job.id)).error)


async def test_a_stop_of_the_runtime_while_it_asks_loses_neither_job_nor_question(
    opened: Open, url: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = Attempt.ask

    async def noted(self: Attempt, question: Any) -> str:
        asked.append(self.job.id)
        return await ask(self, question)

    monkeypatch.setattr(Attempt, "ask", noted)
    for pause_ms in range(0, 200, 10):
        async with opened(book, url=url, seams=slow_seams()) as runtime:
            job = await runtime.submit(book.call(), user="ada")
            await trio.sleep(pause_ms / 1000)
        async with opened(book, url=url, seams=slow_seams()) as runtime:
            await waiting(runtime, job.id)
            await runtime.answer(job.id, "flight", "late")
            await waiting(runtime, job.id)
            await runtime.answer(job.id, "How many?", 1)
            ended = await runtime.wait(job.id)
            assert (ended.state, ended.attempts_used) == (COMPLETED, 0)
    assert asked


async def test_an_answer_that_comes_as_the_job_asks_is_never_taken_unchecked(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    async with opened(book, url=url, seams=slow_seams()) as runtime:
        for pause_ms in range(0, 200, 5):
            job = await runtime.submit(book.call(), user=f"user{pause_ms}")
            await trio.sleep(pause_ms / 1000)
            try:
                outcome = await runtime.answer(job.id, "flight", "no such flight")
            except trouper.BadArguments:
                outcome = trouper.AnswerOutcome.NOT_ASKED
            assert outcome is trouper.AnswerOutcome.NOT_ASKED
            await waiting(runtime, job.id)
            assert await runtime.answer(job.id, "flight", "late") is ACCEPTED
