"""Nodes with different jobs on one store: each job runs where it is known, and one of nobody's is lost."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.store.shared_memory import SharedMemory
from tests.supervisor.nodes import LEASE, Node, node_of

pytestmark = pytest.mark.clause("J6")

QUEUED = trouper.JobState.QUEUED


def job_named(name: str, ran: list[str], *, seconds: float = 1.0) -> Any:
    @trouper.job(name=name, retry=trouper.Retry(attempts=3))
    async def work(ctx: trouper.JobContext) -> str:
        ran.append(name)
        await trio.sleep(seconds)
        return name

    return work


NOTICES_MAX = 1_000
"""Nodes that answer each other's marks for ever do so without time going on: no time-out would end it."""


class Feed:
    """What the rows of a user looked like, commit by commit."""

    def __init__(self, node: Node, name: str) -> None:
        self.reasons: list[str | None] = []
        notices = iter(range(NOTICES_MAX))

        def heard(notice: Any) -> None:
            next(notices)
            self.reasons += [job.reason for job in notice.jobs if job.name == name and job.state is QUEUED]

        node.store.listen(heard)


async def test_each_job_runs_where_it_is_known_and_one_of_nobody_is_lost_after_its_time(
    autojump_clock: MockClock,
) -> None:
    shared = SharedMemory(lease=LEASE)
    on_a: list[str] = []
    on_b: list[str] = []
    options = {"unknown_job_s": 60.0}
    nobodys = job_named("gone", [], seconds=1e6)
    async with node_of(shared, "gone", nobodys, **options) as gone:
        lost = await gone.runtime.submit(nobodys.call(), user="ada")
        await trio.sleep(1)
    one, two = job_named("one", on_a), job_named("two", on_b)
    both = job_named("both", on_a)
    async with (
        node_of(shared, "a", one, both, **options) as a,
        node_of(shared, "b", two, job_named("both", on_b), **options) as b,
    ):
        feed = Feed(a, "gone")
        jobs = [await a.runtime.submit(spec.call(), user="ada") for spec in (one, both) for _ in range(3)]
        jobs += [await b.runtime.submit(two.call(), user="ada") for _ in range(3)]
        for job in jobs:
            assert (await a.runtime.wait(job.id)).attempt == 1
        assert set(on_a) - {"both"} == {"one"}
        assert set(on_b) - {"both"} == {"two"}
        began = trio.current_time()
        ended = await b.runtime.wait(lost.id)
        assert (ended.state, ended.reason) == (trouper.JobState.LOST, "unknown_job")
        assert trio.current_time() - began <= 60
        assert feed.reasons in ([], ["unknown_job"]), "it is told once, and not taken back"


async def test_two_nodes_with_different_jobs_do_not_mark_each_other_s_rows(
    autojump_clock: MockClock,
) -> None:
    shared = SharedMemory(lease=LEASE)
    one, two = job_named("one", [], seconds=500), job_named("two", [], seconds=500)
    async with (
        node_of(shared, "a", one, max_running=1) as a,
        node_of(shared, "b", two, max_running=1) as b,
    ):
        await trio.sleep(1)
        feeds = [Feed(a, "one"), Feed(b, "two")]
        waiting = []
        for node, spec in ((a, one), (b, two)):
            await node.runtime.submit(spec.call(), user="ada")
            await trio.sleep(1)
            waiting.append(await node.runtime.submit(spec.call(), user="ada"))
        commits = [node.store.statistics()["commits"] for node in (a, b)]
        seq = (await a.store.snapshot("ada", 9)).seq
        await trio.sleep(300)
        assert (await a.store.snapshot("ada", 9)).seq == seq, "nothing changes while both wait"
        for node, before in zip((a, b), commits, strict=True):
            assert node.store.statistics()["commits"] - before < 200
        for feed in feeds:
            assert set(feed.reasons) == {None}
        rows = [await a.runtime.job(job.id) for job in waiting]
        assert [(row.state, row.reason) for row in rows] == [(QUEUED, None)] * 2


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "dies"])
async def test_the_names_of_a_node_are_gone_when_it_closes_or_its_lease_ends(
    closes: bool, autojump_clock: MockClock
) -> None:
    shared, ran = SharedMemory(lease=LEASE), list[str]()
    one, two = job_named("one", ran, seconds=500), job_named("two", [])
    async with node_of(shared, "b", two) as b:
        Feed(b, "one")
        async with node_of(shared, "a", one, max_running=1) as a:
            await a.runtime.submit(one.call(), user="ada")
            waits = await a.runtime.submit(one.call(), user="ada")
            await trio.sleep(1)
            if not closes:
                a.store.cut("down")
        await trio.sleep(b.runtime.options.sweep_interval_s + 1)
        row = await b.runtime.job(waits.id)
        assert (row.state, row.reason) == (QUEUED, "unknown_job" if closes else None)
        await trio.sleep(LEASE.seconds)
        row = await b.runtime.job(waits.id)
        assert (row.state, row.reason) == (QUEUED, "unknown_job")
        async with node_of(shared, "c", one):
            await trio.sleep(1)
            row = await b.runtime.job(waits.id)
            assert (row.state, row.reason) == (trouper.JobState.RUNNING, None)


