"""Opening a database: one owner, one schema, clear refusals, and nothing left behind."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from tests.store.support import PROMPT_OPTIONS, World, harm, look
from trouper.store.errors import SchemaMismatch, StoreCorrupt, StoreInUse, StoreRefused
from trouper.store.schema import APPLICATION_ID, VERSION
from trouper.store.sqlite_thread import THREAD_NAME


def open_files() -> list[str]:
    """What this process has open, where the system tells."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        return []
    return [str(link.readlink()) for link in descriptors.iterdir() if link.is_symlink()]


async def refusal(world: World) -> Exception:
    """What opening the store raises."""
    with pytest.raises(StoreRefused) as caught:
        await world.store.run()
    return caught.value


async def test_a_second_runtime_is_refused_with_the_owners_process_id(
    sqlite: World, tmp_path: Path, nursery: trio.Nursery
) -> None:
    error = await refusal(World("sqlite", tmp_path, nursery))
    assert isinstance(error, StoreInUse)
    assert f"process {os.getpid()}" in str(error)
    await sqlite.admit("j1")


async def test_a_place_that_has_no_locks_is_told_as_that_and_not_as_another_owner(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("trouper.store.file_lock._try_lock", refuse)
    error = await refusal(World("sqlite", tmp_path, nursery))
    assert type(error) is StoreRefused
    assert str(error) == f"cannot lock {tmp_path / 'store.db'}.lock: No locks available"


async def test_a_directory_that_is_not_there_is_told_with_the_name_of_the_database(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    folder = tmp_path / "nowhere"
    error = await refusal(World("sqlite", folder, nursery))
    assert str(error) == f"there is no directory {folder} to hold the database store.db"


async def test_two_names_of_one_file_are_one_database(
    sqlite: World, tmp_path: Path, nursery: trio.Nursery
) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "store.db").symlink_to(sqlite.path)
    assert isinstance(await refusal(World("sqlite", tmp_path / "link", nursery)), StoreInUse)


async def test_a_second_runtime_waits_for_the_first_to_end(
    sqlite: World, tmp_path: Path, nursery: trio.Nursery
) -> None:
    second = World("sqlite", tmp_path, nursery, options=attrs.evolve(PROMPT_OPTIONS, lock_wait_s=30.0))
    async with trio.open_nursery() as waiting:
        waiting.start_soon(second.open)
        await trio.testing.wait_all_tasks_blocked()
        await sqlite.close()
    assert second.store.boot == 2


@pytest.mark.clause("S5")
async def test_closing_leaves_no_thread_no_handle_and_no_log(sqlite: World) -> None:
    assert THREAD_NAME in [thread.name for thread in threading.enumerate()]
    await sqlite.admit("j1")
    await sqlite.close()
    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
    assert sorted(path.name for path in sqlite.path.parent.iterdir()) == ["store.db", "store.db.lock"]
    assert not [target for target in open_files() if "store.db" in target]


@pytest.mark.clause("S5")
async def test_a_store_that_could_not_be_opened_lets_go_of_all(tmp_path: Path, nursery: trio.Nursery) -> None:
    world = World("sqlite", tmp_path, nursery)
    world.path.write_bytes(b"this is no database" * 100)
    assert isinstance(await refusal(world), StoreCorrupt)
    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
    world.path.unlink()
    await world.open()


async def test_a_store_does_not_run_twice_at_once(sqlite: World) -> None:
    with pytest.raises(RuntimeError, match="runs already"):
        await sqlite.store.run()


async def test_another_version_of_the_schema_is_refused(sqlite: World) -> None:
    await sqlite.close()
    with closing(sqlite3.connect(sqlite.path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    error = await refusal(sqlite)
    assert isinstance(error, SchemaMismatch)
    assert "version 99" in str(error)
    assert look(sqlite.path, "PRAGMA user_version") == [(99,)]


async def test_another_programs_database_is_refused_and_not_touched(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = World("sqlite", tmp_path, nursery)
    with closing(sqlite3.connect(world.path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = world.path.read_bytes()
    error = await refusal(world)
    assert isinstance(error, SchemaMismatch)
    assert "another program" in str(error)
    assert world.path.read_bytes() == before


async def test_a_database_that_lost_its_boot_is_refused(sqlite: World) -> None:
    await sqlite.close()
    harm(sqlite.path, "UPDATE meta SET value = 'x' WHERE name = 'epoch'")
    harm(sqlite.path, "DELETE FROM meta WHERE name = 'boot'")
    assert isinstance(await refusal(sqlite), StoreCorrupt)


async def test_a_missing_directory_is_named(tmp_path: Path, nursery: trio.Nursery) -> None:
    error = await refusal(World("sqlite", tmp_path / "nowhere", nursery))
    assert "nowhere" in str(error)


async def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path: Path, nursery: trio.Nursery) -> None:
    world = World("sqlite", tmp_path, nursery)
    world.path.mkdir()
    assert str(world.path) in str(await refusal(world))


async def test_the_database_is_stamped_and_keeps_a_write_ahead_log(sqlite: World) -> None:
    await sqlite.close()
    assert look(sqlite.path, "PRAGMA journal_mode") == [("wal",)]
    assert look(sqlite.path, "PRAGMA user_version") == [(VERSION,)]
    assert look(sqlite.path, "PRAGMA application_id") == [(APPLICATION_ID,)]


async def test_an_empty_file_becomes_a_database(tmp_path: Path, nursery: trio.Nursery) -> None:
    world = World("sqlite", tmp_path, nursery)
    world.path.touch()
    await world.open()
    await world.admit("j1")


async def test_every_database_has_an_epoch_of_its_own(tmp_path: Path, nursery: trio.Nursery) -> None:
    epochs = set()
    for place in range(3):
        folder = tmp_path / str(place)
        folder.mkdir()
        ids = iter([f"epoch{place}"])
        world = World("sqlite", folder, nursery, new_id=lambda ids=ids: next(ids))
        await world.open()
        epochs.add(world.store.epoch)
    assert len(epochs) == 3
