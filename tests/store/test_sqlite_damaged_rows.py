"""No row, whatever is in it, keeps the next claim (or the next opening) from the jobs beside it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
import trio

from tests.store.support import InlineThread, Source, World, harm, look, options, sha256
from trouper.store import rules
from trouper.store.protocol import EndingKind, Finish, Finished
from trouper.store.records import JobState
from trouper.store.rules import UNDECODABLE
from trouper.store.sqlite_rows import JOB_FIELDS

pytestmark = pytest.mark.clause("E1")

VALUES = (
    "CAST(x'ff41' AS TEXT)",
    "x'ff00'",
    "9223372036854775807",
    "-3",
    "1.5",
    "9e999",
    "'many'",
    "'[-5]'",
    "'[18446744073709551615]'",
    """'{"backoff_base_s": 7, "backoff_factor": 1e300, "timeout_s": 1e300, "attempts": 99}'""",
    "NULL",
)


async def opened(folder: Path, nursery: trio.Nursery) -> World:
    world = World("sqlite", folder, nursery, open_thread=InlineThread)
    await world.open()
    return world


@pytest.mark.parametrize("running", [False, True], ids=["queued", "orphaned"])
@pytest.mark.parametrize("column", JOB_FIELDS)
async def test_whatever_a_column_holds_the_jobs_of_others_are_claimed_beside_it(
    tmp_path: Path, nursery: trio.Nursery, column: str, running: bool
) -> None:
    world = await opened(tmp_path, nursery)
    for place in range(len(VALUES)):
        job = await world.admit(f"j{place}", thread=f"t{place}", options=options(attempts=9))
        if running:
            (job,) = (await world.store.claim(1)).started
            await world.write(job, "a")
            await world.savepoint(job, 1)
    await world.close()
    for place, value in enumerate(VALUES):
        with contextlib.suppress(sqlite3.IntegrityError):  # what no column may hold
            harm(world.path, f"UPDATE jobs SET {column} = {value} WHERE ord = {place + 1}")
    await world.restart()
    await world.admit("healthy", user="bob")
    claims = await world.store.claim(99)
    assert "healthy" in [job.id for job in claims.started]
    orphans = f"state = 'running' AND boot IS NOT {world.store.boot}"
    assert look(world.path, f"SELECT ord, state FROM jobs WHERE state = 'queued' OR {orphans}") == []
    for user in ("ada", "bob"):
        await world.store.snapshot(user, 9)
        await world.store.jobs(user)
    await world.restart()
    await world.store.claim(99)


@pytest.mark.parametrize("column", ["feed_seq", "floor_seq", "served", "since", "running"])
async def test_whatever_the_row_of_a_user_holds_jobs_are_claimed_and_the_feed_goes_on(
    tmp_path: Path, nursery: trio.Nursery, column: str
) -> None:
    world = await opened(tmp_path, nursery)
    users = [f"user{place}" for place in range(len(VALUES))]
    before: dict[str, int] = {}
    for user in users:
        await world.end(await world.start(f"first of {user}", user=user))
        await world.admit(f"second of {user}", user=user)
        before[user] = (await world.store.snapshot(user, 9)).seq
    for user, value in zip(users, VALUES, strict=True):
        with contextlib.suppress(sqlite3.IntegrityError):
            harm(world.path, f"UPDATE users SET {column} = {value} WHERE user = '{user}'")
    claims = await world.store.claim(99)
    assert sorted(job.user for job in claims.started) == sorted(users)
    for job in claims.started:
        assert (await world.store.snapshot(job.user, 9)).seq == job.feed_seq > before[job.user]
        assert await world.store.changes_since(job.user, job.feed_seq, 9) is not None
        await world.end(job)


async def test_a_row_that_can_be_neither_claimed_nor_ended_is_set_aside_and_shown_as_lost(
    sqlite: World,
) -> None:
    await sqlite.admit("j1", thread="t")
    await sqlite.admit("j2", thread="t")
    harm(sqlite.path, "UPDATE jobs SET id = CAST(x'ff41' AS TEXT), attempt = 1 WHERE ord = 1")
    feed = (await sqlite.store.snapshot("ada", 9)).seq
    claims = await sqlite.store.claim(5)
    assert ([job.id for job in claims.started], claims.ended) == (["j2"], ()), "its thread is free"
    assert (await sqlite.store.snapshot("ada", 9)).seq == feed + 1
    (job,) = [job for job in await sqlite.store.jobs("ada") if job.id != "j2"]
    assert (job.id, job.state, job.reason, job.ended_at) == ("\ufffdA", JobState.LOST, UNDECODABLE, 1000.0)
    assert job.error is not None
    assert "its id does not lead to it" in job.error
    assert look(sqlite.path, "SELECT source, hex(body) FROM set_aside") == [("jobs", "FF41")]


async def test_a_row_that_fails_half_way_leaves_nothing_of_its_claim(sqlite: World) -> None:
    hooked = options(attempts=5, on_ended=True, notify_on=("lost",))
    job = await sqlite.start("j1", options=hooked)
    await sqlite.write(job, "a", "b")
    await sqlite.end(job, EndingKind.RELEASED)
    await sqlite.admit("j2")
    feed = (await sqlite.store.snapshot("ada", 9)).seq
    # Whatever writes the new attempt into the row of j1 fails, and only that.
    look(
        sqlite.path,
        "CREATE TRIGGER broken BEFORE UPDATE OF attempt ON jobs WHEN old.id = 'j1'"
        " BEGIN SELECT RAISE(ABORT, 'broken'); END",
    )
    claims = await sqlite.store.claim(5)
    assert [job.id for job in claims.started] == ["j2"]
    row = await sqlite.row("j1")
    assert (row.state, row.reason, row.attempt, row.keeps) == (JobState.LOST, UNDECODABLE, 1, (0,))
    assert await sqlite.log("j1") == ("a", "b")
    assert sqlite.store.statistics()["heads"] == 1
    # That it ended is told as every end is.
    assert {job.id: job.state for job in sqlite.notices[-1].jobs} == {
        "j1": JobState.LOST,
        "j2": JobState.RUNNING,
    }
    changes = await sqlite.store.changes_since("ada", feed, 9)
    assert changes is not None
    assert {job.id for job in changes.jobs} == {"j1", "j2"}
    assert [(note.job, note.kind) for note in changes.notifications] == [("j1", "ended")]
    hooks = await sqlite.store.claim_completions(9)
    assert [(hook.job, job.reason) for hook, job in hooks.started] == [("j1", UNDECODABLE)]
    await sqlite.restart()
    assert len((await sqlite.store.claim(5)).started) == 0
    assert [note.job for note in await sqlite.store.notifications("ada")] == ["j2", "j1"], "once"


async def test_a_fault_of_the_runtime_gives_no_job_up(sqlite: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await sqlite.admit("j1")

    def wrong(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(rules, "judge_claim", wrong)
        with pytest.raises(ZeroDivisionError):
            await sqlite.store.claim(1)
    assert [job.id for job in (await sqlite.store.claim(1)).started] == ["j1"]


@pytest.mark.parametrize("kind", ["lose", "finish"])
@pytest.mark.parametrize(
    "assignment",
    [
        "body = x'00'",
        "body = 7",
        "body = '[1]'",
        "start = 'x'",
        "start = 1.5",
        "\"end\" = 'x'",
        '"end" = 9e18',
    ],
)
async def test_a_running_job_ends_although_its_kept_output_is_damaged_in_the_middle(
    sqlite: World, assignment: str, kind: str
) -> None:
    job = await sqlite.start("j1", options=options(attempts=5))
    for part in ("x", "y", "z"):
        await sqlite.write(job, part * 70_000)
    await sqlite.savepoint(job, 3)
    await sqlite.restart()
    (job,) = (await sqlite.store.claim(1)).started
    await sqlite.write(job, *"tail")
    harm(sqlite.path, f"UPDATE blocks SET {assignment} WHERE start = 1")
    if kind == "finish":  # by one that knows the hash of the whole
        hashed = sha256(["x" * 70_000, "y" * 70_000, "z" * 70_000, *"tail"])
        answer = await sqlite.store.finish(
            Finish(
                job_id=job.id,
                fence=job.fence,
                kind=EndingKind.RETURNED,
                entries=7,
                sha256=hashed,
                used_ms=1,
            )
        )
    else:
        answer = await sqlite.store.lose(job.id, job.fence, UNDECODABLE)
    assert isinstance(answer, Finished)
    assert answer.notification is not None
    if kind == "finish":
        assert (answer.job.state, answer.job.entries) == (JobState.COMPLETED, 7)
        return
    readable = ("x" * 70_000,)
    assert (answer.job.state, answer.job.reason) == (JobState.LOST, UNDECODABLE)
    assert (answer.job.entries, answer.job.sha256) == (1, sha256(readable))
    assert await sqlite.log("j1") == readable
    assert len(look(sqlite.path, "SELECT * FROM set_aside WHERE source = 'blocks'")) >= 2
    await sqlite.restart()
    assert await sqlite.row("j1") == answer.job


@pytest.mark.parametrize("body", ["7", "'[\"a\"]'", "x''", "x'5d'"])
async def test_a_small_block_that_is_damaged_keeps_no_commit_from_the_others(
    sqlite: World, body: str
) -> None:
    job = await sqlite.start("j1", options=options(attempts=5))
    await sqlite.write(job, "a")
    await sqlite.savepoint(job, 1)
    await sqlite.restart()
    (job,) = (await sqlite.store.claim(1)).started
    harm(sqlite.path, f"UPDATE blocks SET body = {body}")
    await Source(sqlite.store, job, start=1).commit("b")
    other = await sqlite.start("j2")
    await sqlite.write(other, "c")
    answer = await sqlite.store.lose(job.id, job.fence, UNDECODABLE)
    assert isinstance(answer, Finished)
    assert (await sqlite.end(other)).state is JobState.COMPLETED


@pytest.mark.parametrize("count", ["0", "-1", "NULL", "'many'", "7"])
async def test_a_damaged_count_of_a_user_hides_no_queue_after_the_next_start(
    sqlite: World, count: str
) -> None:
    await sqlite.start("running")
    await sqlite.admit("waits")
    await sqlite.admit("other", user="bob")
    await sqlite.close()
    if count == "NULL":
        harm(sqlite.path, "DELETE FROM users")
    else:
        harm(sqlite.path, f"UPDATE users SET queued = {count}, running = {count}")
    await sqlite.restart()
    counts = "SELECT user, queued, running FROM users ORDER BY user"
    assert look(sqlite.path, counts) == [("ada", 1, 1), ("bob", 1, 0)]
    claims = await sqlite.store.claim(9)
    assert sorted(job.id for job in (*claims.started, *claims.ended)) == ["other", "running", "waits"]
