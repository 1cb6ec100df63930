"""The contract of every engine: the places of waiting jobs in the queue (J4)."""

from __future__ import annotations

import hashlib

import pytest

from trouper.store.contract.world import World, options
from trouper.store.protocol import EndingKind

CLAUSES = ("J4",)

USERS = ("ada", "bob", "cy", "dot")


async def places(world: World, *users: str, **bounds: int) -> dict[str, int]:
    found = await world.store.queue_places(users or USERS, **bounds)
    return {job_id: place for of_user in found.values() for job_id, place in of_user}


@pytest.mark.parametrize("seed", range(6))
async def test_jobs_start_in_the_order_of_their_places(world: World, seed: int) -> None:
    for place, draw in enumerate(hashlib.sha256(b"%d" % seed).digest()):
        await world.admit(f"j{place}", user=USERS[draw % 4])
        if draw < 50:
            (job,) = (await world.store.claim(1)).started
            await world.end(job)
    told = await places(world)
    assert sorted(told.values()) == list(range(1, len(told) + 1))
    started = [job.id for job in (await world.store.claim(99)).started]
    assert started == sorted(told, key=lambda job_id: told[job_id])


async def test_only_the_users_asked_for_are_told_and_only_of_jobs_that_wait_and_are_due(world: World) -> None:
    retried = await world.start("c1", user="cy", options=options(attempts=2, backoff_base_s=9.0))
    await world.end(retried, EndingKind.CRASHED)
    await world.start("runs")
    await world.admit("a1")
    await world.admit("later", delay_s=5.0)
    await world.admit("b1", user="bob")
    assert set(await places(world, "ada", "cy", "nobody")) == {"a1"}
    assert set(await places(world)) == {"a1", "b1"}


async def test_what_is_put_off_or_waits_for_a_person_comes_before_nobody(world: World) -> None:
    for place in range(3):
        await world.admit(f"a{place}", user="ada", delay_s=60.0)
    await world.end(await world.start("c1", user="cy"), EndingKind.ASKED)
    await world.admit("b1", user="bob")
    await world.admit("b2", user="bob")
    assert await places(world) == {"b1": 1, "b2": 2}


async def test_so_many_users_and_jobs_of_each_are_looked_at(world: World) -> None:
    for user in USERS:
        for place in range(4):
            await world.admit(f"{user}{place}", user=user)
    told = await places(world, per_user=2, users=3)
    assert told == {"ada0": 1, "bob0": 2, "cy0": 3, "ada1": 4, "bob1": 5, "cy1": 6}


@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
async def test_places_are_told_by_the_clock_of_the_store_also_when_it_was_set(
    world: World, by_s: float
) -> None:
    world.wall.now += 10_000
    await world.admit("later", delay_s=60.0)
    await world.admit("now")
    world.wall.jump(by_s)
    assert await places(world) == {"now": 1}
    world.wall.now += 60
    assert await places(world) == {"later": 1, "now": 2}
