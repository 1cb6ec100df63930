"""The contract of an engine with one owner at a time: its wall clock may be set, however far (J5)."""

from __future__ import annotations

import orjson
import pytest

from trouper.store.completions import TryEnd
from trouper.store.contract.completions import claim as claim_hooks
from trouper.store.contract.completions import ended, settle
from trouper.store.contract.names import claim, ids
from trouper.store.contract.timing import HOUR, SHORT, started
from trouper.store.contract.world import World, clause
from trouper.store.protocol import EndingKind
from trouper.store.questions import Ask
from trouper.store.records import JobState
from trouper.store.waiting import AT_A_TIME

CLAUSES = ("J5",)


@pytest.mark.parametrize("by_s", [HOUR, -HOUR])
async def test_a_clock_that_is_set_ends_nothing_early_and_keeps_nothing_for_ever(
    world: World, by_s: float
) -> None:
    running = await world.start("running", user="bob", options=SHORT)
    await world.end(running, EndingKind.CRASHED, jitter=0.5)
    await world.admit("queued", options=SHORT)
    await world.admit("delayed", delay_s=60.0)
    await world.store.cancel_key("ada", "k")
    world.wall.jump(by_s)
    claims = await world.store.claim(0)
    assert claims.ended == ()
    assert claims.next_due_at == 1010.0 + by_s
    world.wall.now += 10
    assert [job.id for job in (await world.store.claim(0)).ended] == ["queued"]
    world.wall.now += 40
    assert await started(world) == ["running"]
    world.wall.now += 10
    assert await started(world) == ["delayed"]
    world.wall.now += 3539
    assert (await world.admit("dead", idempotency_key="k")).state is JobState.CANCELLED


@pytest.mark.parametrize("by_s", [HOUR, -HOUR])
async def test_a_key_is_not_remembered_for_longer_when_the_clock_is_set(world: World, by_s: float) -> None:
    await world.store.cancel_key("ada", "k")
    world.wall.jump(by_s)
    await world.admit("j1")
    world.wall.now += HOUR
    assert (await world.admit("j2", idempotency_key="k")).state is JobState.QUEUED


async def test_an_appointment_follows_the_clock_that_is_set(world: World) -> None:
    await world.admit("nine", at=1000.0 + 2 * HOUR, options=SHORT)
    world.wall.jump(-HOUR)
    assert await started(world) == []
    world.wall.now += 2 * HOUR
    assert await started(world) == []
    world.wall.now += HOUR
    assert await started(world) == ["nine"]


async def test_an_appointment_that_a_jump_makes_due_has_its_whole_time_in_the_queue(world: World) -> None:
    await world.admit("nine", at=1600.0, options=SHORT)
    world.wall.jump(HOUR)
    assert (await world.store.claim(0)).ended == ()
    world.wall.now += 9
    assert (await world.store.claim(0)).ended == ()
    world.wall.now += 1
    assert [job.id for job in (await world.store.claim(0)).ended] == ["nine"]


async def test_an_appointment_that_was_due_stays_due_when_the_clock_is_set_back(world: World) -> None:
    await world.admit("nine", at=1005.0)
    world.wall.now += 10
    await world.store.claim(0)
    world.wall.jump(-HOUR)
    assert await started(world) == ["nine"]


async def test_what_a_jump_moved_is_moved_over_a_restart_too(world: World) -> None:
    await world.admit("queued", options=SHORT)
    world.wall.jump(HOUR)
    await world.store.claim(0)
    await world.restart()
    assert (await world.store.claim(0)).ended == ()
    assert await started(world) == ["queued"]


async def test_a_clock_that_is_slewed_moves_nothing(world: World) -> None:
    await world.admit("queued", options=SHORT)
    for _ in range(20):
        world.wall.jump(0.2)
        assert (await world.store.claim(0)).next_due_at == 1010.0


@clause("J6")
@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
async def test_a_clock_that_is_set_neither_loses_nor_keeps_it(world: World, by_s: float) -> None:
    await world.admit("old", name="gone")
    await claim(world, "report")
    world.wall.jump(by_s)
    assert (await claim(world, "report")).ended == ()
    world.wall.now += 60
    assert ids((await claim(world, "report")).ended) == ["old"]


@clause("J8", "N3")
@pytest.mark.parametrize("by_s", [HOUR, -HOUR])
async def test_the_time_out_that_a_question_shows_moves_with_the_clock_and_the_feed_tells_so(
    world: World, by_s: float
) -> None:
    for id, user, timeout_s in (("j1", "ada", 60.0), ("j2", "bob", None)):
        question = Ask(key="k", question="Go on?", schema="{}", timeout_s=timeout_s)
        await world.end(await world.start(id, user=user), EndingKind.ASKED, question=question)
    seqs = [(await world.store.snapshot(user, 9)).seq for user in ("ada", "bob")]
    world.wall.jump(by_s)
    await world.store.claim(0)
    changes = await world.store.changes_since("ada", seqs[0], 9)
    assert changes is not None
    assert [orjson.loads(row.asking or "")["expires_at"] for row in changes.jobs] == [1060.0 + by_s]
    assert changes.seq > seqs[0]
    assert changes.seq in [notice.feeds.get("ada") for notice in world.notices[-2:]], "sessions hear of it"
    assert (await world.store.snapshot("bob", 9)).seq == seqs[1], "nothing that it shows has changed"
    world.wall.now += 59.9
    assert await started(world) == []
    world.wall.now += 0.1
    assert await started(world) == ["j1"]


@clause("J8", "N3")
async def test_very_many_questions_are_told_of_a_jump_in_slices_each_of_which_makes_the_next_due(
    world: World,
) -> None:
    many = AT_A_TIME + 20
    question = Ask(key="k", question="Go on?", schema="{}", timeout_s=60.0)
    for place in range(many):
        await world.admit(f"j{place}")
    for job in (await world.store.claim(many)).started:
        await world.end(job, EndingKind.ASKED, question=question)
    seen = len(world.notices)
    world.wall.jump(HOUR)
    await world.store.retry_completion("nobody")  # whatever it is that sees the jump
    for _ in range(2):
        await world.store.claim(0)
    told = [notice for notice in world.notices[seen:] if notice.jobs]
    assert [(len(notice.jobs), notice.due) for notice in told] == [(AT_A_TIME, True), (20, True)]
    shown = {orjson.loads(job.asking or "")["expires_at"] for notice in told for job in notice.jobs}
    assert shown == {1060.0 + HOUR}
    assert {job.id for notice in told for job in notice.jobs} == {f"j{place}" for place in range(many)}


@clause("N1")
@pytest.mark.parametrize("by_s", [HOUR, -HOUR])
async def test_the_next_try_of_a_hook_moves_with_the_clock(world: World, by_s: float) -> None:
    await ended(world, "j1")
    await claim_hooks(world)
    await settle(world, "j1", 1, TryEnd.FAILED, error="no", retry_after_s=30.0)
    world.wall.jump(by_s)
    claims = await world.store.claim_completions(9)
    assert (claims.started, claims.next_due_at) == ((), 1030.0 + by_s)
    world.wall.now += 29.9
    assert await claim_hooks(world) == []
    world.wall.now += 0.1
    assert await claim_hooks(world) == [("j1", 2, JobState.COMPLETED)]
