"""The store in a SQLite file: durable, exclusive to one runtime, one writing connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from trouper.store.engine import EngineStore
from trouper.store.errors import StoreRefused, StoreUnavailable
from trouper.store.file_lock import exclusive
from trouper.store.options import DEFAULTS, StoreOptions
from trouper.store.protocol import OutputSource
from trouper.store.seams import Seams
from trouper.store.sqlite_batch import SqliteEngine
from trouper.store.sqlite_writer import GroupCommit
from trouper.store.tables import Tables
from trouper.store.transaction import Transaction

T = TypeVar("T")

THREAD_NAME = "trouper-store"


class SqliteStore(EngineStore):
    """A ``Store`` in the file at ``path``. Nothing is touched before ``run``."""

    def __init__(self, path: Path, seams: Seams, options: StoreOptions = DEFAULTS) -> None:
        super().__init__(seams, options)
        self._path = path
        self._engine: SqliteEngine | None = None
        self._writer: GroupCommit | None = None

    @property
    def boot(self) -> int:
        return self._engine.boot if self._engine else 0

    @property
    def epoch(self) -> str:
        return self._engine.epoch if self._engine else ""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the database, serve until cancelled, commit what is pending and close.

        Raises ``StoreInUse``, ``SchemaMismatch``, ``StoreCorrupt`` or ``StoreRefused`` if the
        database cannot be had, ``StoreUnavailable`` if it cannot be had for now.

        **Cancellation**: a commit that is under way is waited for. **Resources**: the thread, the
        connection and the lock are gone when this returns or raises.
        """
        if self._writer is not None:
            raise RuntimeError("this store runs already")
        path = _resolved(self._path)
        async with exclusive(path, self._options.lock_wait_s):
            thread = self._seams.open_thread(THREAD_NAME)
            try:
                engine = await thread.run(partial(SqliteEngine, path, self._seams, self._options))
                try:
                    self._engine = engine
                    self._writer = GroupCommit(engine, thread, self._seams, self._options, self._listeners)
                    task_status.started()
                    await self._writer.serve()
                finally:
                    with trio.CancelScope(shield=True):
                        if self._writer is not None:
                            await self._writer.drain()
                        await thread.run(engine.close)
                    self._writer = None
            finally:
                with trio.CancelScope(shield=True):
                    await thread.aclose()

    def dirty(self, source: OutputSource, urgent: bool = False) -> None:
        if self._writer is not None:
            self._writer.dirty(source, urgent)

    def statistics(self) -> Mapping[str, int]:
        engine = self._engine.statistics() if self._engine else {}
        return {**engine, **(self._writer.statistics() if self._writer else {})}

    def _running(self) -> GroupCommit:
        if self._writer is None:
            raise StoreUnavailable("the store is not running")
        return self._writer

    async def _transact(self, call: Callable[[Transaction], T], *, site: str = "") -> T:
        result: T = await self._running().transact(call, site)
        return result

    async def _query(self, call: Callable[[Tables], T]) -> T:
        result: T = await self._running().query(call)
        return result


def _resolved(path: Path) -> Path:
    """Without links, so that two names of one file are one lock. Raises ``StoreRefused``."""
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError) as error:  # links in a circle, a home that nobody has
        raise StoreRefused(f"{path} is no place for a database: {error}") from error
