"""A store that several nodes share, in one process: the memory store's tables with leases, and a line to
each node that can be cut. What a shared engine must do, without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import attrs
import trio

from trouper.store.engine import tell
from trouper.store.errors import StoreUnavailable
from trouper.store.leases import Lease, Renewed
from trouper.store.memory import MemoryStore
from trouper.store.memory_tables import MemoryTables
from trouper.store.options import DEFAULTS, StoreOptions
from trouper.store.protocol import AppendFailed, CommitNotice, OutputSource
from trouper.store.records import JobState
from trouper.store.seams import Seams
from trouper.store.tables import Tables
from trouper.store.transaction import Transaction

T = TypeVar("T")

Line = Literal["up", "down", "silent"]
"""``down``: every call fails at once. ``silent``: it waits, and is carried out when the line is up again."""

NO_BOOT = -1


class SharedTables(MemoryTables):
    """Tables whose running rows are orphaned boot by boot."""

    def __init__(self, live: Callable[[int | None], bool]) -> None:
        super().__init__()
        self._live = live

    def live(self, boot: int | None) -> bool:
        return self._live(boot)

    def bury_the_dead(self) -> None:
        """Close the logs of what dead boots left running: nobody writes into them any more."""
        for job in self._active_jobs():
            if job.state is JobState.RUNNING and not self._live(job.boot):
                self._jobs[job.id] = self._present(job)
                self._heads.pop(job.id, None)


@attrs.define
class SharedMemory:
    """What the nodes share. ``clock`` is the store's own."""

    clock: Callable[[], float] = trio.current_time
    lease: Lease = attrs.field(factory=Lease)
    epoch: str = "the shared epoch"
    live_until: dict[int, float] = attrs.field(factory=dict)
    """Of each boot."""
    nodes: list[SharedMemoryStore] = attrs.field(factory=list)
    tables: SharedTables = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tables = SharedTables(self.live)

    def live(self, boot: int | None) -> bool:
        return boot is not None and self.clock() < self.live_until.get(boot, 0.0)

    def new_boot(self) -> int:
        boot = len(self.live_until) + 1
        self.prolong(boot)
        return boot

    def prolong(self, boot: int) -> None:
        self.live_until[boot] = self.clock() + self.lease.seconds

    def node(self, seams: Seams, options: StoreOptions = DEFAULTS) -> SharedMemoryStore:
        """A ``StoreFactory``: one node's store."""
        return SharedMemoryStore(self, seams, options)


class SharedMemoryStore(MemoryStore):
    """One node's side of it."""

    def __init__(self, shared: SharedMemory, seams: Seams, options: StoreOptions) -> None:
        super().__init__(seams, options, shared.tables)
        self.shared = shared
        self.line: Line = "up"
        self._healed = trio.Event()
        self._held_back: dict[OutputSource, None] = {}
        self._missed: list[CommitNotice] = []
        shared.nodes.append(self)

    @property
    def epoch(self) -> str:
        return self.shared.epoch

    @property
    def lease(self) -> Lease | None:
        return self.shared.lease

    # --- the line ---

    def cut(self, line: Line) -> None:
        self.line = line
        self._healed = trio.Event()

    def heal(self) -> None:
        self.line = "up"
        self._healed.set()
        missed, self._missed = self._missed, []
        for notice in missed:
            tell(self._listeners, notice, self._faults)
        held, self._held_back = self._held_back, {}
        for source in held:
            self.dirty(source)

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.line == "down":
            raise StoreUnavailable("the line is cut")
        while self.line == "silent":
            await self._healed.wait()

    async def _transact(self, call: Callable[[Transaction], T], *, site: str = "") -> T:
        await self._reach()
        return await super()._transact(call, site=site)

    async def _query(self, call: Callable[[Tables], T]) -> T:
        await self._reach()
        return await super()._query(call)

    def _commit_output(self) -> None:
        if self.line == "up":
            super()._commit_output()
            return
        dirty, self._dirty = self._dirty, {}
        for source in dirty:
            if source not in self._held_back:
                self._held_back[source] = None
                if self.line == "down" and source.take() is not None:
                    source.settled(AppendFailed("the line is cut"))

    # --- leases ---

    def _begin_boot(self) -> None:
        self._boot = self.shared.new_boot()

    def _moment(self) -> float:
        self.shared.tables.bury_the_dead()
        return self.shared.clock()  # whatever this node's wall clock shows

    def _end_boot(self) -> None:
        if self.line == "up":  # else the others learn of it by the lease
            super()._end_boot()

    def _begin(self) -> Transaction:
        moment = self._moment()
        boot = self._boot if self.shared.live(self._boot) else NO_BOOT
        return Transaction(self.shared.tables, boot, moment, self._seams.new_id)

    async def renew(self, *, anew: bool = False) -> Renewed:
        await self._reach()
        self._check_open()
        if not anew and self.shared.live(self._boot):
            self.shared.prolong(self._boot)
            return Renewed(self._boot, anew=False)
        self.shared.live_until[self._boot] = 0.0  # it is dead, and stays so
        self._begin_boot()
        self.shared.tables.bury_the_dead()
        return Renewed(self._boot, anew=True)

    # --- everybody hears of every commit ---

    def _tell(self, notice: CommitNotice | None) -> None:
        if notice is None:
            return
        super()._tell(notice)
        for node in self.shared.nodes:
            if node is not self:
                node._hear(notice)

    def _hear(self, notice: CommitNotice) -> None:
        if self.line != "up":
            self._missed.append(notice)
        elif self._open:
            super()._tell(notice)
