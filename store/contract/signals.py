"""The contract of every engine: messages to a job are durable, ordered, told once and bounded (J7)."""

from __future__ import annotations

import pytest

from trouper.store.contract.world import World, options
from trouper.store.errors import DataRefused
from trouper.store.protocol import EndingKind, RefusalReason, Refused, Saved, Savepoint
from trouper.store.questions import Ask
from trouper.store.records import Job
from trouper.store.signals import Heard, SignalAnswer, SignalClash, SignalRow, SignalsFull

CLAUSES = ("J7",)

ACCEPTED, UNKNOWN = SignalAnswer.ACCEPTED, SignalAnswer.UNKNOWN


async def send(
    world: World, id: str, *, job: str = "j1", body: str = "1", user: str | None = "ada"
) -> SignalAnswer | SignalClash | SignalsFull:
    return await world.store.signal(SignalRow(job=job, id=id, body=body, sender=user), user)


async def heard(world: World, job: Job, count: int, *, entries: int = 0) -> None:
    request = Savepoint(job.id, job.fence, entries, f'"{count}"', 0, count)
    assert isinstance(await world.store.savepoint(request), Saved)


async def bodies(world: World, after: int = 0) -> list[tuple[int, str]]:
    return [(row.seq, row.body) for row in await world.store.signals("j1", after, 99)]


async def test_messages_come_in_order_and_outlive_a_restart(world: World) -> None:
    await world.admit("j1")
    assert [await send(world, id, body=body) for id, body in (("a", "1"), ("b", "2"), ("c", "3"))] == [
        ACCEPTED
    ] * 3
    await world.restart()
    assert await bodies(world) == [(1, "1"), (2, "2"), (3, "3")]
    assert await bodies(world, after=2) == [(3, "3")]
    assert (await world.store.signals("j1", 0, 1))[0] == SignalRow(
        job="j1", id="a", seq=1, body="1", sender="ada", sent_at=1000.0
    )


async def test_one_that_is_sent_twice_is_one_message_and_other_content_is_a_clash(world: World) -> None:
    job = await world.start("j1")
    assert await send(world, "a") == ACCEPTED
    assert await send(world, "a") == ACCEPTED
    assert await send(world, "a", body="2") == SignalClash()
    assert await bodies(world) == [(1, "1")]
    await world.end(job)
    assert await send(world, "a") == ACCEPTED, "it was accepted, whatever became of the job since"
    assert await send(world, "b") is SignalAnswer.ALREADY_ENDED


async def test_a_job_of_another_user_is_as_good_as_none(world: World) -> None:
    await world.admit("j1")
    assert [await send(world, "a", job="none"), await send(world, "a", user="eve")] == [UNKNOWN] * 2
    assert await send(world, "a", user=None) == ACCEPTED
    assert [row.sender for row in await world.store.signals("j1", 0, 9)] == [None]


async def test_the_commit_tells_the_row_of_the_job_with_their_number(world: World) -> None:
    await world.start("j1")
    await send(world, "a")
    assert [(job.id, job.signals) for job in world.notices[-1].jobs] == [("j1", 1)]


async def test_the_read_position_is_saved_with_the_savepoint_and_outlives_the_attempt(world: World) -> None:
    job = await world.start("j1", options=options(attempts=3))
    for id in "abc":
        await send(world, id)
    await heard(world, job, 2)
    await heard(world, job, 1)
    assert (await world.row("j1")).heard == 2, "it never goes back"
    await heard(world, job, 99)
    assert (await world.row("j1")).heard == 3, "nor beyond what there is"
    await world.end(job, EndingKind.CRASHED, retry_after_s=0.0)
    (again,) = (await world.store.claim(1)).started
    assert (again.signals, again.heard, again.attempt) == (3, 3, 2)


async def test_a_savepoint_that_moves_only_the_read_position_is_written(world: World) -> None:
    job = await world.start("j1")
    await send(world, "a")
    for count in (0, 1):
        assert isinstance(
            await world.store.savepoint(Savepoint("j1", job.fence, 0, '"same"', 0, count)), Saved
        )
    assert (await world.row("j1")).heard == 1


