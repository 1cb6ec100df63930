"""Output in the commits of SQLite: taken back whole, kept beside what fails, joined."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from tests.store.support import Fault, admission, opened
from trouper.store.contract.world import Source, World
from trouper.store.errors import DataRefused, StoreUnavailable
from trouper.store.protocol import APPENDED
from trouper.store.records import Entry


@pytest.mark.clause("E1")
async def test_output_of_every_kind_is_taken_back_from_a_commit_that_fails(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    fault = Fault()
    world = await opened(tmp_path, nursery, fault=fault)
    jobs = [await world.start(f"j{place}") for place in range(4)]
    sources = [Source(world.store, jobs[0]), *[await world.write(job, "before") for job in jobs[1:]]]
    finish = await world.finish_of(jobs[1], entries=3)
    unfolded = world.store.statistics()["unfolded_bytes"]
    fault.at["output.appended"] = 1
    later: list[list[Entry]] = [["a"], ["a", ("e", "1")], ["x" * 16_000] * 5, ["\u00e9\U0001f600"]]
    for source, entries in zip(sources, later, strict=True):
        source.used_ms = 900
        source.write(*entries)
    with pytest.raises(StoreUnavailable):
        await world.store.finish(finish)
    assert world.store.statistics()["unfolded_bytes"] == unfolded
    assert [(await world.row(job.id)).used_ms for job in jobs] == [0, 1, 1, 1]
    for source, entries in zip(sources, later, strict=True):
        await source.until(len(entries) + (source is not sources[0]))
    assert await world.log("j0") == ("a",)
    assert await world.log("j1") == ("before", "a", ("e", "1"))
    assert await world.log("j2") == ("before", *["x" * 16_000] * 5)
    await world.restart()
    assert await world.log("j3") == ("before", "\u00e9\U0001f600")


async def test_a_poisoned_operation_leaves_the_output_beside_it(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = await opened(tmp_path, nursery)
    source = Source(world.store, await world.start("j1"))
    source.write("a")
    with pytest.raises(DataRefused):
        await world.store.admit(admission("j2", arguments="\ud800"))
    assert source.results == [APPENDED]
    await world.restart()
    assert await world.log("j1") == ("a",)


@pytest.mark.clause("E1", "J6")
async def test_an_end_that_cannot_be_written_leaves_the_attempt_as_it_was(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = await opened(tmp_path, nursery)
    job = await world.start("j1")
    source = await world.write(job, "a")
    with pytest.raises(DataRefused):  # by the row, when the log was closed already
        await world.end(job, used_ms=1 << 80)
    assert await source.commit("b") == APPENDED
    assert (await world.end(job)).entries == 2
    assert await world.log("j1") == ("a", "b")


async def test_two_appends_of_one_attempt_in_one_commit_are_both_kept(sqlite: World) -> None:
    job = await sqlite.start("j1")
    first, second = Source(sqlite.store, job), Source(sqlite.store, job, start=1)
    first.write("a")
    assert await second.commit("b") == APPENDED
    assert sqlite.notices[-1].outputs == {"j1": (1, 2)}
    await sqlite.restart()
    assert await sqlite.log("j1") == ("a", "b")
