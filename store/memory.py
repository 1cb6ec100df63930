"""The store without a file: for tests, and for what need not outlive its process.

A transaction is committed when it is asked for, and takes along what every dirty source has. Output alone
goes once per tick, the first after a silence at once, as in a file: what a commit costs besides its appends
is shared by all that came meanwhile. Its rows outlive ``run``, so that running it anew is a restart of the
process, orphans and all.
"""

from __future__ import annotations

import math
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
        self._output_due_at = -math.inf
        self._sleep = trio.CancelScope()
        """Of the task; its deadline is when output is to be committed."""
        self._commits = 0
        self._faults: list[Exception] = []

    @property
    def boot(self) -> int:
        return self._boot

    @property
    def epoch(self) -> str:
        return self._epoch

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, then commit what is pending. Raises what a listener or a source raised: a
        fault of the runtime."""
        if self._open:
            raise RuntimeError("this store runs already")
        self._watch = WallWatch(self._seams, self._options.clock_jump_s)
        self._begin_boot()
        self._open = True
        task_status.started()
        try:
            while not self._faults:
                with trio.CancelScope(
                    deadline=self._output_due_at if self._dirty else math.inf
                ) as self._sleep:
                    await trio.sleep_forever()
                self._commit_output()
        finally:
            self._commit_output()
            self._open = False
            self._end_boot()
            self._dirty.clear()
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
        self._dirty[source] = None
        due_at = -math.inf if urgent else self._output_due_at
        if due_at < self._sleep.deadline:
            self._sleep.deadline = due_at

    def _commit_output(self) -> None:
        """All that dirty sources have, in one commit. (No transaction: an append moves no feed, and this is
        the hot path.)"""
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, {}
        self._output_due_at = _next_tick(self._options.commit_tick_s)
        self._moment()
        self._commits += 1
        outputs: dict[str, tuple[int, int]] = {}
        for source in dirty:
            try:
                request = source.take()
                if request is not None:
                    source.settled(append(self._tables, request, outputs))
            except Exception as fault:  # of the source: the others go on, and ``run`` raises it
                self._faults.append(fault)
        self._tell(named_tuple(CommitNotice, (outputs, (), {}, False)) if outputs else None)

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
        self._commit_output()
        tx = self._begin()
        result = call(tx)
        self._commits += 1
        self._tell(tx.changed.notice())
        return result

    def _tell(self, notice: CommitNotice | None) -> None:
        tell(self._listeners, notice, self._faults)
        if self._faults:
            self._sleep.cancel()

    async def _query(self, call: Callable[[Tables], T]) -> T:
        await trio.lowlevel.checkpoint()
        self._check_open()
        return call(self._tables)


def _next_tick(tick_s: float) -> float:
    """Ticks lie on one grid with those in which sessions are flushed, so what waits for the one does not wait
    for the other besides."""
    now = trio.current_time()
    return now if tick_s == 0 else (math.floor(now / tick_s) + 1) * tick_s