async def test_so_many_may_be_pending_and_reading_makes_room(small: World) -> None:
    job = await small.start("j1")
    assert [await send(small, id) for id in "abc"] == [ACCEPTED, ACCEPTED, SignalsFull(2)]
    await heard(small, job, 1)
    assert [await send(small, id) for id in "cd"] == [ACCEPTED, SignalsFull(2)]


async def test_what_was_read_is_remembered_for_a_while_and_then_removed(small: World) -> None:
    job = await small.start("j1")
    for count, id in enumerate("abcd", 1):
        assert await send(small, id) == ACCEPTED
        await heard(small, job, count)
    assert await send(small, "e") == ACCEPTED
    assert [seq for seq, _ in await bodies(small)] == [4, 5]


async def hear(world: World, job: Job, after: int) -> tuple[str | None, int]:
    """The body of what is read, and how far the job's row tells that it has read."""
    told = await world.store.hear(job.id, job.fence, after)
    assert isinstance(told, Heard)
    row = await world.row(job.id)
    assert told.upto <= row.given <= row.signals
    return None if told.row is None else told.row.body, row.given


async def test_an_attempt_reads_one_by_one_and_the_row_tells_how_far_it_is(world: World) -> None:
    job = await world.start("j1")
    for id in "abc":
        await send(world, id, body=f'"{id}"')
    assert [await hear(world, job, after) for after in (0, 1)] == [('"a"', 1), ('"b"', 2)]
    assert [(row.id, row.given) for row in world.notices[-1].jobs] == [("j1", 2)], "and so do listeners"
    assert await hear(world, job, 0) == ('"a"', 2), "one that is asked for again was read before"
    assert [await hear(world, job, after) for after in (2, 3)] == [('"c"', 3), (None, 3)]
    assert (await world.row("j1")).heard == 0, "none of it is saved"


@pytest.mark.parametrize("kind", [EndingKind.CRASHED, EndingKind.RELEASED, EndingKind.ASKED])
async def test_what_an_attempt_read_and_did_not_save_waits_again_after_it(
    world: World, kind: EndingKind
) -> None:
    job = await world.start("j1", options=options(attempts=3))
    for id in "abc":
        await send(world, id)
    await hear(world, job, 0)
    await heard(world, job, 1)
    await hear(world, job, 1)
    ask = (
        {"question": Ask(key="k", question="?", schema="{}", timeout_s=1.0)}
        if kind is EndingKind.ASKED
        else {}
    )
    await world.end(job, kind, retry_after_s=0.0, **ask)
    assert (await world.row("j1")).given == 1
    late = await world.store.hear("j1", job.fence, 1)
    assert isinstance(late, Refused)
    assert late.reason is RefusalReason.FENCED
    world.wall.now += 2
    (again,) = (await world.store.claim(1)).started
    assert again.given == 1
    assert await hear(world, again, again.heard) == ("1", 2)


async def test_what_was_read_and_not_saved_waits_again_after_a_process_death(world: World) -> None:
    job = await world.start("j1", options=options(attempts=3))
    await send(world, "a")
    await hear(world, job, 0)
    await world.restart()
    (again,) = (await world.store.claim(1)).started
    assert (again.given, again.began_after) == (0, "process_death")


async def test_how_far_a_job_read_is_told_after_its_end(world: World) -> None:
    job = await world.start("j1")
    for id in "ab":
        await send(world, id)
    await hear(world, job, 0)
    await world.end(job)
    assert ((row := await world.row("j1")).given, row.signals) == (1, 2)


async def test_output_of_the_running_job_stays_as_it_is(world: World) -> None:
    job = await world.start("j1")
    await world.write(job, "some", "text")
    await send(world, "a")
    await world.write(job, "more")
    assert await world.log("j1") == ("some", "text", "more")
    assert (await world.row("j1")).entries == 3


async def test_what_cannot_be_stored_is_refused(world: World) -> None:
    await world.admit("j1")
    with pytest.raises(DataRefused, match="id holds a lone surrogate"):
        await send(world, "\ud800")
    assert (await world.row("j1")).signals == 0
