"""The contract of every engine: a job that asks a person waits in the queue for one answer (J8)."""

from __future__ import annotations

import orjson
import pytest

from trouper.store.contract.world import World, clause, options
from trouper.store.protocol import EndingKind, Names, RefusalReason, Refused
from trouper.store.questions import AnswerOutcome, Ask, Asked, GiveAnswer, Question
from trouper.store.records import Job, JobState

CLAUSES = ("J8",)

ASKED = EndingKind.ASKED
ACCEPTED, NOT_ASKED = AnswerOutcome.ACCEPTED, AnswerOutcome.NOT_ASKED


async def answer(
    world: World, value: str = "true", *, id: str = "j1", key: str = "k", user: str | None = "ada"
) -> AnswerOutcome:
    return await world.store.answer(GiveAnswer(job_id=id, key=key, value=value, user=user))


async def ask(world: World, **fields: object) -> Job:
    """A job that has asked, and waits."""
    job = await world.start("j1", **{"thread": "t", **fields})
    return await world.end(job, ASKED)


async def started(world: World) -> list[str]:
    return [job.id for job in (await world.store.claim(9)).started]


async def test_a_job_that_asks_waits_with_its_question_and_uses_no_attempt(world: World) -> None:
    row = await ask(world)
    assert (row.state, row.reason, row.attempts_used, row.ended_at) == (JobState.QUEUED, "question", 0, None)
    assert orjson.loads(row.asking or "") == {
        "key": "k",
        "question": "Go on?",
        "schema": {"type": "boolean"},
        "asked_at": 1000.0,
        "expires_at": None,
    }
    await world.restart()
    assert await world.row("j1") == row
    claims = await world.store.claim(9)
    assert (claims.started, claims.next_due_at) == ((), None)
    world.wall.now += 100 * 365 * 86400
    assert await started(world) == []


async def test_it_holds_its_thread_and_no_place_of_those_that_run(world: World) -> None:
    await ask(world)
    await world.admit("behind", thread="t")
    await world.admit("other")
    claims = await world.store.claim(9, 1)
    assert [job.id for job in claims.started] == ["other"], "of one user one at a time"
    assert (await world.store.active_counts())[JobState.RUNNING] == 1


async def test_the_question_is_in_the_feed_and_in_the_inbox(world: World) -> None:
    job = await world.start("j1")
    seq = (await world.store.snapshot("ada", 9)).seq
    await world.end(job, ASKED)
    changes = await world.store.changes_since("ada", seq, 9)
    assert changes is not None
    assert [(row.id, row.asking is not None) for row in changes.jobs] == [("j1", True)]
    assert [(row.kind, row.key, row.title) for row in changes.notifications] == [("question", "k", "Go on?")]
    assert (changes.counts.unseen, changes.counts.unread) == (1, 1)
    await answer(world)
    snapshot = await world.store.snapshot("ada", 9)
    assert [row.asking for row in snapshot.jobs] == [None]
    assert (snapshot.counts.unseen, snapshot.counts.unread) == (0, 0), "who answered has read it"


async def test_an_answer_makes_it_due_and_every_later_attempt_finds_it(world: World) -> None:
    await ask(world, options=options(attempts=3))
    assert await world.store.question_of("j1", "k") == Asked(Question(job="j1", key="k"), 1)
    assert await answer(world, '{"a":1}') is ACCEPTED
    assert world.notices[-1].due
    found = Asked(Question(job="j1", key="k", answer='{"a":1}', answered_by="ada", answered_at=1000.0), 1)
    await world.restart()
    (again,) = (await world.store.claim(9)).started
    assert (again.attempt, again.attempts_used, again.asking) == (2, 0, None)
    assert await world.store.question_of("j1", "k") == found
    await world.end(again, EndingKind.CRASHED, retry_after_s=0.0)
    assert await started(world) == ["j1"]
    assert await world.store.question_of("j1", "k") == found
    assert await world.store.question_of("j1", "other") == Asked(None, 1)


async def test_the_next_attempt_begins_at_the_savepoint(world: World) -> None:
    job = await world.start("j1")
    await world.write(job, "kept", "cut")
    await world.savepoint(job, 1, '"state"')
    await world.end(job, ASKED)
    assert await world.log("j1") == ("kept", "cut"), "all is shown while it waits"
    await answer(world)
    (again,) = (await world.store.claim(9)).started
    assert (again.saved, again.keeps, await world.log("j1")) == ('"state"', (0, 1), ("kept",))


async def test_only_the_first_answer_counts_and_the_same_again_is_accepted(world: World) -> None:
    await ask(world)
    assert await answer(world) is ACCEPTED
    assert await answer(world) is ACCEPTED
    assert await answer(world, "false") is AnswerOutcome.ALREADY_ANSWERED
    assert await answer(world, user=None) is AnswerOutcome.ALREADY_ANSWERED
    (again,) = (await world.store.claim(9)).started
    assert await answer(world) is ACCEPTED
    await world.end(again)
    assert await answer(world) is ACCEPTED
    row = (await world.store.question_of("j1", "k")).question
    assert row is not None
    assert row.answer == "true"


