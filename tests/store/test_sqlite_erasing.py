"""What is left in the file of output that is gone from the log (``secure_delete``)."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.store.support import PROMPT_OPTIONS, InlineThread, World, opened
from trouper.store.errors import StoreRefused
from trouper.store.options import StoreOptions
from trouper.store.protocol import EndingKind

SMALL, LARGE = "a whisper beside other rows", "something said on pages of its own, "
IN_EFFECT = {"off": 0, "on": 1, "fast": 2}


def with_secure_delete(chosen: str) -> StoreOptions:
    return attrs.evolve(PROMPT_OPTIONS, secure_delete=chosen)


def all_bytes(folder: Path) -> bytes:
    """Of all files in it."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.mark.clause("J4")
@pytest.mark.parametrize(
    ("chosen", "left"), [("off", [SMALL, LARGE]), ("fast", [LARGE]), ("on", [])], ids=lambda value: str(value)
)
async def test_of_output_that_was_rolled_back_the_file_holds_what_secure_delete_says(
    chosen: str, left: list[str], tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = await opened(tmp_path, nursery, options=with_secure_delete(chosen))
    jobs = [await world.start("j1", thread="t1"), await world.start("j2", thread="t2")]
    for job, text in zip(jobs, (LARGE * 400, SMALL), strict=True):
        await world.write(job, text)
        await world.admit(f"{job.id} again", thread=job.thread, on_busy="rollback")
        assert (await world.end(job, EndingKind.CANCELLED)).entries == 0
    await world.close()  # which brings the write-ahead log into the file and removes it
    assert [text for text in (SMALL, LARGE) if text.encode() in all_bytes(tmp_path)] == left


@pytest.mark.parametrize("chosen", list(IN_EFFECT))
async def test_the_secure_delete_that_was_chosen_is_in_effect_whatever_sqlite_was_built_with(
    chosen: str, tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = await opened(tmp_path, nursery, options=with_secure_delete(chosen))
    connection = world.store._engine._db  # type: ignore[attr-defined]
    assert connection.execute("PRAGMA secure_delete").fetchone() == (IN_EFFECT[chosen],)


async def test_a_sqlite_that_deletes_otherwise_than_it_was_told_is_refused_with_its_version(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Old(sqlite3.Connection):
        """Takes "fast", which it does not know, for "off"."""

        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("secure_delete = fast", "secure_delete = off"), *parameters)

    connect = partial(sqlite3.connect, factory=Old)
    monkeypatch.setattr("trouper.store.sqlite_open.sqlite3.connect", connect)
    with pytest.raises(StoreRefused, match=rf"{sqlite3.sqlite_version} knows no secure_delete='fast'"):
        await World("sqlite", tmp_path, nursery, open_thread=InlineThread).store.run()
