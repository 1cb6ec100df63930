"""A store that goes wrong from one moment to another, on each engine, in each way."""

from __future__ import annotations

import enum
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import attrs
import trio

from tests.faults.faulty import SLOW_S, Disk, Wrong
from trouper.store.options import StoreOptions
from trouper.store.protocol import Store
from trouper.store.seams import Seams, ThreadAbandoned
from trouper.store.sqlite import SqliteStore

T = TypeVar("T")


class Kind(enum.Enum):
    """How it goes wrong, as long as it does."""

    DOWN = "nothing is carried out"
    UNKNOWN = "what is carried out is not answered"
    SLOW = "each call takes 20 seconds"
    CRASHED = "the engine crashes at the next call"
    HANGS = "no call returns, and what is under way is never carried out"
    HANGS_AND_WRITES = "no call returns, and what is under way is carried out all the same"


HANGING = (Kind.HANGS, Kind.HANGS_AND_WRITES)


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
    """The memory store; its output alone is always taken, since there is no disk to be full, or to hang."""

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


class _Thread:
    """The store's thread, in virtual time."""

    def __init__(self, outage: SqliteOutage) -> None:
        self._outage = outage
        self._under_way: Callable[[], object] | None = None
        self._left = False

    async def run(self, call: Callable[[], T]) -> T:
        await trio.lowlevel.cancel_shielded_checkpoint()
        if self._left:
            raise ThreadAbandoned("the store's")
        if self._outage.kind in (Kind.SLOW, *HANGING):
            await self._late(call)
        if (kind := self._outage.kind) not in (Kind.CRASHED, Kind.UNKNOWN):
            return call()
        self._outage.kind = None  # once: the store's task ends by it, and is started again
        if kind is Kind.UNKNOWN:
            call()
        raise RuntimeError("the engine crashed")

    async def _late(self, call: Callable[[], object]) -> None:
        """Wait as long as the disk does, which is what was handed over: no cancellation ends it."""
        self._under_way = call
        seconds = SLOW_S if self._outage.kind is Kind.SLOW else math.inf
        with trio.move_on_after(seconds, shield=True):
            await self._outage.changed.wait()
        self._under_way = None
        if self._left:
            raise ThreadAbandoned("the store's")

    def abandon(self, then: Callable[[], object]) -> None:
        """The call returns when the disk does not hang any more; nobody waits for it."""
        self._left = True
        if self._under_way is not None and self._outage.kind is Kind.HANGS_AND_WRITES:
            self._outage.left.append(self._under_way)
        self._outage.left.append(then)
        self._outage.change()

    async def aclose(self) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()


class SqliteOutage:
    """SQLite. ``DOWN`` is real: another connection holds the lock of the file, and no commit gets it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"
        self._lock: sqlite3.Connection | None = None
        self.kind: Kind | None = None
        self.changed = trio.Event()
        """Whatever hung does not any more, or is not waited for."""
        self.left: list[Callable[[], object]] = []
        """What threads that were left are still to do."""

    def change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def open(self, seams: Seams, options: StoreOptions) -> Store:
        """See ``Outage``."""
        seams = attrs.evolve(seams, open_thread=lambda _: _Thread(self))
        return SqliteStore(self.path, seams, attrs.evolve(options, busy_wait_s=0.0))

    def begin(self, kind: Kind) -> None:
        """See ``Outage``."""
        self.kind = kind
        if kind is Kind.DOWN:
            self._lock = sqlite3.connect(self.path, isolation_level=None)
            self._lock.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        """See ``Outage``."""
        self.kind = None
        self.change()
        while self.left:
            self.left.pop(0)()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def row(self, job_id: str) -> tuple[str, int]:
        """See ``Outage``."""
        connection = sqlite3.connect(self.path)
        try:
            query = "SELECT state, attempts_used FROM jobs WHERE id = ?"
            state, used = connection.execute(query, (job_id,)).fetchone()
        finally:
            connection.close()
        return str(state), int(used)
