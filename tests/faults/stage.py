"""A runtime in virtual time, and what must hold of it however it went."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, TypeVar

import attrs
import trio

import trouper
from trouper.actors.job_spec import Call
from trouper.actors.output_pieces import End, Transcript
from trouper.actors.reports import Report, ReportKind
from trouper.simulation import World
from trouper.store.errors import DataRefused, StoreUnavailable
from trouper.store.urls import StoreFactory
from trouper.supervisor.errors import StartFailed
from trouper.supervisor.refusals import Draining

T = TypeVar("T")

RETRY = trouper.Retry(attempts=10, backoff=trouper.Backoff(base=0.1))
"""Enough for what goes wrong and is not the job's fault, too."""

CLOSE_S = 30.0
"""How long a runtime may take to end, whatever its store does: ``shutdown_total_s``."""


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """As a caller does who is told that it may be tried again."""
    while True:
        try:
            return await call()
        except (StoreUnavailable, DataRefused):
            await trio.sleep(0.5)
        except Draining:  # the runtime has ended under the caller: what ended it ends the caller, too
            await trio.sleep_forever()


@attrs.define
class Stage:
    """Where a scenario plays."""

    world: World
    store: StoreFactory | str
    hooks_left: Callable[[], int] | None = None
    """How many rows of hooks the store has. (Not every scenario asks.)"""
    breaks_off: bool = True
    """Whether what goes wrong may end an attempt inside of its unsafe step."""
    reports: list[Report] = attrs.field(factory=list)
    close_s: float = CLOSE_S

    @asynccontextmanager
    async def runtime(self, *jobs: Any) -> AsyncIterator[trouper.Runtime]:
        """A runtime that must end in time, whatever went wrong (S5). One that could not start is started
        again, as the system does that looks after the process."""
        async with AsyncExitStack() as stack:
            try:
                runtime = await stack.enter_async_context(self._open(jobs))
            except StartFailed:
                runtime = await stack.enter_async_context(self._open(jobs))
            yield runtime
            began = trio.current_time()
        took = trio.current_time() - began
        assert took <= self.close_s, f"it took {took} s to close"

    def _open(self, jobs: Iterable[Any]) -> AbstractAsyncContextManager[trouper.Runtime]:
        return trouper.open_runtime(
            self.store, jobs=jobs, seams=self.world.seams, on_report=self.reports.append
        )

    def of_ours(self, *, stuck: bool) -> list[Report]:
        """Crashes that no job made, and tasks that were taken for stuck."""
        kinds = (ReportKind.CRASH, ReportKind.STUCK) if stuck else (ReportKind.CRASH,)
        bad = [report for report in self.reports if report.kind in kinds]
        return [report for report in bad if "on purpose" not in report.reason]


async def submit(runtime: trouper.Runtime, call: Call, key: str, **options: Any) -> str:
    """Submit until it is admitted; the job's id."""
    job = await insist(lambda: runtime.submit(call, user="ada", idempotency_key=key, **options))
    return job.id


async def read(runtime: trouper.Runtime, job_id: str) -> Transcript:
    """The output as somebody has it who reads along. Who is told that the store is down begins again."""

    async def whole() -> Transcript:
        transcript = Transcript()
        async with aclosing(runtime.read(job_id)) as output:
            async for piece in output:
                transcript.add(piece)
        return transcript

    return await insist(whole)


async def check(
    runtime: trouper.Runtime,
    job_id: str,
    *,
    state: str,
    text: str,
    told: tuple[str, ...] = ("ended",),
) -> trouper.Job:
    """It ended so, once, and its output is that, without a gap; these notifications are there, once."""
    job = await insist(lambda: runtime.wait(job_id))
    assert job.state.value == state, f"{job.state} ({job.reason}: {job.error})"
    transcript = await read(runtime, job_id)
    assert transcript.text == text
    assert isinstance(transcript.end, End)
    assert transcript.end.verified
    inbox = await insist(lambda: runtime.inbox("ada"))
    assert sorted(row.kind for row in inbox if row.job == job_id) == sorted(told)
    return job
