"""Group commit: what shares a commit, what fails alone, and what becomes of a failed one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.store.support import (
    PROMPT_OPTIONS,
    Fault,
    GateThread,
    Source,
    World,
    admission,
    database,
    look,
    opened,
)
from trouper.store.errors import DataRefused, StoreUnavailable
from trouper.store.options import StoreOptions
from trouper.store.protocol import APPENDED, AppendFailed, CommitNotice, Finished
from trouper.store.records import JobState

# --- one commit for all -------------------------------------------------------------------------


async def test_all_dirty_sources_share_one_commit(tmp_path: Path, nursery: trio.Nursery) -> None:
    sqlite = await opened(tmp_path, nursery)
    sources = [Source(sqlite.store, await sqlite.start(f"j{place}")) for place in range(50)]
    before = sqlite.store.statistics()["output_commits"]
    for source in sources:
        source.write("a", "b")
    await sources[-1].commit("c")
    assert sqlite.store.statistics()["output_commits"] == before + 1
    assert all(source.results == [APPENDED] for source in sources)
    assert len(sqlite.notices[-1].outputs) == 50
    assert len(look(sqlite.path, "SELECT * FROM journal")) == 1


@pytest.mark.clause("N1")
async def test_an_operation_takes_all_pending_output_along(tmp_path: Path, nursery: trio.Nursery) -> None:
    sqlite = await opened(tmp_path, nursery)
    first, second = await sqlite.start("j1"), await sqlite.start("j2")
    one, two = Source(sqlite.store, first), Source(sqlite.store, second)
    finish = await sqlite.finish_of(first, entries=1)
    before = sqlite.store.statistics()["commits"]
    one.write("a")
    two.write("b")
    assert isinstance(await sqlite.store.finish(finish), Finished)
    assert sqlite.store.statistics()["commits"] == before + 1
    assert sqlite.notices[-1].outputs == {"j1": (1, 1), "j2": (1, 1)}
    assert [job.state for job in sqlite.notices[-1].jobs] == [JobState.COMPLETED]


async def test_closing_commits_what_is_pending(tmp_path: Path, nursery: trio.Nursery) -> None:
    world = await opened(tmp_path, nursery, options=attrs.evolve(PROMPT_OPTIONS, commit_tick_s=60.0))
    source = Source(world.store, await world.start("j1"))
    await source.commit("first")
    source.write("last")
    await world.close()
    assert source.results[-1] == APPENDED
    assert [body for (body,) in look(world.path, "SELECT body FROM journal ORDER BY seq")][-1] == (
        b'[[1,1,1,1,["last"]]]'
    )


# --- failing alone and together -----------------------------------------------------------------


@pytest.mark.clause("E1")
async def test_a_poisoned_operation_fails_alone_in_its_batch(tmp_path: Path, nursery: trio.Nursery) -> None:
    thread = GateThread("gate")
    world = await opened(tmp_path, nursery, open_thread=lambda name: thread)
    await world.end(await world.start("j0"))
    commits = world.store.statistics()["commits"]
    errors: list[Exception] = []

    async def poisoned() -> None:
        try:
            await world.store.mark("ada", "seen", upto_seq=1 << 80)
        except DataRefused as error:
            errors.append(error)

    thread.shut = True
    async with trio.open_nursery() as together:
        together.start_soon(world.store.job, "j0")
        await thread.entered.wait()
        together.start_soon(world.admit, "j1")
        together.start_soon(poisoned)
        together.start_soon(world.admit, "j2")
        await trio.testing.wait_all_tasks_blocked()
        thread.shut = False
        thread.gate.set()
    assert len(errors) == 1
    assert world.store.statistics()["commits"] == commits + 1
    assert [job.id for job in await world.store.jobs("ada")][::-1][1:] in (["j1", "j2"], ["j2", "j1"])


@pytest.mark.clause("E1", "J4")
async def test_what_a_poisoned_operation_wrote_before_it_failed_is_taken_back(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = await opened(tmp_path, nursery)
    waiting = await world.admit("j1", thread="t")
    with pytest.raises(DataRefused):  # it ends what waits in the thread, and cannot be inserted then
        await world.admit("j2", thread="t", on_busy="interrupt", at=1 << 80)
    assert await world.row("j1") == waiting
    assert await world.store.job("j2") is None
    assert [job.id for job in (await world.store.claim(2)).started] == ["j1"]
    assert world.store.statistics()["poisoned"] == 1


@pytest.mark.clause("E1")
async def test_a_failed_commit_tells_its_waiters_and_sources_and_the_output_goes_later(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    fault = Fault()
    world = await opened(tmp_path, nursery, fault=fault)
    job = await world.start("j1")
    source = await world.write(job, "a")
    told = len(world.notices)
    fault.at["output.appended"] = 3
    source.write("b")
    with pytest.raises(StoreUnavailable, match="nothing was committed: OSError: the disk is on fire"):
        await world.store.admit(admission("j2"))
    assert isinstance(source.results[-1], AppendFailed)
    assert len(world.notices) == told
    await source.until(2)
    assert await world.log("j1") == ("a", "b")
    assert await world.store.job("j2") is None
    assert world.store.statistics()["failed_commits"] == 3
    await world.end(job)


@pytest.mark.clause("E1")
async def test_a_failed_finish_can_be_repeated(tmp_path: Path, nursery: trio.Nursery) -> None:
    fault = Fault()
    world = await opened(tmp_path, nursery, fault=fault)
    job = await world.start("j1")
    finish = await world.finish_of(job, entries=1)
    fault.at["output.appended"] = 1
    Source(world.store, job).write("a")
    with pytest.raises(StoreUnavailable):
        await world.store.finish(finish)
    assert (await world.row("j1")).state is JobState.RUNNING
    answer = await world.store.finish(finish)
    assert isinstance(answer, Finished)
    assert (answer.job.state, await world.log("j1")) == (JobState.COMPLETED, ("a",))


@pytest.mark.clause("E1")
async def test_a_full_disk_refuses_for_now_and_loses_nothing(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = await opened(tmp_path, nursery)
    job = await world.start("j1")
    await world.write(job, "a")
    connection = world.store._engine._db  # type: ignore[attr-defined]
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    source = Source(world.store, job, start=1)
    source.write("b" * 100_000)
    with pytest.raises(StoreUnavailable, match="full"):
        await world.store.admit(admission("j2"))
    connection.execute("PRAGMA max_page_count = 100000")
    await source.until(2)
    assert await world.log("j1") == ("a", "b" * 100_000)
    await world.admit("j2")


@pytest.mark.clause("E1")
async def test_a_database_that_another_program_locks_refuses_for_now(sqlite: World) -> None:
    await sqlite.admit("j1")
    other = database(sqlite.path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await sqlite.store.admit(admission("j2"))
    assert (await sqlite.row("j1")).id == "j1", "what is committed can be read"
    other.execute("ROLLBACK")
    other.close()
    await sqlite.admit("j2")


@pytest.mark.clause("E1", "E2")
async def test_a_full_queue_of_operations_refuses_and_names_its_bound(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    thread = GateThread("gate")
    world = await opened(
        tmp_path, nursery, open_thread=lambda name: thread, options=StoreOptions(operations_max=2)
    )
    thread.shut = True
    async with trio.open_nursery() as waiting:
        waiting.start_soon(world.store.job, "under way")
        await thread.entered.wait()
        for id in ("j1", "j2"):
            waiting.start_soon(world.store.job, id)
        await trio.testing.wait_all_tasks_blocked()
        assert world.store.statistics()["queued_operations"] == 2
        with pytest.raises(StoreUnavailable, match=r"has 2 operations waiting \(operations_max\)"):
            await world.store.job("j3")
        thread.shut = False
        thread.gate.set()


# --- cancellation -------------------------------------------------------------------------------


async def test_a_cancelled_caller_withdraws_what_waits_and_waits_for_what_was_handed_over(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    thread = GateThread("gate")
    world = await opened(tmp_path, nursery, open_thread=lambda name: thread)
    ended: list[str] = []
    scopes: list[trio.CancelScope] = []

    async def admit(id: str) -> None:
        try:
            with trio.CancelScope() as own:
                scopes.append(own)
                await world.admit(id)
        finally:
            ended.append(id)

    thread.shut = True
    async with trio.open_nursery() as callers:
        callers.start_soon(admit, "handed over")
        await thread.entered.wait()
        callers.start_soon(admit, "waits")
        await trio.testing.wait_all_tasks_blocked()
        for scope in scopes:
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert ended == ["waits"]
        thread.shut = False
        thread.gate.set()
    assert await world.store.job("handed over") is not None
    assert await world.store.job("waits") is None


# --- faults on purpose, and faults of the runtime -----------------------------------------------


async def test_the_fault_points_are_where_they_are_said_to_be(tmp_path: Path, nursery: trio.Nursery) -> None:
    fault = Fault()
    world = await opened(tmp_path, nursery, fault=fault)
    job = await world.start("j1")
    assert fault.seen == ["admit.begun", "admit.committed", "claim.begun", "claim.committed"]
    fault.seen.clear()
    await world.write(job, "a")
    assert fault.seen == ["output.appended", "output.committed"]
    fault.seen.clear()
    finish = await world.finish_of(job, entries=2)
    Source(world.store, job, start=1).write("b")
    await world.store.finish(finish)
    assert fault.seen == ["finish.begun", "output.appended", "output.committed", "finish.committed"]
    fault.seen.clear()
    await world.store.cancel("j1", None)
    assert fault.seen == ["cancel.begun", "cancel.committed"]


async def test_a_fault_after_the_commit_ends_the_store_and_the_outcome_can_be_asked_for(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    fault = Fault()
    world = World("sqlite", tmp_path, nursery, fault=fault)
    raised: list[BaseException] = []
    ended = trio.Event()

    async def run(**task_status: Any) -> None:
        try:
            await world.store.run(**task_status)
        except OSError as error:
            raised.append(error)
            ended.set()

    await nursery.start(run)
    finish = await world.finish_of(await world.start("j1"))
    fault.at["finish.committed"] = 1
    with pytest.raises(StoreUnavailable, match="the outcome is unknown"):
        await world.store.finish(finish)
    await ended.wait()
    assert [str(error) for error in raised] == ["the disk is on fire"]
    again = await opened(tmp_path, nursery)
    answer = await again.store.finish(finish)
    assert isinstance(answer, Finished)
    assert await again.store.notifications("ada") == (answer.notification,)


@pytest.mark.clause("N1")
@pytest.mark.parametrize("site", ["finish.committed", "output.committed"])
async def test_listeners_are_told_of_a_commit_also_if_something_fails_after_it(
    tmp_path: Path, nursery: trio.Nursery, site: str
) -> None:
    fault = Fault()
    world = World("sqlite", tmp_path, nursery, fault=fault)
    ended = trio.Event()

    async def run(**task_status: Any) -> None:
        with pytest.raises(OSError, match="on fire"):
            await world.store.run(**task_status)
        ended.set()

    await nursery.start(run)
    job = await world.start("j1")
    finish = await world.finish_of(job, entries=1)
    told = len(world.notices)
    fault.at[site] = 1
    source = Source(world.store, job)
    source.write("a")
    with pytest.raises(StoreUnavailable):
        await world.store.finish(finish)
    (notice,) = world.notices[told:]
    assert [(row.id, row.state) for row in notice.jobs] == [("j1", JobState.COMPLETED)]
    assert (notice.outputs, notice.due) == ({"j1": (1, 1)}, True)
    assert isinstance(source.results[-1], AppendFailed)
    await ended.wait()


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_a_listener_that_raises_ends_the_store_after_everybody_was_told(
    tmp_path: Path, nursery: trio.Nursery, engine: str
) -> None:
    heard: list[CommitNotice] = []
    raised: list[Exception] = []
    ended = trio.Event()

    def broken(notice: CommitNotice) -> None:
        raise RuntimeError("a listener's own fault")

    world = World(engine, tmp_path, nursery)
    world.store.listen(broken)
    world.store.listen(heard.append)

    async def run(**task_status: Any) -> None:
        try:
            await world.store.run(**task_status)
        except ExceptionGroup as group:
            raised.extend(group.exceptions)
            ended.set()

    await nursery.start(run)
    await world.admit("j1")
    await ended.wait()
    assert len(heard) == 1
    assert [str(error) for error in raised] == ["a listener's own fault"]
