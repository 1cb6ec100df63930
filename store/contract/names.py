"""The contract of every engine: rows whose job is registered nowhere wait, say so, and are lost (J6)."""

from __future__ import annotations

from typing import Any

import pytest

from trouper.store.contract.world import World, options
from trouper.store.errors import DataRefused
from trouper.store.protocol import Claims, EndingKind, Names
from trouper.store.records import JobState
from trouper.store.waiting import AT_A_TIME

CLAUSES = ("J6",)


async def claim(world: World, *names: str, limit: int = 9, unknown_job_s: float = 60.0) -> Claims:
    return await world.store.claim(limit, names=Names(names, unknown_job_s))


def ids(jobs: Any) -> list[str]:
    return [job.id for job in jobs]


async def test_only_jobs_that_can_run_here_are_claimed(world: World) -> None:
    await world.admit("old", name="gone")
    await world.admit("j1", name="report")
    await world.admit("j2", name="other")
    assert ids((await claim(world, "report", "other")).started) == ["j1", "j2"]


async def test_a_job_that_nobody_knows_waits_and_says_so_on_the_feed(world: World) -> None:
    await world.admit("old", name="gone", thread="t")
    await world.admit("next", thread="t")
    before = (await world.store.snapshot("ada", 9)).seq
    claims = await claim(world, "report")
    assert ids(claims.started) == ["next"], "it does not hold its thread"
    assert claims.next_due_at == 1060.0
    row = await world.row("old")
    assert (row.state, row.reason) == (JobState.QUEUED, "unknown_job")
    changes = await world.store.changes_since("ada", before, 9)
    assert changes is not None
    assert "old" in ids(changes.jobs)
    seq = changes.seq
    await claim(world, "report")
    assert (await world.store.snapshot("ada", 9)).seq == seq, "it is told once"


async def test_it_is_lost_after_a_while_and_a_restart_does_not_begin_it_anew(world: World) -> None:
    await world.admit("old", name="gone")
    await claim(world, "report")
    world.wall.now += 59
    await world.restart()
    assert (await claim(world, "report", limit=0)).ended == ()
    world.wall.now += 1
    (job,) = (await claim(world, "report", limit=0)).ended
    assert (job.id, job.state, job.reason) == ("old", JobState.LOST, "unknown_job")
    assert [row.title for row in await world.store.notifications("ada")] == ["gone lost"]


async def test_one_that_is_put_off_is_not_lost_before_its_time(world: World) -> None:
    await world.admit("old", name="gone", delay_s=100.0)
    await claim(world, "report")
    assert (await world.row("old")).unknown_until == 1160.0


async def test_one_whose_job_comes_back_runs_and_says_nothing_any_more(world: World) -> None:
    await world.admit("old", name="gone")
    await claim(world, "report")
    await world.restart()
    await claim(world, "gone", limit=0)
    row = await world.row("old")
    assert (row.reason, row.unknown_until) == (None, None)
    world.wall.now += 60
    assert ids((await claim(world, "gone")).started) == ["old"]


async def test_a_timeout_of_the_queue_may_come_first(world: World) -> None:
    await world.admit("old", name="gone", options=options(queue_timeout_s=10.0))
    await claim(world, "report")
    world.wall.now += 10
    (job,) = (await claim(world, "report")).ended
    assert (job.state, job.reason) == (JobState.TIMED_OUT, "queue_timeout")


async def test_one_that_ran_when_its_process_died_waits_with_its_output_and_the_attempt_used(
    world: World,
) -> None:
    job = await world.start("old", name="gone", options=options(attempts=2))
    await world.write(job, "a", "b")
    await world.savepoint(job, 1)
    await world.restart()
    assert (await claim(world, "report")).started == ()
    row = await world.row("old")
    assert (row.state, row.reason, row.attempts_used, row.boot) == (JobState.QUEUED, "unknown_job", 1, None)
    assert (await claim(world, "report")).ended == ()
    (job,) = (await claim(world, "gone")).started
    assert (job.attempt, job.attempts_used, await world.log("old")) == (2, 1, ("a",))
    await world.end(job, EndingKind.RETURNED, sha256="x")


async def test_one_that_has_no_attempt_left_is_lost_at_once(world: World) -> None:
    await world.start("old", name="gone")
    await world.restart()
    (job,) = (await claim(world, "report")).ended
    assert (job.state, job.reason) == (JobState.LOST, "attempts")


async def test_it_can_be_cancelled_while_it_waits(world: World) -> None:
    await world.admit("old", name="gone")
    await claim(world, "report")
    await world.store.cancel("old", "ada")
    assert ((await world.row("old")).state, (await world.row("old")).reason) == (JobState.CANCELLED, "user")


async def test_however_many_names_are_known_nowhere_all_their_rows_are_told_in_slices(world: World) -> None:
    for place in range(AT_A_TIME + 20):
        await world.admit(f"j{place}", name=f"gone{place:04}", max_queued=9_999)
    await world.admit("known", name="zebra")
    told = 0
    while told < AT_A_TIME + 20:
        assert ids((await claim(world, "report", "zebra", limit=0)).ended) == []
        changed = world.notices[-1].jobs
        assert {row.reason for row in changed} == {"unknown_job"}
        assert world.notices[-1].due, "the next slice is due"
        assert 0 < len(changed) <= AT_A_TIME
        told += len(changed)
    notices = len(world.notices)
    await claim(world, "report", "zebra", limit=0)
    assert len(world.notices) == notices, "each of them once"
    world.wall.now += 60
    ended = ids((await claim(world, "report", "zebra", limit=0)).ended)
    ended += ids((await claim(world, "report", "zebra", limit=0)).ended)
    assert len(set(ended)) == AT_A_TIME + 20
    assert (await world.row("known")).reason is None


async def test_rows_of_one_name_are_told_in_slices_too_and_told_again_when_it_is_known(world: World) -> None:
    for place in range(AT_A_TIME + 1):
        await world.admit(f"j{place}", name="gone", max_queued=9_999)
    for names in (("report",), ("gone",)):
        sizes = []
        for _ in range(3):
            before = len(world.notices)
            await claim(world, *names, limit=0)
            sizes.append(sum(len(notice.jobs) for notice in world.notices[before:]))
        assert sizes == [AT_A_TIME, 1, 0]
    assert (await world.row("j0")).reason is None


async def test_names_are_registered_anew_by_each_claim_and_no_more_than_so_many(world: World) -> None:
    await world.admit("old", name="gone")
    await claim(world, "report", "gone", limit=0)
    assert (await world.row("old")).reason is None
    await claim(world, "report", limit=0)
    assert (await world.row("old")).reason == "unknown_job"
    most = world.options.job_names_max
    with pytest.raises(DataRefused, match=rf"{most + 1} names of jobs: legal are up to {most}"):
        await claim(world, *map(str, range(most + 1)))
