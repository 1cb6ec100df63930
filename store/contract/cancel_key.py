"""The contract of every engine: cancelling by idempotency key, also before the job exists (J2)."""

from __future__ import annotations

import pytest

from trouper.store.contract.world import World, admission, options, sha256
from trouper.store.errors import DataRefused
from trouper.store.protocol import Admitted, CancelAnswer, CancelResult, Conflict
from trouper.store.records import JobState

CLAUSES = ("J2",)

NOT_YET = CancelResult(CancelAnswer.ACCEPTED)


async def born(world: World, key: str, *, user: str = "ada") -> JobState:
    """The state in which a submit with ``key`` leaves its job."""
    return (await world.admit(f"{user}-{key}", user=user, idempotency_key=key)).state


async def test_a_job_is_cancelled_by_its_key_as_by_its_id(world: World) -> None:
    await world.admit("j1", idempotency_key="k")
    result = await world.store.cancel_key("ada", "k")
    assert result == CancelResult(CancelAnswer.ACCEPTED, await world.row("j1"))
    assert (await world.row("j1")).state is JobState.CANCELLED
    assert (await world.store.cancel_key("ada", "k")).answer is CancelAnswer.ALREADY_ENDED


async def test_a_running_job_learns_of_it_by_the_commit(world: World) -> None:
    await world.start("j1", idempotency_key="k")
    await world.store.cancel_key("ada", "k")
    assert [(job.id, job.cancel_requested) for job in world.notices[-1].jobs] == [("j1", True)]


async def test_the_submit_that_comes_after_its_cancel_is_born_cancelled(world: World) -> None:
    assert await world.store.cancel_key("ada", "k") == NOT_YET
    await world.restart()
    told = options(notify_on=("cancelled",))
    answer = await world.store.admit(admission("j1", idempotency_key="k", options=told, max_queued=1))
    assert isinstance(answer, Admitted)
    job = answer.job
    assert answer.created
    assert (job.state, job.reason, job.attempt, job.ended_at) == (JobState.CANCELLED, "user", 0, 1000.0)
    assert (job.cancel_requested, job.sha256) == (True, sha256([]))
    assert [row.title for row in await world.store.notifications("ada")] == ["report cancelled"]
    assert (await world.store.claim(9)).started == ()
    again = await world.store.admit(admission("j2", idempotency_key="k"))
    assert again == Admitted(job, created=False)
    assert await world.store.admit(admission("j3", idempotency_key="k", fingerprint="other")) == Conflict(
        "j1"
    )


async def test_it_takes_no_place_and_ends_nobody(world: World) -> None:
    await world.start("j1", thread="t")
    await world.admit("j2", thread="t")
    await world.store.cancel_key("ada", "k")
    late = admission("j3", thread="t", idempotency_key="k", on_busy="rollback", max_queued=1)
    assert isinstance(await world.store.admit(late), Admitted)
    assert [(await world.row(id)).cancel_requested for id in ("j1", "j2")] == [False, False]


async def test_a_key_of_another_user_is_neither_touched_nor_told_of(world: World) -> None:
    await world.start("j1", user="bob", idempotency_key="k")
    assert await world.store.cancel_key("ada", "k") == NOT_YET, "as for a key that nobody has used"
    assert not (await world.row("j1")).cancel_requested
    assert await born(world, "k", user="cy") is JobState.QUEUED
    assert await born(world, "k") is JobState.CANCELLED


async def test_a_key_is_remembered_for_a_while(small: World) -> None:
    await small.store.cancel_key("ada", "early")
    await small.store.cancel_key("ada", "late")
    small.wall.now += 9
    assert await born(small, "early") is JobState.CANCELLED
    small.wall.now += 1
    assert await born(small, "late") is JobState.QUEUED


async def test_so_many_keys_of_each_user_are_remembered_and_the_oldest_makes_room(small: World) -> None:
    await small.store.cancel_key("bob", "k0")
    for key in ("k0", "k1", "k2", "k1"):
        await small.store.cancel_key("ada", key)
        small.wall.now += 1
    assert await born(small, "k0") is JobState.QUEUED
    assert await born(small, "k1") is JobState.CANCELLED
    assert await born(small, "k2") is JobState.CANCELLED
    assert await born(small, "k0", user="bob") is JobState.CANCELLED


async def test_a_key_that_cannot_be_stored_is_refused(world: World) -> None:
    with pytest.raises(DataRefused, match="key holds a lone surrogate"):
        await world.store.cancel_key("ada", "\ud800")
