"""The store in a SQLite file: durable, exclusive to one runtime, one writing connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import trio

from trouper.store.engine import EngineStore
from trouper.store.errors import StoreUnavailable
from trouper.store.options import DEFAULTS, StoreOptions
from trouper.store.protocol import OutputSource
from trouper.store.seams import Seams
from trouper.store.sqlite_batch import SqliteEngine
from trouper.store.sqlite_thread import StoreThread
from trouper.store.sqlite_writer import GroupCommit
from trouper.store.tables import Tables
from trouper.store.transaction import Transaction

T = TypeVar("T")


class SqliteStore(EngineStore):
    """A ``Store`` in the file at ``path``. Nothing is touched before ``run``."""

    def __init__(self, path: Path, seams: Seams, options: StoreOptions = DEFAULTS) -> None:
        super().__init__(seams, options)
        self._path = path
        self._engine: SqliteEngine | None = None
        self._writer: GroupCommit | None = None
        self._thread: StoreThread | None = None

    @property
    def boot(self) -> int:
        return self._engine.boot if self._engine else 0

    @property
    def epoch(self) -> str:
        return self._engine.epoch if self._engine else ""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the database, serve until cancelled, commit what is pending and close.

        Raises ``StoreInUse``, ``SchemaMismatch``, ``StoreCorrupt`` or ``StoreRefused`` if the
        database cannot be had, ``StoreUnavailable`` if it cannot be had for now, ``StoreAbandoned`` if the
        disk does not answer, so that after ``close_s`` the thread is left with it.

        **Cancellation**: a commit that is under way is waited for, no longer than that. **Resources**: the
        thread, the connection and the lock are gone when this returns or raises; of ``StoreAbandoned`` they
        go when the disk answers.
        """
        if self._thread is not None:
            raise RuntimeError("this store runs already")
        thread = self._thread = StoreThread(self._path, self._seams, self._options)
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(thread.bound_the_end)
                try:
                    await self._live(thread, nursery, lambda: task_status.started())
                except Exception as error:  # raised below: our nursery is no reason to wrap it in a group
                    failure = error
                nursery.cancel_scope.cancel()
        finally:
            self._thread = None
            if failure is not None:
                raise failure

    async def _live(self, thread: StoreThread, nursery: trio.Nursery, opened: Callable[[], None]) -> None:
        try:
            engine = self._engine = await thread.open()
            writer = self._writer = GroupCommit(engine, thread, self._seams, self._options, self._listeners)
            nursery.start_soon(thread.overdue.watch, writer.let_go)
            opened()
            await writer.serve()
        finally:
            thread.begin_end()
            with trio.CancelScope(shield=True):
                try:
                    if self._writer is not None:
                        await self._writer.drain()
                finally:
                    try:
                        await thread.close()  # noqa: ASYNC102  # it shields itself, and is bounded
                    finally:
                        self._writer = None

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
