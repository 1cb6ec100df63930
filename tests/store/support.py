"""What the store's tests work with: a world on each of our engines, and ways to look into a database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import trio

from trouper.store.contract.world import ASK as ASK
from trouper.store.contract.world import PROMPT_OPTIONS as PROMPT_OPTIONS
from trouper.store.contract.world import InlineThread as InlineThread
from trouper.store.contract.world import Source as Source
from trouper.store.contract.world import World as ContractWorld
from trouper.store.contract.world import admission as admission
from trouper.store.contract.world import notice_of as notice_of
from trouper.store.contract.world import options as options
from trouper.store.contract.world import sha256 as sha256
from trouper.store.options import StoreOptions
from trouper.store.protocol import Store
from trouper.store.seams import Seams
from trouper.store.urls import create_store

T = TypeVar("T")

ENGINES = ("memory", "sqlite")


def maker(engine: str, path: Path) -> Callable[[Seams, StoreOptions], Store]:
    """Makes the store of each boot. (The memory store's rows live in the object: it is run again.)"""
    kept: list[Store] = []

    def make(seams: Seams, options: StoreOptions) -> Store:
        if engine == "memory" and kept:
            return kept[0]
        url = "memory:" if engine == "memory" else f"sqlite:///{path}"
        kept[:] = [create_store(url, seams, options)]
        return kept[0]

    return make


class World(ContractWorld):
    """A world on one of our engines, in a folder."""

    def __init__(
        self,
        engine: str,
        folder: Path,
        nursery: trio.Nursery,
        *,
        options: StoreOptions = PROMPT_OPTIONS,
        **seams: Any,
    ) -> None:
        self.engine = engine
        self.path = folder / "store.db"
        super().__init__(maker(engine, self.path), nursery, options=options, **seams)


class GateThread(InlineThread):
    """A thread that is stuck in a call while its gate is shut."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.shut = False
        self.entered = trio.Event()
        self.gate = trio.Event()

    async def run(self, call: Callable[[], T]) -> T:
        if self.shut:
            self.entered.set()
            with trio.CancelScope(shield=True):
                await self.gate.wait()
        return await super().run(call)


def database(path: Path) -> sqlite3.Connection:
    """A second connection, to look (or to harm) with."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA busy_timeout = 0")
    return connection


def look(path: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows of ``query`` on the database at ``path``."""
    with closing(database(path)) as connection:
        return connection.execute(query).fetchall()


def harm(path: Path, statement: str, *parameters: Any) -> None:
    """Carry out ``statement`` on the database at ``path``, behind the store's back."""
    with closing(database(path)) as connection:
        assert connection.execute(statement, parameters).rowcount > 0


async def opened(folder: Path, nursery: trio.Nursery, **seams: Any) -> World:
    """A world on SQLite, or on another ``engine``, whose calls run inline."""
    engine, options = seams.pop("engine", "sqlite"), seams.pop("options", PROMPT_OPTIONS)
    world = World(engine, folder, nursery, options=options, **{"open_thread": InlineThread, **seams})
    await world.open()
    return world


class Fault:
    """Raises at a site, as often as it was told to."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.at: dict[str, int] = {}

    def __call__(self, site: str) -> None:
        self.seen.append(site)
        if self.at.get(site, 0) > 0:
            self.at[site] -= 1
            raise OSError("the disk is on fire")
