"""The contract of every engine: what is still to be done for an ended job is written with its end (N1)."""

from __future__ import annotations

from typing import Any

import pytest

from trouper.store.completions import Completion, SettleCompletion, TryEnd
from trouper.store.contract.world import World, options
from trouper.store.leases import Begun
from trouper.store.protocol import EndingKind, Names
from trouper.store.records import JobState

CLAUSES = ("N1",)

HOOKED = options(on_ended=True)


async def claim(
    world: World, *, limit: int = 9, names: tuple[str, ...] | None = None, begun: Begun | None = None
) -> list[tuple[str, int, JobState]]:
    """(job, try, state of the job) of what is claimed."""
    claims = await world.store.claim_completions(limit, names=names, begun=begun)
    return [(row.job, row.tries, job.state) for row, job in claims.started]


async def settle(world: World, id: str, tries: int, end: TryEnd, **fields: Any) -> Completion | None:
    return await world.store.settle_completion(SettleCompletion(job_id=id, tries=tries, end=end, **fields))


@pytest.mark.parametrize("kind", sorted(set(EndingKind) - {EndingKind.RELEASED, EndingKind.ASKED}))
async def test_each_end_of_an_attempt_leaves_one(world: World, kind: EndingKind) -> None:
    job = await world.start("j1", options=HOOKED)
    assert await claim(world) == []
    ended = await world.end(job, kind)
    await world.store.finish(await world.finish_of(job, kind))  # told again
    assert await claim(world) == [("j1", 1, ended.state)]
    assert await claim(world) == []


async def test_a_retry_a_release_and_a_job_without_a_hook_leave_none(world: World) -> None:
    job = await world.start("j1", options=options(on_ended=True, attempts=2))
    await world.end(job, EndingKind.CRASHED)
    released = await world.start("j2", options=HOOKED)
    await world.end(released, EndingKind.RELEASED)
    await world.store.cancel("j2", None)
    plain = await world.start("j3")
    await world.end(plain)
    assert await claim(world) == [("j2", 1, JobState.CANCELLED)]


async def test_those_that_end_without_running_leave_one_too(world: World) -> None:
    await world.admit("queued", options=HOOKED)
    await world.store.cancel("queued", "ada")
    await world.store.cancel_key("ada", "k")
    await world.admit("born", idempotency_key="k", options=HOOKED)
    await world.start("orphan", options=options(on_ended=True, on_process_death="end"))
    damaged = await world.start("damaged", options=HOOKED)
    await world.store.lose("damaged", damaged.fence, "undecodable")
    await world.admit("waits", thread="t", options=HOOKED)
    await world.admit("last", thread="t", on_busy="rollback")
    await world.restart()
    assert [job.id for job in (await world.store.claim(9)).ended] == ["orphan"]
    assert sorted(await claim(world)) == [
        ("born", 1, JobState.CANCELLED),
        ("damaged", 1, JobState.LOST),
        ("orphan", 1, JobState.LOST),
        ("queued", 1, JobState.CANCELLED),
        ("waits", 1, JobState.CANCELLED),
    ]


async def ended(world: World, *ids: str) -> None:
    for id in ids:
        await world.end(await world.start(id, options=HOOKED))


async def test_what_is_done_is_gone_and_what_failed_waits_for_its_time(world: World) -> None:
    await ended(world, "j1", "j2")
    assert [id for id, _, _ in await claim(world, limit=1)] == ["j1"]
    assert [id for id, _, _ in await claim(world)] == ["j2"]
    assert await settle(world, "j1", 1, TryEnd.DONE) is None
    row = await settle(world, "j2", 1, TryEnd.FAILED, error="no\ud800", retry_after_s=30.0)
    assert row == Completion(job="j2", tries=1, run_at=1030.0, error="no\\ud800")
    claims = await world.store.claim_completions(9)
    assert (claims.started, claims.next_due_at, claims.dead) == ((), 1030.0, 0)
    world.wall.now += 30
    assert await claim(world) == [("j2", 2, JobState.COMPLETED)]
    assert await settle(world, "j1", 1, TryEnd.FAILED, error="late") is None, "nothing is left of it"


