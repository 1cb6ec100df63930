"""Group commit: the side of the SQLite store that lives in trio's thread.

One task builds batches and sends them to the store's thread, one at a time:

* an operation goes at once, with all that waits beside it;
* output alone goes once per tick, the first after a silence at once, and so when a log runs out of room;
* whatever goes takes along what every dirty source has (``take``).

So a commit, which costs an fsync, is shared by all that came up while the last one was under way.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import outcome
import trio

from trouper.store.engine import tell
from trouper.store.errors import StoreAbandoned, StoreUnavailable
from trouper.store.options import StoreOptions
from trouper.store.protocol import APPENDED_ASKS_AGAIN, AppendFailed, CommitNotice, OutputSource
from trouper.store.seams import Seams
from trouper.store.sqlite_batch import Batch, Operation, SqliteEngine, unavailable
from trouper.store.sqlite_thread import StoreThread
from trouper.store.wall_watch import WallWatch

_DRAIN_ROUNDS = 100
"""How often a closing store asks its sources for what is left."""


class GroupCommit:
    """Builds batches, has them committed and tells what became of them."""

    def __init__(
        self,
        engine: SqliteEngine,
        thread: StoreThread,
        seams: Seams,
        options: StoreOptions,
        listeners: list[Callable[[CommitNotice], None]],
    ) -> None:
        self._engine = engine
        self._thread = thread
        self._seams = seams
        self._options = options
        self._listeners = listeners
        self._operations: deque[Operation] = deque()
        self._reads: deque[Operation] = deque()
        self._dirty: dict[OutputSource, None] = {}
        self._wake = trio.Event()
        self._under_way: Batch | None = None
        self._watch = WallWatch(seams, options.clock_jump_s)
        self._output_due_at = -1.0
        self._silent = False
        """Whether output that comes now wakes the task: it sleeps, and not just until the next tick."""
        self._urgent = False
        """A dirty source runs out of room."""
        self._retry_s = 0.0
        self._closed = False
        self._faults: list[Exception] = []

    # --- what callers do ---

    def dirty(self, source: OutputSource, urgent: bool) -> None:
        if self._closed:
            return
        if urgent:
            self._urgent = True
        if urgent or self._silent:
            self._wake.set()
        self._dirty[source] = None

    async def transact(self, call: Callable[[Any], Any], site: str = "") -> Any:
        """Raises ``StoreUnavailable``, also when the present commit has not returned for ``answer_s``: of one
        that was in it the outcome is not known then.

        **Cancellation**: withdrawn while it waits for a batch; in one, it is waited for, so long at most.
        """
        return await self._wait(self._operations, call, site)

    async def query(self, call: Callable[[Any], Any]) -> Any:
        return await self._wait(self._reads, call, "")

    async def _wait(self, queue: deque[Operation], call: Callable[[Any], Any], site: str) -> Any:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._thread.overdue.late:
            raise StoreUnavailable(f"nothing was done: {self._thread.overdue.complaint}")
        if len(self._operations) + len(self._reads) >= self._options.operations_max:
            raise StoreUnavailable(
                f"the store has {self._options.operations_max} operations waiting (operations_max)"
            )
        operation = Operation(call, trio.lowlevel.current_task(), site)
        queue.append(operation)
        self._wake.set()

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            if operation.handed_over:
                operation.raise_cancel = raise_cancel
                return trio.lowlevel.Abort.FAILED
            queue.remove(operation)
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abort)

    def let_go(self) -> int:
        """Tell all who wait that the present call does not return; how many they were. Sources are not told:
        theirs is to go on, and what they gave is still being read."""
        batch, why = self._under_way, self._thread.overdue.complaint
        told = 0
        if batch is not None:
            for operation in (*batch.operations, *batch.reads):
                unknown = outcome.Error(unavailable(f"the outcome is unknown: {why}"))
                cancelled = operation.raise_cancel
                self._wake_waiter(operation, unknown if cancelled is None else outcome.capture(cancelled))
                operation.let_go = True
                told += 1
        for queue in (self._operations, self._reads):
            told += len(queue)
            while queue:
                self._wake_waiter(queue.popleft(), outcome.Error(unavailable(f"nothing was done: {why}")))
        return told

    def statistics(self) -> dict[str, int]:
        return {
            "call_ms": round(self._thread.overdue.lasts_s * 1000),
            "call_ms_max": round(self._options.answer_s * 1000),
            "queued_operations": len(self._operations) + len(self._reads),
            "queued_operations_max": self._options.operations_max,
            "dirty_sources": len(self._dirty),
        }

    # --- the task ---

    async def serve(self) -> None:
        """Commit until cancelled. Raises what a listener, a source or a late fault point raised."""
        while True:
            await self._until_due()
            await self._commit(self._build())
            if self._faults:
                raise ExceptionGroup("told of a commit, somebody failed", self._faults)

    async def drain(self) -> None:
        """Commit what is left, and refuse what comes. What fails now is not tried again."""
        self._closed = True
        self._retry_s = 0.0
        try:
            for _ in range(_DRAIN_ROUNDS):
                if not (self._operations or self._reads or self._dirty) or self._retry_s or self._thread.left:
                    break
                await self._commit(self._build())
        finally:
            self._dirty.clear()
            for queue in (self._operations, self._reads):
                while queue:
                    self._wake_waiter(queue.popleft(), outcome.Error(unavailable("the store is closed")))

    async def _until_due(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self._operations or self._reads):
            # A tick is slept through whether there is output yet or not: so it wakes up once, not twice.
            delay = self._output_delay_s()
            if delay <= 0:
                if self._dirty:
                    return
                delay = math.inf
            self._silent = delay == math.inf
            self._wake = trio.Event()
            with trio.move_on_after(delay):
                await self._wake.wait()
            self._silent = False

    def _output_delay_s(self) -> float:
        """For how long output alone is to wait. Who runs out of room does not hurry a store that is down."""
        if self._urgent and not self._retry_s:
            return 0.0
        return self._output_due_at - trio.current_time()

    def _build(self) -> Batch:
        batch = Batch(self._watch.read(), self._watch.jumped_s)
        for queue, taken in ((self._operations, batch.operations), (self._reads, batch.reads)):
            while queue and len(taken) < self._options.batch_operations_max:
                operation = queue.popleft()
                operation.handed_over = True
                taken.append(operation)
        # Reads alone take no output along: a fsync for each would undo the tick.
        if batch.operations or self._closed or self._output_delay_s() <= 0:
            self._take(batch)
        return batch

    def _take(self, batch: Batch) -> None:
        dirty, self._dirty = self._dirty, {}
        self._urgent = False
        sources, appends = batch.sources, batch.appends
        for source in dirty:
            try:
                request = source.take()
            except Exception as fault:
                self._faults.append(fault)
                continue
            if request is not None:
                sources.append(source)
                appends.append(request)
        if appends:
            self._output_due_at = trio.current_time() + self._options.commit_tick_s

    async def _commit(self, batch: Batch) -> None:
        if not (batch.appends or batch.operations or batch.reads):
            return
        self._under_way = batch
        try:
            await self._thread.run(partial(self._engine.run, batch), batch.told)
        except StoreAbandoned as error:
            # Its sources are not told: the thread may still be reading what they gave.
            for operation in (*batch.operations, *batch.reads):
                self._wake_waiter(operation, outcome.Error(unavailable(f"the outcome is unknown: {error}")))
            raise
        except BaseException as error:
            # A fault point after the commit, or a fault of ours: nobody knows the outcome.
            batch.failure = f"the outcome is unknown: {type(error).__name__}: {error}"
            batch.settled = [AppendFailed(batch.failure) for _ in batch.appends]
            for operation in (*batch.operations, *batch.reads):
                operation.result = outcome.Error(unavailable(batch.failure, error))
            self._tell(batch)
            raise
        finally:
            self._under_way = None
        self._tell(batch)

    def _tell(self, batch: Batch) -> None:
        """Sources, then listeners, then waiters: who wakes finds everybody else informed."""
        self._back_off(batch)
        if batch.committed:
            self._watch.jumped_s -= batch.jumped_s
        dirty = self._dirty
        if batch.failure is not None and not self._closed:  # who failed at the very end is not asked again
            dirty |= dict.fromkeys(batch.sources)
        for source, result in zip(batch.sources, batch.settled, strict=True):
            if result is APPENDED_ASKS_AGAIN:
                dirty[source] = None
            try:
                source.settled(result)
            except Exception as fault:
                self._faults.append(fault)
        # Of what was committed all the same, too: nobody else would ever tell them.
        if batch.failure is None or batch.committed:
            tell(self._listeners, batch.changed.notice(), self._faults)
        for operation in (*batch.operations, *batch.reads):
            self._wake_waiter(operation, operation.result)

    def _back_off(self, batch: Batch) -> None:
        if batch.failure is None:
            if batch.appends or batch.operations:
                self._retry_s = 0.0
            return
        doubled = max(self._options.retry_base_s, 2 * self._retry_s)
        self._retry_s = min(self._options.retry_max_s, doubled)
        self._output_due_at = trio.current_time() + self._retry_s

    def _wake_waiter(self, operation: Operation, result: outcome.Outcome[Any] | None) -> None:
        if not operation.let_go:
            assert result is not None
            trio.lowlevel.reschedule(operation.task, result)