async def test_what_a_dead_node_ran_goes_to_the_node_that_knows_it(autojump_clock: MockClock) -> None:
    """Another one, that does not know it, is the first to find it."""
    shared, ran = SharedMemory(lease=LEASE), list[str]()
    one, two = job_named("one", ran, seconds=20), job_named("two", [])
    async with node_of(shared, "b", two) as b, node_of(shared, "c", one, max_running=1) as c:
        Feed(b, "one")
        busy = await c.runtime.submit(one.call(), user="bob")
        async with node_of(shared, "a", one) as a:
            await trio.sleep(1)
            job = await a.runtime.submit(one.call(), user="ada")
            await trio.sleep(1)
            assert [row.id for row in await a.store.running()] == [job.id]
            a.store.cut("down")
            await c.runtime.wait(busy.id)
            await trio.sleep(4)
            c.store.cut("silent")  # for less than its lease
            await trio.sleep(LEASE.seconds - 22 + b.runtime.options.sweep_interval_s)
            row = await b.runtime.job(job.id)
            assert (row.state, row.reason, row.unknown_until) == (QUEUED, "process_death", None)
            assert (row.attempt, row.attempts_used) == (1, 1)
            c.store.heal()
            ended = await b.runtime.wait(job.id)
        assert (ended.state, ended.attempt, ended.attempts_used) == (trouper.JobState.COMPLETED, 2, 1)
        assert len(ran) == 3


async def test_a_node_that_lost_its_lease_registers_anew_under_its_next_boot(
    autojump_clock: MockClock,
) -> None:
    shared = SharedMemory(lease=LEASE)
    one, two = job_named("one", []), job_named("two", [])
    async with node_of(shared, "a", one) as a, node_of(shared, "b", two) as b:
        Feed(b, "one")
        a.store.cut("down")
        await trio.sleep(LEASE.seconds + 1)
        a.store.heal()
        await trio.sleep(LEASE.seconds)
        job = await a.runtime.submit(one.call(), user="ada")
        assert (await b.runtime.wait(job.id)).state is trouper.JobState.COMPLETED


async def test_a_runtime_shows_how_many_jobs_it_registers_and_refuses_more_than_it_may() -> None:
    jobs = [job_named(f"job{place}", []) for place in range(3)]
    options = trouper.StoreOptions(job_names_max=2)
    async with trouper.open_runtime("memory:", jobs=jobs[:2], store_options=options) as runtime:
        await runtime.wait((await runtime.submit(jobs[0].call(), user="ada")).id)
        shown = runtime.statistics()["store"]
        assert (shown["job_names"], shown["job_names_max"]) == (2, 2)
    with pytest.raises(ValueError, match="3 jobs: legal are up to 2"):
        async with trouper.open_runtime("memory:", jobs=jobs, store_options=options):
            pass


@pytest.mark.clause("J6", "N1")
async def test_a_hook_is_left_to_a_live_node_that_has_its_job(autojump_clock: MockClock) -> None:
    """Each of its tries would fail where the job is not known, until it was given up without having run."""
    shared = SharedMemory(lease=LEASE)
    heard: list[str] = []
    work: trouper.JobSpec[Any, Any] = job_named("work", [])

    @work.on_ended(retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=20)))
    async def hook(job: trouper.Job) -> None:  # noqa: ASYNC124  # as a hook is
        heard.append(job.id)
        if heard.count(job.id) == 1:
            raise ConnectionError("the database is away")

    async with (
        node_of(shared, "a", work, sweep_interval_s=7) as a,
        node_of(shared, "b", job_named("other", []), sweep_interval_s=1) as b,
    ):
        ids = [(await a.runtime.submit(work.call(), user="ada")).id for _ in range(5)]
        await trio.sleep(100)
        assert sorted(heard) == sorted(2 * ids)
        assert [node.runtime.statistics()["hooks"]["failed"] for node in (a, b)] == [5, 0]
        assert await a.runtime.dead_completions() == ()
