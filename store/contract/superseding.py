"""The contract of every engine: a submit that ends what runs and waits in its thread (J4, J5)."""

from __future__ import annotations

import pytest

from trouper.store.contract.world import World, admission, clause, notice_of, options, sha256
from trouper.store.protocol import Admitted, EndingKind, OutputRange, QueueFull
from trouper.store.records import JobOptions, JobState

CLAUSES = ("J4",)

HOWS = ("interrupt", "rollback")
TELLS_ALL = JobOptions(attempts=5, notify_on=("completed", "failed", "cancelled", "timed_out", "lost"))


@pytest.mark.parametrize("how", HOWS)
async def test_what_waits_ends_at_once_and_what_runs_holds_the_thread_until_it_has_ended(
    world: World, how: str
) -> None:
    running = await world.start("j1", thread="t")
    for id, thread, user in (("j2", "t", "ada"), ("j3", "u", "ada"), ("j4", "t", "bob")):
        await world.admit(id, thread=thread, user=user)
    new = await world.admit("j5", thread="t", on_busy=how)
    rows = {id: await world.row(id) for id in ("j1", "j2", "j3", "j4", "j5")}
    assert (rows["j1"].state, rows["j1"].cancel_requested) == (JobState.RUNNING, True)
    assert (rows["j2"].state, rows["j2"].reason) == (JobState.CANCELLED, "superseded")
    assert {rows[id].state for id in ("j3", "j4", "j5")} == {JobState.QUEUED}
    assert new.feed_seq == rows["j1"].feed_seq == rows["j2"].feed_seq, "it is one transaction"
    told = {job.id: job.cancel_requested for job in world.notices[-1].jobs}
    assert told == {"j1": True, "j2": True, "j5": False}
    assert "j5" not in [job.id for job in (await world.store.claim(9)).started]
    ended = await world.end(running, EndingKind.CANCELLED, reason="user")
    assert (ended.state, ended.reason) == (JobState.CANCELLED, "superseded")
    assert [job.id for job in (await world.store.claim(9)).started] == ["j5"]


@clause("J5")
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", list(EndingKind))
async def test_however_the_attempt_ends_after_it_the_job_is_superseded(
    world: World, how: str, kind: EndingKind
) -> None:
    running = await world.start("j1", thread="t", options=options(attempts=5))
    await world.admit("j2", thread="t", on_busy=how)
    ended = await world.end(running, kind, result='"r"')
    assert (ended.state, ended.reason, ended.result) == (JobState.CANCELLED, "superseded", None)


@clause("J6")
@pytest.mark.parametrize("how", HOWS)
async def test_an_unsafe_step_of_which_nobody_knows_how_far_it_came_is_told_all_the_same(
    world: World, how: str
) -> None:
    running = await world.start("j1", thread="t")
    await world.store.unsafe("j1", running.fence, "charge card")
    await world.admit("j2", thread="t", on_busy=how)
    ended = await world.end(running, EndingKind.CRASHED)
    assert (ended.state, ended.reason) == (JobState.LOST, "unsafe:charge card")
    assert len(await world.store.notifications("ada")) == 1


@pytest.mark.parametrize("how", HOWS)
async def test_a_superseded_job_whose_process_died_is_ended_without_running(world: World, how: str) -> None:
    running = await world.start("j1", thread="t", options=TELLS_ALL)
    await world.write(running, "a")
    await world.admit("j2", thread="t", on_busy=how)
    await world.restart()
    claims = await world.store.claim(9)
    assert [job.id for job in claims.started] == ["j2"]
    (ended,) = claims.ended
    assert (ended.state, ended.reason) == (JobState.CANCELLED, "superseded")
    kept = ("a",) if how == "interrupt" else ()
    assert (await world.log("j1"), ended.entries, ended.keeps) == (kept, len(kept), (0, len(kept)))
    assert len(await world.store.notifications("ada")) == len(kept)


async def test_an_interrupt_keeps_the_output_and_tells_the_end_if_the_job_wants_it_told(world: World) -> None:
    running = await world.start("j1", thread="t", options=TELLS_ALL)
    await world.write(running, "a")
    await world.admit("j2", thread="t", on_busy="interrupt")
    await world.end(running, EndingKind.CANCELLED)
    assert await world.log("j1") == ("a",)
    assert [row.title for row in await world.store.notifications("ada")] == ["report cancelled"]