async def test_those_of_a_job_that_another_live_node_has_are_left_to_it(world: World) -> None:
    for id, name in (("j1", "mine"), ("j2", "theirs"), ("j3", "mine"), ("j4", "nobodys")):
        await world.end(await world.start(id, name=name, options=HOOKED))
    await world.store.claim(0, names=Names({"mine", "theirs"}, 60.0))
    assert [id for id, _, _ in await claim(world, limit=2, names=("mine",))] == ["j1", "j3"]
    assert [id for id, _, _ in await claim(world, names=("mine",))] == ["j4"], (
        "nobody has it: it fails visibly"
    )
    assert await claim(world, names=("mine",)) == []
    assert await claim(world, names=("theirs",)) == [("j2", 1, JobState.COMPLETED)]


async def test_one_that_is_given_up_is_shown_and_runs_again_only_when_asked_for(world: World) -> None:
    await ended(world, "j1", "j2", "j3")
    for id, tries, _ in await claim(world):
        await settle(world, id, tries, TryEnd.FAILED, error=f"{id}!")
    await world.restart()
    assert await claim(world) == []
    assert (await world.store.claim_completions(9)).dead == 3
    dead = await world.store.dead_completions()
    assert [(row.job, row.error, row.dead_at) for row in dead] == [
        (id, f"{id}!", 1000.0) for id in ("j3", "j2", "j1")
    ]
    assert await world.store.dead_completions(before="j3", limit=1) == dead[1:2]
    assert await world.store.dead_completions(before="none") == ()
    assert await world.store.retry_completion("j2")
    assert not await world.store.retry_completion("j2"), "it is not dead any more"
    assert not await world.store.retry_completion("none")
    assert await claim(world) == [("j2", 1, JobState.COMPLETED)]


async def test_what_was_claimed_by_one_that_is_gone_is_claimed_anew_and_counted(world: World) -> None:
    await ended(world, "j1")
    await claim(world)
    assert await claim(world) == []
    await world.restart()
    assert await claim(world) == [("j1", 2, JobState.COMPLETED)], "by one of a boot before"
    row = await settle(world, "j1", 1, TryEnd.FAILED, error="of the try before")
    assert row == Completion(job="j1", tries=2, claimed_at=1000.0, claimed_by=world.store.boot)
    assert await settle(world, "j1", 2, TryEnd.RELEASED) == Completion(job="j1", tries=1)
    assert await claim(world) == [("j1", 2, JobState.COMPLETED)]


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_try_that_was_claimed_without_an_answer_is_claimed_anew_and_not_counted(
    world: World, restarts: bool
) -> None:
    await ended(world, "j1", "j2")
    boots = [world.store.boot]
    assert [id for id, _, _ in await claim(world, limit=1)] == ["j1"]
    assert [id for id, _, _ in await claim(world)] == ["j2"], "of which the caller hears nothing"
    if restarts:
        await world.restart()
        boots.append(world.store.boot)
    runs = [("j1", 2, JobState.COMPLETED)] if restarts else []
    assert await claim(world, begun=Begun(boots, [("j1", 1)])) == [*runs, ("j2", 1, JobState.COMPLETED)]
    assert await claim(world, begun=Begun(boots, [("j1", 1 + restarts), ("j2", 1)])) == []


async def test_the_rows_are_written_by_the_same_commit_as_the_end(world: World) -> None:
    job = await world.start("j1", options=HOOKED)
    commits = world.store.statistics()["commits"]
    await world.end(job)
    assert world.store.statistics()["commits"] == commits + 1
    assert await claim(world) == [("j1", 1, JobState.COMPLETED)]
