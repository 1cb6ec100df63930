"""The store without a file: for tests, and for what need not outlive its process.

It commits at once: an append when its source says that it is dirty, a transaction when it is asked
for. Its rows outlive ``run``, so that running it anew is a restart of the process, orphans and all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import trio

from trouper.store.asking import clock_jumped
from trouper.store.engine import EngineStore, tell
from trouper.store.errors import StoreUnavailable
from trouper.store.memory_tables import MemoryTables
from trouper.store.options import DEFAULTS, StoreOptions
from trouper.store.protocol import CommitNotice, OutputSource, named_tuple
from trouper.store.seams import Seams
from trouper.store.tables import Tables
from trouper.store.transaction import Transaction
from trouper.store.transactions import append
from trouper.store.wall_watch import WallWatch

T = TypeVar("T")


class MemoryStore(EngineStore):
    """A ``Store`` in dictionaries. **Resources**: none but memory, which grows with every job."""

    def __init__(
        self, seams: Seams, options: StoreOptions = DEFAULTS, tables: MemoryTables | None = None
    ) -> None:
        super().__init__(seams, options)
        self._tables = MemoryTables() if tables is None else tables
        self._epoch = seams.new_id()
        self._watch: WallWatch | None = None
        self._boot = 0
        self._open = False
        self._dirty: dict[OutputSource, None] = {}
        self._committing = False
        self._commits = 0
        self._faults: list[Exception] = []
        self._failed = trio.Event()

    @property
    def boot(self) -> int:
        return self._boot

    @property
    def epoch(self) -> str:
        return self._epoch

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Raises what a listener or a source raised: a fault of the runtime."""
        if self._open:
            raise RuntimeError("this store runs already")
        self._watch = WallWatch(self._seams, self._options.clock_jump_s)
        self._begin_boot()
        self._open = True
        task_status.started()
        try:
            await self._failed.wait()
        finally:
            self._open = False
            self._end_boot()
            self._dirty.clear()
            self._failed = trio.Event()
            faults, self._faults = self._faults, []
        raise ExceptionGroup("told of a commit, somebody failed", faults)

    def _begin_boot(self) -> None:
        self._boot += 1
        self._tables.new_boot(self._boot)

    def _end_boot(self) -> None:
        self._tables.nodes.forget(self._boot)

    def statistics(self) -> Mapping[str, int]:
        return {
            **self._tables.statistics(),
            "job_names_max": self._options.job_names_max,
            "commits": self._commits,
            "dirty_sources": len(self._dirty),
        }

    def dirty(self, source: OutputSource, urgent: bool = False) -> None:
        if not self._open:
            return
        if self._committing:  # a source's own take or settled, or a listener: the loop below comes to it
            self._dirty[source] = None
            return
        self._committing = True
        try:
            self._commit_output(source)
            while self._dirty:
                source = next(iter(self._dirty))
                del self._dirty[source]
                self._commit_output(source)
        finally:
            self._committing = False
        if self._faults:
            self._failed.set()

    def _commit_output(self, source: OutputSource) -> None:
        """The hot path, once for each ``write``: no transaction, since an append moves no feed, and a notice
        of nothing but the log."""
        try:
            request = source.take()
            if request is None:
                return
            self._moment()
            outputs: dict[str, tuple[int, int]] = {}
            result = append(self._tables, request, outputs)
            self._commits += 1
            source.settled(result)
            if outputs:
                self._tell(named_tuple(CommitNotice, (outputs, (), {}, False)))
        except Exception as fault:  # of the source: the others go on, and ``run`` raises it
            self._dirty.pop(source, None)
            self._faults.append(fault)

    def _begin(self) -> Transaction:
        return Transaction(self._tables, self._boot, self._moment(), self._seams.new_id)

    def _moment(self) -> float:
        """The wall clock now. If it has jumped, what waits has moved along."""
        assert self._watch is not None
        now = self._watch.read()
        if self._watch.jumped_s:
            tx = Transaction(self._tables, self._boot, now, self._seams.new_id)
            clock_jumped(tx, self._watch.jumped_s)
            self._watch.jumped_s = 0.0
            self._tell(tx.changed.notice())
        return now

    def _check_open(self) -> None:
        if not self._open:
            raise StoreUnavailable("the store is not running")

    async def _transact(self, call: Callable[[Transaction], T], *, site: str = "") -> T:
        await trio.lowlevel.checkpoint()
        self._check_open()
        tx = self._begin()
        result = call(tx)
        self._commits += 1
        self._tell(tx.changed.notice())
        return result

    def _tell(self, notice: CommitNotice | None) -> None:
        tell(self._listeners, notice, self._faults)
        if self._faults:
            self._failed.set()

    async def _query(self, call: Callable[[Tables], T]) -> T:
        await trio.lowlevel.checkpoint()
        self._check_open()
        return call(self._tables)
