"""A database that cannot be used is refused with one clear error, and not a byte of it is changed.

(Permission bits do not bind a privileged user, so what is read-only is made so by SQLite's own
``query_only`` and by a directory in the file's place.)
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.store.support import InlineThread, Source, World, admission
from trouper.store.errors import SchemaMismatch, StoreCorrupt, StoreError, StoreInUse, StoreUnavailable
from trouper.store.schema import VERSION

pytestmark = pytest.mark.clause("E1")


async def made(folder: Path, nursery: trio.Nursery) -> World:
    """A database with a job that ran, closed."""
    world = World("sqlite", folder, nursery, open_thread=InlineThread)
    await world.open()
    await world.write(await world.start("j1"), "a", "b")
    await world.close()
    return world


def no_database(path: Path) -> None:
    path.write_bytes(b"a letter to somebody else\n" * 300)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def overwritten(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[100:3000] = b"\xff" * 2900
    path.write_bytes(bytes(whole))


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")


def anothers(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")


@pytest.mark.parametrize(
    ("harm", "kind", "says"),
    [
        (no_database, StoreCorrupt, "is not a database, or is damaged"),
        (cut_short, StoreCorrupt, "is not a database, or is damaged"),
        (overwritten, StoreCorrupt, "is not a database, or is damaged"),
        (newer, SchemaMismatch, f"version {VERSION + 1} of the schema; legal are 1 to {VERSION}"),
        (anothers, SchemaMismatch, "is the database of another program"),
    ],
)
async def test_what_cannot_be_opened_is_told_once_and_left_as_it_is(
    harm: Any, kind: type[StoreError], says: str, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = await made(tmp_path, nursery)
    harm(world.path)
    before = world.path.read_bytes()
    for _ in range(2):
        with pytest.raises(kind, match=says) as refused:
            await world.new_store().run()
        assert str(world.path) in str(refused.value)
        assert world.path.read_bytes() == before


async def test_another_process_that_owns_the_database_is_named_and_not_disturbed(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = await made(tmp_path, nursery)
    owner = (
        "import sys\n"
        "from trouper.store.file_lock import FileLock\n"
        "from pathlib import Path\n"
        "lock = FileLock(Path(sys.argv[1]))\n"
        "lock.open()\n"
        "print('owned' if lock.take() else 'not owned', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(  # noqa: ASYNC220  # its one line is waited for
        [sys.executable, "-c", owner, str(world.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "owned\n"
        before = world.path.read_bytes()
        with pytest.raises(StoreInUse, match=rf"\(process {process.pid}\)"):
            await world.new_store().run()
        assert world.path.read_bytes() == before
    world.store = world.new_store()
    await world.open()
    assert await world.log("j1") == ("a", "b")


async def test_a_database_that_becomes_read_only_refuses_for_now_and_is_read(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = World("sqlite", tmp_path, nursery, open_thread=InlineThread)
    await world.open()
    job = await world.start("j1")
    await world.write(job, "a")
    connection = world.store._engine._db  # type: ignore[attr-defined]
    connection.execute("PRAGMA query_only = ON")
    source = Source(world.store, job, start=1)
    with pytest.raises(StoreUnavailable, match="readonly"):
        await world.store.admit(admission("j2"))
    assert await world.log("j1") == ("a",)
    connection.execute("PRAGMA query_only = OFF")
    await source.commit("b")
    await source.until(2)
    await world.admit("j2")
    assert await world.log("j1") == ("a", "b")
