"""What a dead process leaves behind, and what the next one makes of it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import attrs
import orjson
import pytest
import trio

from tests.store.support import PROMPT_OPTIONS, Source, World, look, options, sha256
from trouper.store.options import StoreOptions
from trouper.store.protocol import EndingKind
from trouper.store.records import Entry, JobState

ROOT = Path(__file__).resolve().parents[2]


async def lost(world: World, nursery: trio.Nursery, folder: str = "copy") -> World:
    """Another machine that got the files of ``world`` as they are now: an abrupt loss."""
    await world.store.job("none")  # so that no commit is under way
    target = world.path.parent / folder
    target.mkdir()
    for path in world.path.parent.glob("store.db*"):
        if not path.name.endswith((".lock", "-shm")):
            shutil.copy(path, target / path.name)
    copy = World("sqlite", target, nursery)
    await copy.open()
    return copy


@pytest.mark.clause("O2")
async def test_every_committed_entry_outlives_an_abrupt_loss(sqlite: World, nursery: trio.Nursery) -> None:
    first = await sqlite.start("j1", options=options(attempts=9))
    second = await sqlite.start("j2", options=options(attempts=9))
    one, two = Source(sqlite.store, first), Source(sqlite.store, second)
    one.used_ms = 1234
    for round in range(5):
        two.write(("event", str(round)))
        await one.commit(f"a{round}", f"b{round}")
    copy = await lost(sqlite, nursery)
    assert copy.store.boot == sqlite.store.boot + 1
    assert copy.store.epoch == sqlite.store.epoch
    assert await copy.log("j1") == tuple(f"{name}{round}" for round in range(5) for name in "ab")
    assert await copy.log("j2") == tuple(("event", str(round)) for round in range(5))
    row = await copy.row("j1")
    assert (row.state, row.boot, row.entries, row.used_ms) == (JobState.RUNNING, 1, 10, 1234)
    assert look(copy.path, "SELECT * FROM journal") == []


async def test_a_log_that_is_partly_folded_is_recovered_whole(tmp_path: Path, nursery: trio.Nursery) -> None:
    sqlite = World("sqlite", tmp_path, nursery, options=attrs.evolve(PROMPT_OPTIONS, block_bytes=100))
    await sqlite.open()
    job = await sqlite.start("j1")
    expected: list[Entry] = []
    source = Source(sqlite.store, job)
    for round in range(40):
        entry = f"{round}:" + "x" * (round % 7 * 9)
        await source.commit(entry)
        expected.append(entry)
        if round in (3, 17, 39):
            copy = await lost(sqlite, nursery, f"copy{round}")
            assert await copy.log("j1") == tuple(expected)
            await copy.close()
    assert sqlite.store.statistics()["blocks_written"] > 5


async def test_what_the_journal_still_holds_of_earlier_attempts_stays_settled(
    sqlite: World, nursery: trio.Nursery
) -> None:
    other = await sqlite.start("j0")
    await sqlite.write(other, "keeps the journal's rows needed")
    job = await sqlite.start("j1", options=options(attempts=9))
    await sqlite.write(job, "a", "b", "c")
    await sqlite.end(job, EndingKind.CRASHED, retry_after_s=0.0)
    copy = await lost(sqlite, nursery, "queued")
    assert await copy.log("j1") == ("a", "b", "c")
    (job,) = (await sqlite.store.claim(1)).started
    copy = await lost(sqlite, nursery, "claimed")
    assert await copy.log("j1") == ()
    await sqlite.write(job, "A")
    copy = await lost(sqlite, nursery, "running")
    assert await copy.log("j1") == ("A",)
    assert await copy.log("j0") == ("keeps the journal's rows needed",)


async def test_the_journal_is_bounded_also_by_a_job_that_hardly_writes(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    small = StoreOptions(commit_tick_s=0.0, lock_wait_s=0.0, journal_rows_max=16)
    sqlite = World("sqlite", tmp_path, nursery, options=small)
    await sqlite.open()
    quiet, busy = await sqlite.start("j1"), await sqlite.start("j2")
    rare, often = Source(sqlite.store, quiet), Source(sqlite.store, busy)
    for round in range(100):
        if round % 10 == 0:
            rare.write(f"rare{round}")
        await often.commit("often")
        assert len(look(sqlite.path, "SELECT seq FROM journal")) <= 16 + 2
    copy = await lost(sqlite, nursery)
    assert await copy.log("j1") == tuple(f"rare{round}" for round in range(0, 100, 10))
    assert await copy.log("j2") == ("often",) * 100
    # Small pieces grow one block instead of leaving a trail of crumbs.
    assert len(look(sqlite.path, "SELECT * FROM blocks WHERE job = 1")) == 1


async def test_jobs_that_began_together_are_not_written_as_blocks_in_one_commit(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    small = StoreOptions(commit_tick_s=0.0, lock_wait_s=0.0, journal_rows_max=16)
    sqlite = World("sqlite", tmp_path, nursery, options=small)
    await sqlite.open()
    sources = [Source(sqlite.store, await sqlite.start(f"j{place}")) for place in range(40)]
    folded = [0]
    for round in range(60):
        for source in sources:
            source.write(f"{round},")
        await sources[-1].commit("!")
        folded.append(sqlite.store.statistics()["blocks_written"])
        rows = look(sqlite.path, "SELECT seq FROM journal")
        assert len(rows) <= 16 + 2
    assert folded[16] == 40, "each by the time that its row must go"
    assert max(now - before for before, now in pairwise(folded)) == 11
    copy = await lost(sqlite, nursery)
    for place in range(40):
        end = "!" if place == 39 else ""
        text = "".join(str(entry) for entry in await copy.log(f"j{place}"))
        assert text == "".join(f"{round},{end}" for round in range(60))


async def test_blocks_are_of_a_useful_size_and_a_finished_job_leaves_no_journal(sqlite: World) -> None:
    job = await sqlite.start("j1")
    source = Source(sqlite.store, job)
    for _ in range(60):
        await source.commit("x" * 8000)
    sizes = [size for (size,) in look(sqlite.path, "SELECT length(body) FROM blocks ORDER BY start")]
    assert len(sizes) == 6
    assert min(sizes) >= 64 * 1024
    await sqlite.end(job)
    assert look(sqlite.path, "SELECT * FROM journal") == []
    statistics = sqlite.store.statistics()
    assert (statistics["unfolded_bytes"], statistics["heads"], statistics["journal_rows"]) == (0, 0, 0)


# --- real kills ---------------------------------------------------------------------------------


def _live(path: Path, site: str, occurrence: int) -> int:
    program = [sys.executable, "-m", "tests.store.killed_store", str(path), site, str(occurrence)]
    return subprocess.run(program, cwd=ROOT, check=False, timeout=60).returncode


@pytest.mark.slow
@pytest.mark.clause("N1")
@pytest.mark.clause("J6")
@pytest.mark.parametrize(
    ("site", "occurrence", "before"),
    [
        ("output.appended", 4, "e0 e1 e2"),
        ("output.committed", 4, "e0 e1 e2 e3"),
        ("finish.begun", 1, "e0 e1 e2 e3 e4"),
        ("finish.committed", 1, "e0 e1 e2 e3 e4"),
    ],
)
async def test_a_kill_at_a_fault_point_loses_nothing_committed_and_doubles_no_notification(
    tmp_path: Path, nursery: trio.Nursery, site: str, occurrence: int, before: str
) -> None:
    path = tmp_path / "store.db"
    assert _live(path, site, occurrence) == -signal.SIGKILL
    (journal,) = [[orjson.loads(body) for (body,) in look(path, "SELECT body FROM journal ORDER BY seq")]]
    if journal:
        assert " ".join(entry for ((*_, entries),) in journal for entry in entries) == before
    assert _live(path, "nowhere", 1) == 0
    world = World("sqlite", tmp_path, nursery)
    await world.open()
    row = await world.row("j1")
    assert (row.state, row.entries, row.sha256) == (
        JobState.COMPLETED,
        5,
        sha256([f"e{number}" for number in range(5)]),
    )
    assert row.attempt == (1 if site == "finish.committed" else 2)
    assert row.keeps == ((0,) if site == "finish.committed" else (0, 2))
    assert await world.log("j1") == ("e0", "e1", "e2", "e3", "e4")
    assert [row.title for row in await world.store.notifications("ada")] == ["report completed"]
