"""A store on a new file, and a recording of all that its connection executes."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import trio

from trouper.store.protocol import Store
from trouper.store.seams import Seams
from trouper.store.urls import create_store

FILE = "store.db"


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder on the disk that is measured."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-store-") as name:
        yield Path(name)


@asynccontextmanager
async def open_store(path: Path, seams: Seams | None = None) -> AsyncIterator[Store]:
    """A store with the options that an application has by default."""
    store = create_store(f"sqlite:///{path / FILE}", Seams() if seams is None else seams)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        yield store
        nursery.cancel_scope.cancel()


@attrs.define
class Recording:
    """Statements with their parameters, from the opening of the file on."""

    statements: list[tuple[str, Any]] = attrs.field(factory=list)
    begun: int = 0
    """How many of them set the stage."""
    ended: int = 0
    """How many there were when what is measured was over."""

    def begin(self) -> None:
        self.begun = len(self.statements)

    def end(self) -> None:
        self.ended = len(self.statements)

    @property
    def commits(self) -> int:
        """Of what is measured."""
        return sum(sql == "COMMIT" for sql, _ in self.statements[self.begun : self.ended])


@contextmanager
def recorded() -> Iterator[Recording]:
    """Every connection that is opened meanwhile writes down what it executes."""
    recording = Recording()

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            recording.statements.append((sql, parameters))
            return super().execute(sql, parameters)

    connect = sqlite3.connect
    with mock.patch("sqlite3.connect", lambda *args, **named: connect(*args, factory=Connection, **named)):
        yield recording


def execute(connection: sqlite3.Connection, statements: Iterable[tuple[str, Any]]) -> None:
    """Carry out statements and fetch what they give."""
    for sql, parameters in statements:
        connection.execute(sql, parameters).fetchall()
