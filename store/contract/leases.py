"""The contract of an engine that several nodes share: what is whose, and until when (J6).

Each test has two nodes on one store, and each begins with a lease of 30 seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from trouper.store.completions import TryEnd
from trouper.store.contract.completions import claim, ended, settle
from trouper.store.contract.world import Source, World, clause, notice_of, options
from trouper.store.leases import Begun, Lease, Renewed
from trouper.store.protocol import EndingKind, RefusalReason, Refused
from trouper.store.records import Job, JobState

CLAUSES = ("J6",)

LEASE = Lease(seconds=30.0, margin_s=10.0)
TWICE = options(attempts=2)


class Nodes(NamedTuple):
    """Two nodes on one store, each with clocks of its own."""

    a: World
    b: World

    def pass_s(self, seconds: float) -> None:
        for world in self:
            world.wall.now += seconds


async def dead(nodes: Nodes) -> Job:
    """A job that ran on the first node when its lease ran out; the second one goes on."""
    job = await nodes.a.start("j1", options=TWICE)
    await nodes.a.write(job, "kept")
    nodes.pass_s(20.0)
    await nodes.b.store.renew()
    nodes.pass_s(10.0)
    return job


async def refused_everywhere(world: World, job: Job) -> None:
    """Every write of that attempt is refused, and nothing has come of any."""
    before, log = await world.row(job.id), await world.log(job.id)
    source = Source(world.store, job, start=len(log))
    await source.commit("late")
    store = world.store
    finish = await world.finish_of(job, EndingKind.RETURNED)
    answers = [
        source.results[-1],
        await world.savepoint(job, 0, '"late"'),
        await store.unsafe(job.id, job.fence, "late"),
        await store.notify(notice_of(job, "late")),
        await store.finish(finish),
        await store.lose(job.id, job.fence, "late"),
    ]
    fenced = RefusalReason.FENCED
    assert [isinstance(told, Refused) and told.reason for told in answers] == [fenced] * len(answers)
    assert (await world.row(job.id), await world.log(job.id)) == (before, log)
    assert await store.notifications(job.user) == ()


async def test_a_lease_is_told_and_each_node_has_a_boot_of_its_own(nodes: Nodes) -> None:
    assert [world.store.lease for world in nodes] == [LEASE, LEASE]
    assert nodes.a.store.boot != nodes.b.store.boot
    assert nodes.a.store.epoch == nodes.b.store.epoch


async def test_what_a_live_node_runs_is_nobody_elses(nodes: Nodes) -> None:
    job = await nodes.a.start("j1", options=TWICE)
    nodes.pass_s(29.9)
    assert (await nodes.b.store.claim(9)).started == ()
    assert [row.id for row in await nodes.a.store.running()] == ["j1"]
    assert await nodes.b.store.running() == ()
    assert (await nodes.a.end(job)).state is JobState.COMPLETED


async def test_a_lease_that_is_renewed_goes_on_from_there(nodes: Nodes) -> None:
    job = await nodes.a.start("j1", options=TWICE)
    for _ in range(5):
        nodes.pass_s(20.0)
        assert await nodes.a.store.renew() == Renewed(nodes.a.store.boot, anew=False)
        await nodes.b.store.renew()
        assert (await nodes.b.store.claim(9)).started == ()
    await nodes.a.write(job, "still its own")


async def test_what_a_dead_node_ran_is_the_next_attempt_of_another_one(nodes: Nodes) -> None:
    job = await dead(nodes)
    (again,) = (await nodes.b.store.claim(9)).started
    assert (again.id, again.attempt, again.attempts_used) == ("j1", 2, 1)
    assert (again.boot, again.fence > job.fence) == (nodes.b.store.boot, True)
    assert await nodes.b.log("j1") == (), "cut to its savepoint"
    await nodes.b.write(again, "of the second")
    await nodes.b.end(again)
    assert len(await nodes.b.store.notifications("ada")) == 1


async def test_a_late_write_is_refused_before_anybody_has_claimed_the_attempt(nodes: Nodes) -> None:
    await refused_everywhere(nodes.a, await dead(nodes))


async def test_a_late_write_is_refused_while_another_node_runs_the_next_attempt(nodes: Nodes) -> None:
    job = await dead(nodes)
    (again,) = (await nodes.b.store.claim(9)).started
    await refused_everywhere(nodes.a, job)
    await nodes.b.write(again, "of the second")


async def test_a_dead_node_claims_nothing_until_it_has_begun_another_boot(nodes: Nodes) -> None:
    await dead(nodes)
    await nodes.a.admit("j2")
    assert (await nodes.a.store.claim(9)).started == ()
    assert (await nodes.a.store.renew()).anew
    assert [job.id for job in (await nodes.a.store.claim(9)).started] == ["j1", "j2"]


async def test_a_lease_that_has_run_out_is_not_prolonged_but_another_boot_begins(nodes: Nodes) -> None:
    job = await dead(nodes)
    old = nodes.a.store.boot
    renewed = await nodes.a.store.renew()
    assert renewed == Renewed(nodes.a.store.boot, anew=True)
    assert nodes.a.store.boot not in (old, nodes.b.store.boot)
    assert await nodes.a.store.running() == (), "what it ran is not its own any more"
    await refused_everywhere(nodes.a, job)
    assert await nodes.a.store.renew() == Renewed(renewed.boot, anew=False)


async def test_a_node_that_let_go_gives_up_at_once_what_it_ran(nodes: Nodes) -> None:
    job = await nodes.a.start("j1", options=TWICE)
    assert (await nodes.a.store.renew(anew=True)).anew
    await refused_everywhere(nodes.a, job)
    assert [row.id for row in (await nodes.b.store.claim(9)).started] == ["j1"]


@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
async def test_a_nodes_own_clock_decides_nothing(nodes: Nodes, by_s: float) -> None:
    job = await nodes.a.start("j1", options=options(attempts=2, queue_timeout_s=5.0))
    await nodes.a.admit("later", delay_s=5.0)
    nodes.a.wall.jump(by_s)
    await nodes.a.admit("next", options=options(queue_timeout_s=5.0))
    claims = await nodes.a.store.claim(0)
    assert (claims.now, claims.next_due_at, claims.ended) == (1000.0, 1005.0, ())
    assert await nodes.a.store.queue_places(["ada"]) == {"ada": (("next", 1),)}
    assert (await nodes.a.row("next")).created_at == 1000.0
    assert not (await nodes.a.store.renew()).anew
    await nodes.a.write(job, "its own")
    assert [row.id for row in (await nodes.b.store.claim(9)).started] == ["next"]
    nodes.pass_s(5.0)
    assert [row.id for row in (await nodes.b.store.claim(9)).started] == ["later"]


async def test_every_node_hears_of_every_commit_in_order(nodes: Nodes) -> None:
    job = await nodes.a.start("j1", options=TWICE)
    await nodes.a.write(job, "some")
    await nodes.a.write(job, "more")
    await nodes.b.store.cancel("j1", "ada")
    await nodes.a.end(job, EndingKind.CANCELLED)
    assert nodes.b.notices == nodes.a.notices
    lengths = [entries for notice in nodes.b.notices for _, entries in notice.outputs.values()]
    assert lengths == [1, 2]
    assert nodes.a.notices[-1].jobs[-1].state is JobState.CANCELLED


async def test_limits_and_threads_are_over_all_nodes(nodes: Nodes) -> None:
    await nodes.a.start("j1", thread="t")
    await nodes.b.admit("j2", thread="t")
    await nodes.b.admit("j3")
    assert (await nodes.b.store.claim(9, 1)).started == ()
    assert [row.id for row in (await nodes.b.store.claim(9, 2)).started] == ["j3"]
    assert (await nodes.b.store.active_counts())[JobState.RUNNING] == 2


async def test_what_a_live_node_claimed_unheard_is_given_back_by_that_node_alone(nodes: Nodes) -> None:
    boot = nodes.a.store.boot
    await nodes.a.start("j1")
    assert (await nodes.b.store.claim(9, begun=Begun([nodes.b.store.boot], []))).started == ()
    (again,) = (await nodes.a.store.claim(9, begun=Begun([boot], []))).started
    assert (again.attempt, again.attempts_used) == (2, 0)
    assert (await nodes.b.store.claim(9)).started == ()


async def test_what_a_dead_boot_of_a_node_claimed_unheard_used_no_attempt(nodes: Nodes) -> None:
    old = nodes.a.store.boot
    await nodes.a.start("j1")
    await nodes.a.store.renew(anew=True)
    boots = [old, nodes.a.store.boot]
    (again,) = (await nodes.a.store.claim(9, begun=Begun(boots, []))).started
    assert (again.attempt, again.attempts_used) == (2, 0)


@clause("N1")
async def test_a_node_that_starts_leaves_the_hooks_that_a_live_one_runs(nodes: Nodes) -> None:
    await ended(nodes.a, "j1")
    assert await claim(nodes.a) == [("j1", 1, JobState.COMPLETED)]
    assert await claim(nodes.b) == []
    assert await claim(nodes.b, begun=Begun([nodes.b.store.boot], [])) == []
    assert await settle(nodes.a, "j1", 1, TryEnd.DONE) is None


@clause("N1")
async def test_the_hooks_that_a_dead_node_ran_are_anothers_and_it_claims_none(nodes: Nodes) -> None:
    await ended(nodes.a, "j0")
    await claim(nodes.a)
    await dead(nodes)
    assert await claim(nodes.a) == []
    assert await claim(nodes.b) == [("j0", 2, JobState.COMPLETED)]
    await nodes.a.store.renew()
    assert await claim(nodes.a) == []
