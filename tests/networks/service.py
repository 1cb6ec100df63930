"""A server that can die at any moment and comes back, on a network in memory; what holds of copies."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import attrs
import trio

import trouper
from tests.transport.client_model import Reader, tokens
from tests.transport.ws_peer import by_token
from trouper.actors.options import ChannelLimits
from trouper.simulation import Network, World
from trouper.store.memory import MemoryStore
from trouper.store.memory_tables import MemoryTables
from trouper.store.options import StoreOptions
from trouper.store.records import Entry
from trouper.store.seams import Seams
from trouper.transport.gateway import Gateway

RETRY = trouper.Retry(attempts=50, backoff=trouper.Backoff(base=0.1))
OPTIONS = trouper.RuntimeOptions(
    channels=ChannelLimits(window_bytes=300, page_bytes=100, pages=2, feed_resume_rows=3)
)
"""Small, so that acks, pages and snapshots are most of what goes on."""


class MortalStore(MemoryStore):
    """A boot on rows that outlive it. What is left of one that died changes them no more."""

    def __init__(self, seams: Seams, options: StoreOptions, tables: MemoryTables, boot: int) -> None:
        super().__init__(seams, options, tables)
        self._epoch = "epoch"
        self._number = boot
        self._dead = False

    def die(self) -> None:
        self._open, self._dead = False, True
        self._dirty.clear()

    def _begin_boot(self) -> None:
        self._boot = self._number
        self._tables.new_boot(self._boot)

    def _end_boot(self) -> None:
        if not self._dead:
            super()._end_boot()


@attrs.define(eq=False)
class Life:
    """One process."""

    store: MortalStore
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    died: trio.Event = attrs.field(factory=trio.Event)


class Service:
    """``runtime`` and ``gateway`` are those of the latest life."""

    runtime: trouper.Runtime
    gateway: Gateway

    def __init__(self, world: World, jobs: Iterable[Any]) -> None:
        self.world = world
        self.network = Network()
        self.lives = 0
        self.reports: list[trouper.Report] = []
        """Of whoever lived when it was told."""
        self._logs: dict[str, list[list[Entry]]] = {}
        self.jobs = list(jobs)
        self._tables = MemoryTables()
        self._life: Life | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until cancelled, after each death again. What is left of a dead process goes on for a while,
        and reaches nobody."""
        async with trio.open_nursery() as nursery:
            while True:
                self.lives += 1
                store = MortalStore(self.world.seams, StoreOptions(), self._tables, self.lives)
                self._life = Life(store)
                await nursery.start(self._live, self._life)
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await self._life.died.wait()
                await trio.sleep(self.world.random.uniform(0, 3))

    async def _live(self, life: Life, *, task_status: trio.TaskStatus[None]) -> None:
        def report(report: trouper.Report) -> None:
            if not life.died.is_set():
                self.reports.append(report)

        with life.scope:
            async with (
                trouper.open_runtime(
                    lambda _seams, _options: life.store,
                    jobs=self.jobs,
                    options=OPTIONS,
                    seams=self.world.seams,
                    on_report=report,
                ) as self.runtime,
                trio.open_nursery() as nursery,
            ):
                serve = partial(trouper.serve, self.runtime, listen=self.network.listen)
                self.gateway = await nursery.start(partial(serve, authenticate=by_token))
                task_status.started()
                await trio.sleep_forever()
        if not life.died.is_set():
            raise AssertionError("a process ended that nobody has killed")

    def kill(self) -> None:
        """The process is gone: from this very moment on nothing of it is remembered or sent."""
        life = self._life
        if life is None or life.died.is_set():
            return
        life.store.die()
        self.network.unplug()
        life.died.set()
        life.scope.cancel()

    def client(self, user: str, **more: Any) -> Any:
        return trouper.connect(
            "ws://simulated", token=user, dial=self.network.dial, seams=self.world.seams, **more
        )

    # --- what outputs are ---

    def begun(self, job_id: str) -> list[Entry]:
        """For a job that begins an attempt: the log of that attempt, to which it adds what it writes."""
        log = list(self._tables._logs[job_id])
        self._logs.setdefault(job_id, []).append(log)
        return log

    def check(self, job_id: str, copy: Reader) -> None:
        """Whatever somebody holds is the beginning of an attempt's log, and was committed (O2)."""
        held = copy.copy
        logs = [tokens(log) for log in self._logs.get(job_id, [[]])]
        assert any(log[: len(held)] == held for log in logs), f"of no attempt: {held}"
        if logs[-1][: len(held)] == held:
            committed = tokens(self._tables._logs[job_id])
            assert len(held) <= len(committed) or any(log[: len(held)] == held for log in logs[:-1])

    def check_whole(self, job_id: str, copy: Reader) -> None:
        """What somebody holds who has seen the end is all there is, verified (O6)."""
        assert copy.end is not None
        assert copy.end.verified
        assert copy.copy == tokens(self._tables._logs[job_id])

    async def check_empty(self) -> None:
        """Once all clients have ended, and silence was judged, nothing of them is left (N2, S5)."""
        await trio.sleep(self.gateway._options.silence_s + 5)
        assert self.network.connections == []
        assert self.gateway.statistics().connections == 0
        assert self.runtime.statistics()["sessions"]["now"] == 0
