"""What the commits of many streaming jobs cost.

So many running jobs have one new entry each per tick of 25 ms. The processor time of a commit is that of the
store's thread, which is all its own, and of the loop: of the loop's time what the same jobs need when nobody
commits anything is taken off (to wake up, to append an entry and hash it is the jobs' own business).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import trio

from benchmarks.store import opened
from benchmarks.store.writers import ENTRY, running
from trouper.store.output_log import OutputHash, OutputLog
from trouper.store.protocol import OutputSource
from trouper.store.records import Job
from trouper.store.seams import NamedThread, Seams

T = TypeVar("T")

JOBS = 1_250
TICK_S = 0.025


class MeasuredThread(NamedThread):
    """The store's thread, which counts the processor time of what it carries out."""

    cpu_s = 0.0

    async def run(self, call: Callable[[], T]) -> T:
        def measured() -> T:
            began = time.thread_time()
            try:
                return call()
            finally:
                self.cpu_s += time.thread_time() - began

        return await super().run(measured)


def share_of_a_core(ticks: int) -> float:
    """Percent of a core that the commits of that many ticks took."""
    return trio.run(_share, ticks)


async def _share(ticks: int) -> float:
    threads: list[MeasuredThread] = []

    def open_thread(name: str) -> MeasuredThread:
        threads.append(MeasuredThread(name))
        return threads[-1]

    with opened.folder() as path:
        async with opened.open_store(path, Seams(open_thread=open_thread)) as store:
            jobs = [job for (job,) in await running(store, JOBS, 1)]
            alone_s = await _loop_s(jobs, ticks, lambda _: None, False)
            before = threads[0].cpu_s
            with_store_s = await _loop_s(jobs, ticks, store.dirty, True)
            thread_s = threads[0].cpu_s - before
    return 100 * (thread_s + with_store_s - alone_s) / (ticks * TICK_S)


async def _loop_s(
    jobs: list[Job], ticks: int, dirty: Callable[[OutputSource], None], committing: bool
) -> float:
    """Processor time of this thread while every job writes once a tick."""
    settled = trio.Event()

    def wake() -> None:
        settled.set()

    logs = [
        OutputLog(job, OutputHash(), on_dirty=dirty, on_change=lambda: None, used_ms=lambda: 1)
        for job in jobs[:-1]
    ]
    last = OutputLog(jobs[-1], OutputHash(), on_dirty=dirty, on_change=wake, used_ms=lambda: 1)
    began, due = time.thread_time(), trio.current_time()
    for _ in range(ticks):
        settled = trio.Event()
        for log in (*logs, last):
            log.append(ENTRY)
        due = max(due + TICK_S, trio.current_time())
        await trio.sleep_until(due)
        if committing:  # on a slow disk: one commit a tick, never one for two
            await settled.wait()
    return time.thread_time() - began
