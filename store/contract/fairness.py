"""The contract of every engine: limits per user, and whose job starts next (J4)."""

from __future__ import annotations

from trouper.store.contract.world import World, admission, options
from trouper.store.protocol import EndingKind, QueueFull
from trouper.store.records import JobState

CLAUSES = ("J4",)


async def started(world: World, limit: int = 1, per_user: int | None = None) -> list[str]:
    return [job.id for job in (await world.store.claim(limit, per_user)).started]


async def test_a_user_has_a_queue_of_a_bounded_length_and_others_have_their_own(world: World) -> None:
    await world.admit("a1", max_queued_per_user=1)
    refused = await world.store.admit(admission("a2", max_queued_per_user=1))
    assert refused == QueueFull(1, of_user=True)
    assert await world.store.job("a2") is None
    await world.admit("b1", user="bob", max_queued_per_user=1)
    await world.store.claim(1)
    await world.admit("a2", max_queued_per_user=1)


async def test_the_limit_over_all_users_is_told_apart_from_that_of_one(world: World) -> None:
    await world.admit("a1")
    refused = await world.store.admit(admission("b1", user="bob", max_queued=1, max_queued_per_user=1))
    assert refused == QueueFull(1, of_user=False)


async def test_a_user_at_the_running_limit_waits_until_one_of_the_jobs_has_ended(world: World) -> None:
    for id in ("a1", "a2", "a3"):
        await world.admit(id)
    await world.admit("b1", user="bob")
    claims = await world.store.claim(9, 1)
    assert [job.id for job in claims.started] == ["a1", "b1"]
    assert await started(world, 9, 1) == []
    await world.end(claims.started[0], EndingKind.CANCELLED)
    assert await started(world, 9, 1) == ["a2"]
    assert await started(world, 9, 2) == ["a3"]


async def test_users_take_turns_however_much_one_of_them_queued_before(world: World) -> None:
    for place in range(4):
        await world.admit(f"a{place}")
    await world.admit("b0", user="bob")
    await world.admit("c0", user="cy")
    await world.admit("b1", user="bob")
    assert await started(world, 9) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


async def test_the_order_of_turns_outlives_a_restart(world: World) -> None:
    await world.admit("a1")
    await world.admit("b1", user="bob")
    assert await started(world, 2) == ["a1", "b1"]
    for running in await world.store.running():
        await world.end(running)
    await world.admit("b2", user="bob")
    await world.admit("a2")
    await world.restart()
    assert await started(world) == ["a2"], "ada was served longest ago, though bob's job is older"
    await world.restart()
    assert await started(world, 2) == ["b2"]


async def test_who_was_never_served_comes_before_who_was_and_in_the_order_of_waiting(world: World) -> None:
    await world.end(await world.start("a1"))
    await world.admit("a2")
    await world.admit("z1", user="zoe")
    await world.admit("b1", user="bob")
    assert await started(world, 9) == ["z1", "b1", "a2"]


async def test_the_order_of_those_who_were_never_served_outlives_a_restart(world: World) -> None:
    await world.admit("z1", user="zoe")
    await world.admit("b1", user="bob")
    await world.restart()
    assert await started(world, 9) == ["z1", "b1"]


async def test_a_cancelled_wait_is_forgotten(world: World) -> None:
    await world.admit("b1", user="bob")
    await world.admit("z1", user="zoe")
    await world.store.cancel("b1", "bob")
    await world.admit("b2", user="bob")
    assert await started(world, 9) == ["z1", "b2"]


async def test_a_user_whose_jobs_cannot_start_costs_nobody_a_turn(world: World) -> None:
    held = await world.start("a1", thread="t", options=options(attempts=2))
    await world.admit("a2", thread="t")
    await world.admit("b1", user="bob")
    await world.admit("b2", user="bob")
    await world.end(held, EndingKind.CRASHED, retry_after_s=100.0)
    assert await started(world, 9) == ["b1", "b2"]
    await world.admit("a3", thread="u")
    assert await started(world, 9) == ["a3"], "of another thread, which is free"


async def test_a_job_that_is_claimed_only_to_be_ended_is_no_turn(world: World) -> None:
    used_up = await world.start("a1", options=options(timeout_s=1.0, attempts=5))
    await world.end(used_up, EndingKind.CRASHED, retry_after_s=0.0, used_ms=2_000)
    await world.admit("a2")
    await world.admit("b1", user="bob")
    assert await started(world, 9) == ["b1", "a2"]
    assert (await world.row("a1")).state is JobState.TIMED_OUT


async def test_orphans_are_claimed_first_whatever_the_limit_and_are_no_turn(world: World) -> None:
    for id in ("a1", "a2"):
        await world.admit(id, options=options(attempts=3))
    await world.store.claim(2)
    await world.admit("b1", user="bob")
    await world.admit("a3")
    await world.restart()
    assert await started(world, 9, 1) == ["a1", "a2", "b1"]
