"""trouper's store under many writers, each of which waits for its own before it goes on."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio

from benchmarks.measuring import Taken
from benchmarks.store import opened
from benchmarks.store.opened import Recording
from trouper.actors.options import JobLimits
from trouper.store.output_log import OutputHash, OutputLog, split_text
from trouper.store.protocol import Admission, Admitted, EndingKind, Finish, Finished, Store
from trouper.store.records import Job

ENTRY = "some words of an answer, "
"""What a model sends at a time."""
LIMITS = JobLimits()
_TEXTS = LIMITS.writes_per_checkpoint
"""Texts of its own that each writer has, which it writes again and again."""
PROCESSOR, PER_COMMIT = "µs of processor each", "per commit"

Prepare = Callable[[Store, int, int], Awaitable[list[Callable[[], Awaitable[None]]]]]
"""(store, writers, times) → what each writer does."""


@attrs.frozen
class Work:
    """What ``writers`` writers do together."""

    prepare: Prepare
    writers: int

    def done(self, times: int) -> int:
        """How much is done of so many: each writer does a whole number of them, and at least one."""
        return self.writers * max(1, times // self.writers)

    def take(self, times: int) -> Taken:
        """Seconds for so many."""
        return trio.run(self._run, times, None)

    def record(self, times: int, recording: Recording) -> None:
        """Do the same to learn its statements, told apart from those that set the stage."""
        trio.run(self._run, times, recording)

    async def _run(self, times: int, recording: Recording | None) -> Taken:
        commits = 0

        def count(_notice: object) -> None:
            nonlocal commits
            commits += 1

        with opened.folder() as path:
            async with opened.open_store(path) as store:
                writers = await self.prepare(store, self.writers, self.done(times))
                store.listen(count)
                if recording is not None:
                    recording.begin()
                began, cpu = time.perf_counter(), time.process_time()
                async with trio.open_nursery() as nursery:
                    for write in writers:
                        nursery.start_soon(write)
                took, cpu = time.perf_counter() - began, time.process_time() - cpu
                if recording is not None:
                    recording.end()
                return self.taken(times, took, cpu, commits)

    def taken(self, times: int, took_s: float, cpu_s: float, commits: int) -> Taken:
        """The figure and its facts, when all that is done of ``times`` took so long."""
        done = self.done(times)
        facts = {PROCESSOR: 1e6 * cpu_s / done, PER_COMMIT: done / max(1, commits)}
        return Taken(took_s * times / done, facts)


def _admission(writer: int, number: int) -> Admission:
    return Admission(
        id=f"job-{writer}-{number}",
        user=f"user-{writer}",
        name="reply",
        arguments='{"prompt":"What is a trouper?"}',
        fingerprint="0" * 64,
        thread=f"thread-{writer}-{number}",
        idempotency_key=f"key-{writer}-{number}",
        max_queued=1_000_000,
        max_queued_per_user=1_000_000,
    )


async def _admit(store: Store, writer: int, times: int) -> None:
    for number in range(times):
        assert isinstance(await store.admit(_admission(writer, number)), Admitted)


async def admissions(store: Store, writers: int, times: int) -> list[Callable[[], Awaitable[None]]]:
    """Jobs are submitted, one after the other by each."""
    return [partial(_admit, store, writer, times // writers) for writer in range(writers)]


async def running(store: Store, writers: int, each: int) -> list[list[Job]]:
    """So many running jobs for each writer."""
    async with trio.open_nursery() as nursery:
        for writer in range(writers):
            nursery.start_soon(_admit, store, writer, each)
    by_user: dict[str, list[Job]] = {}
    for job in (await store.claim(writers * each)).started:
        by_user.setdefault(job.user, []).append(job)
    return list(by_user.values())


async def _finish(store: Store, jobs: list[Job]) -> None:
    sha256 = OutputHash().hexdigest()
    for job in jobs:
        request = Finish(
            job_id=job.id,
            fence=job.fence,
            kind=EndingKind.RETURNED,
            entries=0,
            sha256=sha256,
            used_ms=1,
            result='{"finish":"stop"}',
        )
        assert isinstance(await store.finish(request), Finished)


async def finishes(store: Store, writers: int, times: int) -> list[Callable[[], Awaitable[None]]]:
    """Running jobs end ``completed``, each with its notification."""
    return [partial(_finish, store, jobs) for jobs in await running(store, writers, times // writers)]


class Writer:
    """A job that writes as fast as the store takes it, held back as a job's ``write`` is."""

    def __init__(self, store: Store, job: Job) -> None:
        self._settled = trio.lowlevel.ParkingLot()
        self.log = OutputLog(
            job,
            OutputHash(),
            on_dirty=store.dirty,
            on_change=self._wake,
            used_ms=lambda: 1,
            pending_bytes_max=LIMITS.pending_bytes,
        )

    def _wake(self) -> None:
        self._settled.unpark_all()

    async def write(self, times: int) -> None:
        log, append = self.log, self.log.append
        entries = [entry for number in range(_TEXTS) for entry in split_text(f"{number:03}{ENTRY[3:]}")]
        for first in range(0, times, _TEXTS):
            for entry, size in entries[: times - first]:
                if append(entry, size):
                    while log.full:
                        await self._append_settled()
            await trio.lowlevel.checkpoint()
        while log.committed < log.entries:
            await self._append_settled()

    async def _append_settled(self) -> None:
        self.log.awaited = True
        await self._settled.park()


async def output(store: Store, writers: int, times: int) -> list[Callable[[], Awaitable[None]]]:
    """Entries of output, written by as many running jobs."""
    jobs = await running(store, writers, 1)
    return [partial(Writer(store, job).write, times // writers) for (job,) in jobs]
