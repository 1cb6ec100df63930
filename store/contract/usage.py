"""The contract of every engine: how far the bounds of users and of jobs are used (E2)."""

from __future__ import annotations

import attrs

from trouper.store.contract.world import ASK, World, options
from trouper.store.protocol import EndingKind
from trouper.store.questions import GiveAnswer
from trouper.store.signals import SignalRow
from trouper.store.usage import StoreUsage, UserUsage

CLAUSES = ("E2",)

NOTHING = StoreUsage((), 0, 0)


async def test_the_users_with_the_most_active_jobs_are_told_the_largest_first(world: World) -> None:
    assert await world.store.usage(9) == NOTHING
    await world.start("c1", user="cy")
    await world.end(await world.start("d1", user="dot"))
    await world.start("a1", user="ada")
    for place in range(3):
        await world.admit(f"b{place}", user="bob")
    await world.admit("a2", user="ada", delay_s=60.0)
    users = UserUsage("ada", 1, 1), UserUsage("bob", 2, 1), UserUsage("cy", 0, 1)
    assert {job.user for job in (await world.store.claim(1)).started} == {"bob"}
    told = (await world.store.usage(9)).users
    assert told == (users[1], users[0], users[2])
    assert (await world.store.usage(2)).users == told[:2]


async def test_the_most_messages_to_one_active_job_that_it_has_not_read_are_told(world: World) -> None:
    jobs = [await world.start(id, options=options(attempts=2)) for id in ("j1", "j2")]
    for id in ("m", "n", "o"):
        await world.store.signal(SignalRow(job="j1", id=id, body="1", sender=None), None)
    await world.store.signal(SignalRow(job="j2", id="m", body="1", sender=None), None)
    assert (await world.store.usage(9)).signals_pending == 3
    await world.savepoint(jobs[0], 0, heard=3)
    assert (await world.store.usage(9)).signals_pending == 1
    await world.end(jobs[1], EndingKind.CRASHED)
    assert (await world.store.usage(9)).signals_pending == 1, "it will read it yet"
    await world.store.cancel("j2", None)
    assert await world.store.usage(9) == StoreUsage((UserUsage("ada", 0, 1),), 0, 0)


async def test_the_most_questions_that_one_active_job_has_asked_are_told(world: World) -> None:
    for key in ("k", "l"):
        job = await world.start("j1") if key == "k" else (await world.store.claim(1)).started[0]
        await world.end(job, EndingKind.ASKED, question=attrs.evolve(ASK, key=key))
        await world.store.answer(GiveAnswer(job_id="j1", key=key, value="true"))
    assert (await world.store.usage(9)).questions == 2, "answered ones count too"
    await world.store.cancel("j1", None)
    assert await world.store.usage(9) == NOTHING


async def test_the_most_keys_of_one_user_that_are_still_remembered_are_told(small: World) -> None:
    for user, key in (("ada", "k"), ("bob", "k"), ("ada", "l")):
        await small.store.cancel_key(user, key)
    assert await small.store.usage(9) == StoreUsage((), 0, 2)
    await small.admit("j1", user="ada", idempotency_key="k")
    assert (await small.store.usage(9)).tombstones == 1
    small.wall.now += 10.0
    assert (await small.store.usage(9)).tombstones == 0
