"""A database of an earlier version is brought up to date when it is opened, and keeps what it holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.store.support import World, look
from trouper.store.errors import SchemaMismatch, StoreRefused
from trouper.store.records import Job, JobState
from trouper.store.schema import VERSION, carry_out

VERSION_1 = Path(__file__).parent / "version_1.sql"
"""What the first version's code had written when its process died: a job that had ended, one that
ran, with output still in the journal, and two that waited."""

SHAPE = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"


def make_version_1(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1.read_text())


@pytest.fixture
async def old(tmp_path: Path, nursery: trio.Nursery) -> World:
    """A store that runs on a database of version 1."""
    world = World("sqlite", tmp_path, nursery)
    make_version_1(world.path)
    await world.open()
    return world


async def test_a_database_of_version_1_keeps_its_jobs_its_output_and_its_inbox(old: World) -> None:
    assert (old.store.epoch, old.store.boot) == ("epoch-of-1", 2)
    rows = {job.id: job for user in ("ada", "bob") for job in await old.store.jobs(user)}
    assert {id: job.state for id, job in rows.items()} == {
        "done": JobState.COMPLETED,
        "orphan": JobState.RUNNING,
        "waits": JobState.QUEUED,
        "too": JobState.QUEUED,
    }
    assert rows["done"].result == '"r"'
    assert rows["waits"] == Job(
        id="waits", user="ada", name="report", thread="t", fingerprint="print", created_at=1000.0, feed_seq=4
    )
    assert await old.log("done") == ("a", ("event", "1"))
    assert await old.log("orphan") == ("kept", "more")
    assert [row.title for row in await old.store.notifications("ada")] == ["report completed"]


async def test_its_jobs_are_claimed_by_turns_as_if_they_had_been_admitted_now(old: World) -> None:
    claims = await old.store.claim(9)
    assert [(job.id, job.attempt) for job in claims.started] == [("orphan", 2), ("waits", 1), ("too", 1)]
    assert await old.log("orphan") == ("kept",)
    assert look(old.path, "SELECT user, queued, running, served FROM users ORDER BY user") == [
        ("ada", 0, 1, 1),
        ("bob", 0, 2, 2),
    ]


async def test_it_becomes_the_same_as_one_made_new(old: World, tmp_path: Path, nursery: trio.Nursery) -> None:
    (tmp_path / "new").mkdir()
    new = World("sqlite", tmp_path / "new", nursery)
    await new.open()
    assert look(old.path, SHAPE) == look(new.path, SHAPE)
    assert look(old.path, "PRAGMA user_version") == [(VERSION,)]
    await old.restart()
    assert old.store.boot == 3


async def test_a_migration_that_fails_leaves_the_database_as_it_was(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = World("sqlite", tmp_path, nursery)
    make_version_1(world.path)
    look(world.path, "CREATE TABLE users_waiting (somebody_elses)")
    before = look(world.path, SHAPE)
    with pytest.raises(StoreRefused):
        await world.store.run()
    assert look(world.path, SHAPE) == before
    assert look(world.path, "PRAGMA user_version") == [(1,)]


async def test_a_database_of_a_newer_version_is_refused_and_not_touched(old: World) -> None:
    await old.close()
    look(old.path, f"PRAGMA user_version = {VERSION + 1}")
    before = old.path.read_bytes()
    with pytest.raises(
        SchemaMismatch, match=f"version {VERSION + 1} of the schema; legal are 1 to {VERSION}"
    ):
        await old.new_store().run()
    assert old.path.read_bytes() == before


def test_a_semicolon_ends_a_statement_only_where_sqlite_says_so() -> None:
    script = """
        -- one; two
        CREATE TABLE words (word TEXT DEFAULT 'a;b' /* ; */, n INTEGER);
        CREATE TRIGGER counted AFTER INSERT ON words WHEN new.n IS NULL BEGIN
            UPDATE words SET n = 1 WHERE n IS NULL;
            UPDATE words SET n = n + 1;
        END;
        INSERT INTO words (n) VALUES (NULL);
    """
    with closing(sqlite3.connect(":memory:")) as connection:
        carry_out(connection, script)
        assert connection.execute("SELECT * FROM words").fetchall() == [("a;b", 2)]
        with pytest.raises(ValueError, match="no statement: SELECT 1"):
            carry_out(connection, "SELECT 1")