@clause("J5")
async def test_an_interrupt_takes_no_running_time_back(world: World) -> None:
    running = await world.start("j1", thread="t")
    await world.write(running, "a")  # which tells of a millisecond
    await world.admit("j2", thread="t", on_busy="interrupt")
    row = await world.row("j1")
    assert (row.superseded, row.used_ms, row.entries) == ("interrupt", 1, 1)


@clause("N3")
async def test_after_a_rollback_nothing_of_the_output_and_no_notification_is_left(world: World) -> None:
    running = await world.start("j1", thread="t", options=TELLS_ALL)
    await world.write(running, "a", "b")
    await world.savepoint(running, 2, '{"at":2}')
    await world.store.notify(notice_of(running, "half"))
    before = (await world.store.snapshot("ada", 50)).seq
    await world.admit("j2", thread="t", on_busy="rollback")
    assert await world.log("j1") == ("a", "b"), "while it still runs"
    finish = await world.finish_of(running, EndingKind.RETURNED, result='"r"')
    first = await world.store.finish(finish)
    ended = await world.row("j1")
    assert (ended.entries, ended.sha256, ended.saved, ended.savepoint) == (0, sha256([]), None, 0)
    assert (ended.attempt, ended.keeps) == (2, (0, 0)), "whoever holds some of it is told to drop it"
    assert await world.store.read_output("j1", 0, 100) == OutputRange(2, 0, ())
    snapshot = await world.store.snapshot("ada", 50)
    assert (snapshot.notifications, snapshot.counts.unseen) == ((), 0)
    assert await world.store.changes_since("ada", before, 50) is None, "a row was removed since"
    assert await world.store.changes_since("ada", snapshot.seq, 50) is not None
    assert await world.store.finish(finish) == first, "repeated, it changes nothing"
    await world.restart()
    assert await world.store.changes_since("ada", before, 50) is None
    assert await world.log("j1") == ()


async def test_a_rollback_of_what_waits_for_its_next_attempt_empties_it_at_once(world: World) -> None:
    held = await world.start("j1", thread="t", options=TELLS_ALL)
    await world.write(held, "a")
    await world.end(held, EndingKind.CRASHED, retry_after_s=100.0)
    await world.admit("j2", thread="t", on_busy="rollback")
    ended = await world.row("j1")
    assert (ended.state, ended.reason, ended.entries) == (JobState.CANCELLED, "superseded", 0)
    assert await world.log("j1") == ()
    assert await world.store.notifications("ada") == ()
    assert [job.id for job in (await world.store.claim(9)).started] == ["j2"]


@pytest.mark.parametrize("hows", [HOWS, HOWS[::-1]])
async def test_a_rollback_stays_one_whether_an_interrupt_comes_before_or_after_it(
    world: World, hows: tuple[str, ...]
) -> None:
    running = await world.start("j1", thread="t")
    await world.write(running, "a")
    for how in hows:
        await world.admit(how, thread="t", on_busy=how)
    await world.end(running)
    assert await world.log("j1") == ()


async def test_who_makes_room_counts_and_a_refusal_ends_nobody(world: World) -> None:
    await world.start("j1", thread="t")
    await world.admit("j2", thread="t")
    await world.admit("j3", thread="u")
    for limits in ({"max_queued": 1}, {"max_queued_per_user": 1}):
        refused = await world.store.admit(admission("j4", thread="t", on_busy="interrupt", **limits))
        assert isinstance(refused, QueueFull)
    rows = [await world.row("j1"), await world.row("j2")]
    assert [row.cancel_requested for row in rows] == [False, False]
    await world.admit("j4", thread="t", on_busy="interrupt", max_queued=2, max_queued_per_user=2)


async def test_a_repeated_interrupt_ends_nobody_again(world: World) -> None:
    await world.admit("j1", thread="t")
    job = await world.admit("j2", thread="t", on_busy="interrupt", idempotency_key="k")
    again = await world.store.admit(admission("j3", thread="t", on_busy="interrupt", idempotency_key="k"))
    assert again == Admitted(job, created=False)
    assert (await world.row("j2")).state is JobState.QUEUED


async def test_without_a_thread_there_is_nobody_to_end(world: World) -> None:
    await world.admit("j1")
    await world.admit("j2", on_busy="rollback")
    assert (await world.row("j1")).state is JobState.QUEUED
