"""An opening that fails is one clear error, with the path, the cause and what to do, and no damage.

(Permission bits do not bind a privileged user: what is read-only is opened so. A disk that is full is one on
which SQLite may have no further page, and one on which the system lets no file grow.)
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio

from tests.store.support import InlineThread, World, look
from tests.store.test_sqlite_migrations import SHAPE, make_version_1
from trouper.store.errors import StoreRefused, StoreUnavailable
from trouper.store.seams import Seams
from trouper.store.urls import create_store

pytestmark = pytest.mark.clause("E1")

CONNECT = sqlite3.connect
Trouble = Callable[[Path, pytest.MonkeyPatch], Iterator[None]]


def no_further_page(path: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    def connect(*args: object, **options: object) -> sqlite3.Connection:
        connection = CONNECT(*args, **options)  # type: ignore[call-overload]
        connection.execute("PRAGMA max_page_count = 1")  # not below what it has
        return connection  # type: ignore[no-any-return]

    patch.setattr("trouper.store.sqlite_open.sqlite3.connect", connect)
    yield


def no_file_may_grow(path: Path, patch: pytest.MonkeyPatch, most_bytes: int = 4096) -> Iterator[None]:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def no_byte_is_left(path: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Not even for the process id of the lock's owner."""
    return no_file_may_grow(path, patch, 0)


def read_only(path: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    def connect(file: Path, **options: object) -> sqlite3.Connection:
        return CONNECT(f"file:{file}?mode=ro", uri=True, **options)  # type: ignore[call-overload,no-any-return]

    patch.setattr("trouper.store.sqlite_open.sqlite3.connect", connect)
    yield


def written_by_another(path: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    with closing(CONNECT(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize(
    ("trouble", "kind", "cause", "advice"),
    [
        (no_further_page, StoreUnavailable, "full", "make room on its disk"),
        (no_file_may_grow, StoreUnavailable, "disk I/O error|full", "its disk"),
        (no_byte_is_left, StoreUnavailable, "disk I/O error|full", "its disk"),
        (read_only, StoreRefused, "readonly database|unable to open", "can write|able to write"),
        (written_by_another, StoreUnavailable, "locked", "another program writes into it"),
    ],
)
@pytest.mark.parametrize("before", ["nothing", "version 1", "the present version"])
async def test_an_opening_that_fails_says_why_and_what_to_do_and_changes_nothing(
    before: str,
    trouble: Trouble,
    kind: type[Exception],
    cause: str,
    advice: str,
    tmp_path: Path,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World("sqlite", tmp_path, nursery, open_thread=InlineThread)
    if before == "the present version":
        if trouble is no_further_page:
            pytest.skip("what is there already has its pages")
        await world.open()
        await world.write(await world.start("j1"), "kept")
        await world.close()
    elif before == "version 1":
        make_version_1(world.path)
        look(world.path, "PRAGMA journal_mode = WAL")
    bytes_before = world.path.read_bytes() if before != "nothing" else b""
    shape = look(world.path, SHAPE) if before != "nothing" else []
    store = world.new_store()
    with contextmanager(trouble)(world.path, monkeypatch), pytest.raises(kind) as refused:
        await store.run()
    told = str(refused.value)
    for part in (str(world.path), cause, advice):
        assert any(each in told for each in part.split("|")), told
    monkeypatch.undo()
    if before != "nothing":
        assert world.path.read_bytes() == bytes_before
        assert look(world.path, SHAPE) == shape
    world.store = world.new_store()
    await world.open()  # it is all there, or made now
    if before == "version 1":
        assert await world.log("done") == ("a", ("event", "1"))
    elif before == "the present version":
        assert await world.log("j1") == ("kept",)
    await world.admit("j2")


def listed(folder: Path) -> list[Path]:
    """What lies there but for locks, which mean nothing when nobody holds them."""
    return sorted(each for each in folder.iterdir() if each.suffix != ".lock")


def folder_in_its_place(folder: Path) -> Path:
    (folder / "store.db").mkdir()
    return folder / "store.db"


def through_a_file(folder: Path) -> Path:
    (folder / "file").write_text("a letter")
    return folder / "file" / "store.db"


def nowhere(folder: Path) -> Path:
    return folder / "nowhere" / "store.db"


def too_long_a_folder(folder: Path) -> Path:
    return folder / ("x" * 300) / "store.db"


def too_long_a_name(folder: Path) -> Path:
    return folder / ("x" * 300)


def links_in_a_circle(folder: Path) -> Path:
    (folder / "store.db").symlink_to(folder / "other.db")
    (folder / "other.db").symlink_to(folder / "store.db")
    return folder / "store.db"


@pytest.mark.skipif(sys.platform == "win32", reason="links, and lengths of names, are others there")
@pytest.mark.parametrize(
    "place",
    [folder_in_its_place, through_a_file, nowhere, too_long_a_folder, too_long_a_name, links_in_a_circle],
)
async def test_a_place_where_no_database_can_be_is_refused_by_name_and_left_alone(
    place: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = place(tmp_path)
    before = listed(tmp_path)
    with pytest.raises(StoreRefused) as refused:
        await create_store(f"sqlite:///{path}", Seams(open_thread=InlineThread)).run()
    assert path.name in str(refused.value)
    assert listed(tmp_path) == before
