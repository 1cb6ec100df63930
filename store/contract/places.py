"""The contract of every engine: the places of waiting jobs in the queue (J4)."""

from __future__ import annotations

import hashlib

import pytest

from trouper.store.contract.world import World, options
from trouper.store.protocol import EndingKind, Names
from trouper.store.questions import GiveAnswer

CLAUSES = ("J4",)

USERS = ("ada", "bob", "cy", "dot")


async def places(world: World, *users: str, **bounds: int) -> dict[str, int]:
    found = await world.store.queue_places(users or USERS, **bounds)
    return {job_id: place for of_user in found.values() for job_id, place in of_user}


@pytest.mark.parametrize("threads", [1, 3, 100])
@pytest.mark.parametrize("seed", range(6))
async def test_those_that_may_start_have_places_and_start_in_that_order(
    world: World, seed: int, threads: int
) -> None:
    """Of 32 jobs some have ended, some run, ask, or wait for a retry."""
    kinds = [*EndingKind, None]
    for place, draw in enumerate(hashlib.sha256(b"%d" % seed).digest()):
        thread = None if draw % 7 == 0 else f"t{draw % threads}"
        await world.admit(f"j{place}", user=USERS[draw % 4], thread=thread, options=options(attempts=2))
        if draw < 80:
            for job in (await world.store.claim(1)).started:
                if (kind := kinds[draw % len(kinds)]) is not None:
                    await world.end(job, kind, retry_after_s=60.0 * (draw % 2))
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


@pytest.mark.parametrize("held_by", ["asks", "runs", "waits for a retry", "comes before it"])
async def test_what_its_thread_holds_up_has_no_place_until_the_thread_is_free(
    world: World, held_by: str
) -> None:
    await world.admit("first", thread="t", options=options(attempts=2))
    await world.admit("behind", thread="t")
    await world.admit("last", thread="t")
    for first in () if held_by == "comes before it" else (await world.store.claim(1)).started:
        if held_by == "asks":
            await world.end(first, EndingKind.ASKED)
        elif held_by != "runs":
            await world.end(first, EndingKind.CRASHED, retry_after_s=60.0)
    await world.admit("elsewhere", thread="u")
    await world.admit("of another", user="bob", thread="t")
    free = {"first"} if held_by == "comes before it" else set()
    assert set(await places(world)) == free | {"elsewhere", "of another"}
    await world.store.cancel("first", None)
    for first in await world.store.running():
        await world.end(first, EndingKind.CANCELLED)
    assert set(await places(world)) == {"behind", "elsewhere", "of another"}


async def test_a_job_that_may_go_on_has_a_place_itself_and_holds_up_its_thread(world: World) -> None:
    first = await world.start("first", thread="t")
    await world.admit("behind", thread="t")
    await world.admit("other")
    await world.end(first, EndingKind.ASKED)
    await world.store.answer(GiveAnswer(job_id="first", key="k", value="true"))
    assert await places(world) == {"first": 1, "other": 2}


async def test_a_job_whose_name_nobody_knows_has_no_place_and_holds_up_nobody(world: World) -> None:
    await world.admit("stranger", thread="t", name="other")
    await world.admit("behind", thread="t")
    await world.store.claim(0, names=Names(["report"], 60.0))
    assert await places(world) == {"behind": 1}


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
