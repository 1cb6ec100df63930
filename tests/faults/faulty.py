"""A store whose n-th call goes wrong. Its rows outlive it, as a file's do."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from trouper.store.errors import DataRefused, StoreUnavailable
from trouper.store.memory import MemoryStore
from trouper.store.memory_tables import MemoryTables
from trouper.store.options import StoreOptions
from trouper.store.seams import Seams
from trouper.store.tables import Tables
from trouper.store.transaction import Transaction

T = TypeVar("T")

SLOW_S = 20.0
OUTAGE_S = 45.0
"""Longer than running attempts have patience with a store that is down."""


class Wrong(enum.Enum):
    """What goes wrong with a call."""

    BEFORE = "it is not carried out"
    AFTER = "it is carried out, and its outcome is not known"
    SLOW = "it takes 20 seconds"
    DOWN = "it fails, and so does all for 45 seconds: the disk is full"
    POISONED = "its data is refused"


@attrs.define
class Disk:
    """The rows, and what goes wrong with them."""

    wrong: Wrong | None = None
    at: int = 0
    """The number of the call, from 1."""
    always: Wrong | None = None
    """What goes wrong with every call, while it is set."""
    calls: int = 0
    boots: int = 0
    down_until: float = -1.0
    tables: MemoryTables = attrs.field(factory=MemoryTables)

    def open(self, seams: Seams, options: StoreOptions) -> FaultyStore:
        """A ``StoreFactory``."""
        return FaultyStore(seams, options, self)

    def hooks_left(self) -> int:
        """How many hooks of ended jobs have a row."""
        return len(self.tables.completions)

    async def call(self, do: Callable[[], Awaitable[T]]) -> T:
        """One call, of which ``at`` tells whether it is the one."""
        self.calls += 1
        if trio.current_time() < self.down_until:
            raise StoreUnavailable("the disk is full")
        wrong = self.wrong if self.calls == self.at else self.always
        match wrong:
            case None:
                return await do()
            case Wrong.AFTER:
                await do()
                raise StoreUnavailable("the outcome is unknown")
            case Wrong.SLOW:
                await trio.lowlevel.checkpoint()  # not handed over yet
                with trio.CancelScope(shield=True):  # what was handed over is waited for
                    await trio.sleep(SLOW_S)
                return await do()
            case Wrong.POISONED:
                raise DataRefused("this operation cannot be stored")
            case Wrong.DOWN:
                self.down_until = trio.current_time() + OUTAGE_S
        raise StoreUnavailable("nothing was committed")


class FaultyStore(MemoryStore):
    """The memory store on rows of somebody else's."""

    def __init__(self, seams: Seams, options: StoreOptions, disk: Disk) -> None:
        super().__init__(seams, options, disk.tables)
        self._disk = disk
        self._epoch = "epoch"

    def _begin_boot(self) -> None:
        self._disk.boots += 1
        self._boot = self._disk.boots
        self._tables.new_boot(self._boot)

    async def _transact(self, call: Callable[[Transaction], T], *, site: str = "") -> T:
        whole = super()._transact
        return await self._disk.call(lambda: whole(call, site=site))

    async def _query(self, call: Callable[[Tables], T]) -> T:
        whole = super()._query
        return await self._disk.call(lambda: whole(call))
