"""A store that goes wrong from one moment to another, on each engine, in each way."""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import attrs
import trio

from tests.faults.faulty import SLOW_S, Disk, Wrong
from trouper.store.options import StoreOptions
from trouper.store.protocol import Store
from trouper.store.seams import Seams
from trouper.store.sqlite import SqliteStore

T = TypeVar("T")


class Kind(enum.Enum):
    """How it goes wrong, as long as it does."""

    DOWN = "nothing is carried out"
    UNKNOWN = "what is carried out is not answered"
    SLOW = "each call takes 20 seconds"
    CRASHED = "the engine crashes at the next call"


class Outage(Protocol):
    """An engine, and when it goes wrong."""

    def open(self, seams: Seams, options: StoreOptions) -> Store:
        """A ``StoreFactory``: the store of each boot."""
        ...

    def begin(self, kind: Kind) -> None: ...
    def end(self) -> None: ...
    def row(self, job_id: str) -> tuple[str, int]:
        """(state, attempts used) as it is remembered, whoever runs or does not."""
        ...


_WRONG = {Kind.DOWN: Wrong.BEFORE, Kind.UNKNOWN: Wrong.AFTER, Kind.SLOW: Wrong.SLOW}


class MemoryOutage:
    """The memory store; its output alone is always taken, since there is no disk to be full."""

    def __init__(self, _: Path) -> None:
        self._disk = Disk()
        self._crash_next = False

    def open(self, seams: Seams, options: StoreOptions) -> Store:
        """See ``Outage``."""
        store = self._disk.open(seams, options)
        store.listen(self._told)
        return store

    def _told(self, _: object) -> None:
        if self._crash_next:
            self._crash_next = False
            raise RuntimeError("the engine crashed")

    def begin(self, kind: Kind) -> None:
        """See ``Outage``."""
        self._crash_next = kind is Kind.CRASHED
        self._disk.always = _WRONG.get(kind)

    def end(self) -> None:
        """See ``Outage``."""
        self._crash_next, self._disk.always = False, None

    def row(self, job_id: str) -> tuple[str, int]:
        """See ``Outage``."""
        job = self._disk.tables.job(job_id)
        assert job is not None
        return job.state.value, job.attempts_used


@attrs.define
class _Thread:
    """The store's thread, in virtual time."""

    outage: SqliteOutage

    async def run(self, call: Callable[[], T]) -> T:
        await trio.lowlevel.cancel_shielded_checkpoint()
        if self.outage.kind is Kind.SLOW:
            with trio.CancelScope(shield=True):  # what was handed over is waited for
                await trio.sleep(SLOW_S)
            return call()
        if (kind := self.outage.kind) not in (Kind.CRASHED, Kind.UNKNOWN):
            return call()
        self.outage.kind = None  # once: the store's task ends by it, and is started again
        if kind is Kind.UNKNOWN:
            call()
        raise RuntimeError("the engine crashed")

    async def aclose(self) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()


class SqliteOutage:
    """SQLite. ``DOWN`` is real: another connection holds the lock of the file, and no commit gets it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "store.db"
        self._lock: sqlite3.Connection | None = None
        self.kind: Kind | None = None

    def open(self, seams: Seams, options: StoreOptions) -> Store:
        """See ``Outage``."""
        seams = attrs.evolve(seams, open_thread=lambda _: _Thread(self))
        return SqliteStore(self._path, seams, attrs.evolve(options, busy_wait_s=0.0))

    def begin(self, kind: Kind) -> None:
        """See ``Outage``."""
        self.kind = kind
        if kind is Kind.DOWN:
            self._lock = sqlite3.connect(self._path, isolation_level=None)
            self._lock.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        """See ``Outage``."""
        self.kind = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def row(self, job_id: str) -> tuple[str, int]:
        """See ``Outage``."""
        connection = sqlite3.connect(self._path)
        try:
            query = "SELECT state, attempts_used FROM jobs WHERE id = ?"
            state, used = connection.execute(query, (job_id,)).fetchone()
        finally:
            connection.close()
        return str(state), int(used)
