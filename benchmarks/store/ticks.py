"""What the commits of many streaming jobs cost.

So many running jobs have one new entry each per tick of 25 ms. The processor time of a commit is that of the
store's thread, which is all its own, and of the loop: of the loop's time what the same jobs need when nobody
commits anything is taken off (to wake up, to append an entry and hash it is the jobs' own business). That
is measured last, with the same logs: all code is warm by then.

A log waits in the journal for so many commits and is then written as a block, so a figure holds when it is
taken over one turn of the journal: each log is written as a block once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import trio

from benchmarks.measuring import Taken
from benchmarks.store import opened
from benchmarks.store.writers import ENTRY, running
from trouper.store.options import StoreOptions
from trouper.store.output_log import OutputHash, OutputLog, split_text
from trouper.store.protocol import OutputSource
from trouper.store.records import Job
from trouper.store.seams import NamedThread, Seams

T = TypeVar("T")

JOBS = 1_250
TICK_S = 0.025
TURN = StoreOptions().journal_rows_max
"""Ticks of one turn of the journal."""
TEXTS = [entry for number in range(JOBS) for entry in split_text(f"{number:04}{ENTRY[4:]}")]
"""What each job writes, with its size: a text of its own."""


class MeasuredThread(NamedThread):
    """The store's thread, which counts what it carries out and the processor time of that."""

    cpu_s = 0.0
    calls = 0

    async def run(self, call: Callable[[], T]) -> T:
        self.calls += 1

        def measured() -> T:
            began = time.thread_time()
            try:
                return call()
            finally:
                self.cpu_s += time.thread_time() - began

        return await super().run(measured)


class Writers:
    """The jobs' logs. ``dirty``: whom they tell that there is something to commit."""

    def __init__(self, jobs: list[Job], dirty: Callable[[OutputSource, bool], None]) -> None:
        self.dirty: Callable[[OutputSource, bool], None] | None = dirty
        self._settled = trio.Event()
        self._logs = [self._log(job, lambda: None) for job in jobs[:-1]]
        self._logs.append(self._log(jobs[-1], lambda: self._settled.set()))

    def _log(self, job: Job, on_change: Callable[[], None]) -> OutputLog:
        return OutputLog(job, OutputHash(), on_dirty=self._tell, on_change=on_change, used_ms=lambda: 1)

    def _tell(self, source: OutputSource, urgent: bool) -> None:
        if self.dirty is not None:
            self.dirty(source, urgent)

    async def loop_s(self, ticks: int) -> float:
        """Processor time of this thread while every job writes once a tick."""
        began, due = time.thread_time(), trio.current_time()
        for _ in range(ticks):
            self._settled, self._logs[-1].awaited = trio.Event(), True
            for log, (text, size) in zip(self._logs, TEXTS, strict=True):
                log.append(text, size)
            due = max(due + TICK_S, trio.current_time())
            await trio.sleep_until(due)
            if self.dirty is not None:  # on a slow disk: one commit a tick, never one for two
                await self._settled.wait()
        return time.thread_time() - began


def share_of_a_core(ticks: int) -> Taken:
    """Percent of a core that the commits of that many ticks took."""
    return trio.run(_share, ticks)


async def _share(ticks: int) -> Taken:
    threads: list[MeasuredThread] = []

    def open_thread(name: str) -> MeasuredThread:
        threads.append(MeasuredThread(name))
        return threads[-1]

    with opened.folder() as path:
        async with opened.open_store(path, Seams(open_thread=open_thread)) as store:
            writers = Writers([job for (job,) in await running(store, JOBS, 1)], store.dirty)
            few = max(1, ticks // 10)
            await writers.loop_s(few)
            (thread,) = threads
            thread_s, calls, blocks = thread.cpu_s, thread.calls, store.statistics()["blocks_written"]
            with_store_s = await writers.loop_s(ticks)
            thread_s, calls = thread.cpu_s - thread_s, thread.calls - calls
            blocks = store.statistics()["blocks_written"] - blocks
            await trio.sleep(4 * TICK_S)  # until the store has asked in vain, and asks no more
            writers.dirty = None
            alone_s = (
                await writers.loop_s(few) * ticks / few
            )  # what nobody takes gathers, and costs by itself
    of_a_core = 100 / (ticks * TICK_S)
    loop_s = with_store_s - alone_s
    facts = {
        "thread %": of_a_core * thread_s,
        "loop %": of_a_core * loop_s,
        "commits a tick": calls / ticks,
        "blocks a job": blocks / JOBS,
    }
    return Taken(of_a_core * (thread_s + loop_s), facts)
