"""Damage of what stands beside the jobs (names, messages, hooks, questions) stops nothing else."""

from __future__ import annotations

import pytest

from tests.store.support import ASK, World, harm, options
from trouper.store.contract.completions import claim, ended
from trouper.store.contract.questions import ASKED, NOT_ASKED, answer, ask
from trouper.store.contract.signals import send
from trouper.store.protocol import Names
from trouper.store.questions import Question
from trouper.store.records import JobState

pytestmark = pytest.mark.clause("E1")


@pytest.mark.clause("J6")
async def test_a_name_that_is_no_text_is_damage_and_waits_for_nobody(sqlite: World) -> None:
    await sqlite.admit("old")
    harm(sqlite.path, "UPDATE jobs SET name = x'ff00' WHERE id = 'old'")
    (job,) = (await sqlite.store.claim(9, names=Names(["report"]))).ended
    assert (job.state, job.reason) == (JobState.LOST, "undecodable")


@pytest.mark.clause("J7")
async def test_a_damaged_message_is_left_out_and_stops_no_other(sqlite: World) -> None:
    await sqlite.admit("j1")
    for id in "abcd":
        await send(sqlite, id)
    harm(sqlite.path, "UPDATE signals SET body = '{' WHERE id = 'a'")
    harm(sqlite.path, "UPDATE signals SET id = x'ff' WHERE id = 'b'")
    harm(sqlite.path, "UPDATE signals SET sender = x'ff', sent_at = 'now' WHERE id = 'c'")
    rows = await sqlite.store.signals("j1", 0, 9)
    assert [(row.id, row.sender, row.sent_at) for row in rows] == [("c", None, 0.0), ("d", "ada", 1000.0)]


@pytest.mark.clause("N1")
async def test_a_damaged_hook_stops_no_other(sqlite: World) -> None:
    await ended(sqlite, "j1", "j2", "j3")
    harm(sqlite.path, "UPDATE completions SET job = 'gone' WHERE job = 'j1'")
    harm(sqlite.path, "UPDATE completions SET run_at = 'soon', tries = x'ff' WHERE job = 'j2'")
    assert sorted(await claim(sqlite)) == [("j2", 1, JobState.COMPLETED), ("j3", 1, JobState.COMPLETED)]
    assert [(row.job, row.error) for row in await sqlite.store.dead_completions()] == [
        ("gone", "there is no job 'gone'")
    ]


@pytest.mark.clause("N1")
@pytest.mark.parametrize("damaged", ["x'ff'", "CAST(x'ff' AS TEXT)"])
async def test_rows_that_hold_no_id_are_given_up_and_not_in_the_way(sqlite: World, damaged: str) -> None:
    await ended(sqlite, "j1", "j2")
    harm(sqlite.path, f"UPDATE completions SET job = {damaged} WHERE job = 'j1'")
    assert await claim(sqlite, limit=1) == [("j2", 1, JobState.COMPLETED)]
    assert len(await sqlite.store.dead_completions()) == 1


@pytest.mark.clause("J8")
async def test_damage_of_a_question_or_an_answer_stops_nothing_else(sqlite: World) -> None:
    await ask(sqlite)
    harm(sqlite.path, "UPDATE jobs SET asking = '{' WHERE id = 'j1'")
    assert await answer(sqlite) is NOT_ASKED
    assert [row.asking for row in (await sqlite.store.snapshot("ada", 9)).jobs] == [None]
    await sqlite.store.cancel("j1", None)
    job = await sqlite.start("j2")
    await sqlite.end(job, ASKED, question=ASK)
    await answer(sqlite, id="j2")
    harm(sqlite.path, "UPDATE questions SET answer = x'ff' WHERE job = 'j2'")
    assert (await sqlite.store.question_of("j2", "k")).question == Question(job="j2", key="k")


HOOKED = options(on_ended=True, attempts=9)


async def ends_visibly(sqlite: World) -> None:
    """The job j1 of ada is lost, says why, and its hook is to run; nobody else is held up by it."""
    await sqlite.admit("healthy", user="bob")
    claims = await sqlite.store.claim(9)
    assert [job.id for job in claims.started] == ["healthy"]
    assert [(job.state, job.reason) for job in claims.ended] == [(JobState.LOST, "undecodable")]
    assert [row.kind for row in await sqlite.store.notifications("ada") if row.kind == "ended"] == ["ended"]
    assert await claim(sqlite) == [("j1", 1, JobState.LOST)]


@pytest.mark.clause("J8", "N1")
@pytest.mark.parametrize("asking", ["'{'", "'[]'", """'{"key": 7}'""", "x'ff00'", "NULL", "7"])
async def test_a_job_whose_question_is_damaged_waits_for_nobody_and_ends_visibly(
    sqlite: World, asking: str
) -> None:
    await ask(sqlite, options=HOOKED)
    assert (await sqlite.store.claim(9)).started == (), "it waits for an answer"
    harm(sqlite.path, f"UPDATE jobs SET asking = {asking} WHERE id = 'j1'")
    await ends_visibly(sqlite)


@pytest.mark.clause("N1")
@pytest.mark.parametrize("damaged", ["'{'", "x'ff00'", """'{"on_ended": 7}'""", """'{"attempts": "many"}'"""])
async def test_a_queued_job_whose_options_are_damaged_ends_visibly_and_its_hook_runs(
    sqlite: World, damaged: str
) -> None:
    await sqlite.admit("j1", options=HOOKED)
    harm(sqlite.path, f"UPDATE jobs SET options = {damaged} WHERE id = 'j1'")
    await ends_visibly(sqlite)