async def test_what_is_not_asked_is_not_answered(world: World) -> None:
    assert await answer(world) is AnswerOutcome.UNKNOWN
    job = await world.start("j1")
    assert await answer(world) is NOT_ASKED
    await world.end(job, ASKED)
    assert await answer(world, user="eve") is AnswerOutcome.UNKNOWN
    assert await answer(world, key="other") is NOT_ASKED
    await world.store.cancel("j1", "ada")
    assert await answer(world) is AnswerOutcome.ALREADY_ENDED
    assert (await world.store.question_of("j1", "k")).question == Question(job="j1", key="k")


async def test_after_its_time_the_job_goes_on_without_an_answer(world: World) -> None:
    job = await world.start("j1")
    await world.end(job, ASKED, question=Ask(key="k", question="?", schema="{}", timeout_s=60.0))
    assert orjson.loads((await world.row("j1")).asking or "")["expires_at"] == 1060.0
    assert (await world.store.claim(9)).next_due_at == 1060.0
    world.wall.now += 60
    (again,) = (await world.store.claim(9)).started
    assert (again.asking, again.attempts_used) == (None, 0)
    assert await answer(world) is NOT_ASKED
    assert await world.store.question_of("j1", "k") == Asked(Question(job="j1", key="k"), 1)


ENDS_OF_A_QUESTION = ("cancelled", "superseded", "answered", "timed out", "ended unrun")


@clause("J8", "N1", "N3")
@pytest.mark.parametrize("how", ENDS_OF_A_QUESTION)
async def test_a_question_that_is_over_is_not_left_unread_and_the_feed_tells_so(
    world: World, how: str
) -> None:
    timeout_s = 60.0 if how in ("timed out", "ended unrun") else None
    question = Ask(key="k", question="Go on?", schema="{}", timeout_s=timeout_s)
    limits = options(queue_timeout_s=30.0 if how == "ended unrun" else None)
    await world.end(await world.start("j1", thread="t", options=limits), ASKED, question=question)
    seq = (await world.store.snapshot("ada", 9)).seq
    world.wall.now += 120
    match how:
        case "cancelled":
            await world.store.cancel("j1", "ada")
        case "superseded":
            await world.admit("j2", thread="t", on_busy="interrupt")
        case "answered":
            await answer(world)
        case "timed out":
            assert await started(world) == ["j1"]
        case _:
            assert [job.reason for job in (await world.store.claim(9)).ended] == ["queue_timeout"]
    changes = await world.store.changes_since("ada", seq, 9)
    assert changes is not None
    (told,) = [row for row in changes.notifications if row.kind == "question"]
    assert (told.read_at, told.seen_at, told.feed_seq) == (1120.0, 1120.0, changes.seq)
    assert world.notices[-1].feeds == {"ada": changes.seq}, "sessions hear of it"
    unread = [row.kind for row in await world.store.notifications("ada") if row.read_at is None]
    assert changes.counts.unread == len(unread)
    assert "question" not in unread


async def test_a_cancel_while_it_waits_ends_it(world: World) -> None:
    await ask(world)
    await world.store.cancel("j1", "ada")
    row = await world.row("j1")
    assert (row.state, row.asking) == (JobState.CANCELLED, None)


async def test_a_cancel_that_came_before_the_question_ends_it_without_one(world: World) -> None:
    job = await world.start("j1")
    await world.store.cancel("j1", "ada")
    ended = await world.end(job, ASKED)
    assert (ended.state, ended.asking) == (JobState.CANCELLED, None)
    assert await world.store.question_of("j1", "k") == Asked(None, 0)
    assert await world.store.notifications("ada") == ()


async def test_an_unsafe_step_under_way_is_told_instead(world: World) -> None:
    job = await world.start("j1")
    await world.store.unsafe("j1", job.fence, "charge card")
    ended = await world.end(job, ASKED)
    assert (ended.state, ended.reason, ended.asking) == (JobState.LOST, "unsafe:charge card", None)


async def test_a_rollback_takes_the_question_away(world: World) -> None:
    await ask(world)
    await world.admit("j2", thread="t", on_busy="rollback")
    row = await world.row("j1")
    assert (row.state, row.asking) == (JobState.CANCELLED, None)
    assert await world.store.notifications("ada") == ()
    assert await started(world) == ["j2"]


async def test_asking_twice_for_a_lost_answer_of_the_store_is_one_question(world: World) -> None:
    job = await world.start("j1")
    request = await world.finish_of(job, ASKED)
    assert await world.store.finish(request) is not None
    await world.store.finish(request)
    assert len(await world.store.notifications("ada")) == 1
    assert (await world.store.question_of("j1", "k")).count == 1


async def test_an_end_that_asks_nothing_is_refused(world: World) -> None:
    job = await world.start("j1")
    refused = await world.store.finish(await world.finish_of(job, ASKED, question=None))
    assert isinstance(refused, Refused)
    assert refused.reason is RefusalReason.POISONED
    assert (await world.row("j1")).state is JobState.RUNNING


@clause("J6", "J8")
async def test_a_question_says_so_again_once_its_job_is_registered_again(world: World) -> None:
    await ask(world, name="report")
    await world.store.claim(9, names=Names(["other"]))
    assert (await world.row("j1")).reason == "unknown_job"
    await world.store.claim(9, names=Names(["report"]))
    row = await world.row("j1")
    assert (row.reason, row.unknown_until) == ("question", None)
    assert row.asking is not None
