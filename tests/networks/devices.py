"""What people do with a client, whatever becomes of its connections, and what they hold in the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

import trouper
from tests.networks.service import RETRY, Service
from tests.transport.client_model import Reader

T = TypeVar("T")


def tale_of(service: Service) -> trouper.JobSpec[..., None]:
    """A job that tells ``words`` words, each of its attempt, with events and savepoints between them; its
    first attempt crashes at ``crash_at``."""

    @trouper.job(name="tale", retry=RETRY, client=True)
    async def tale(ctx: trouper.JobContext, *, words: int, crash_at: int = -1) -> None:
        log = service.begun(ctx.job_id)
        for number in range(ctx.saved or 0, words):
            if number == crash_at and ctx.attempt == 1:
                raise RuntimeError("on purpose")
            if number % 5 == 4:
                log.append(("fact", f'"{number} of {ctx.attempt}"'))
                await ctx.emit("fact", f"{number} of {ctx.attempt}")
            else:
                log.append(f"é{number}.{ctx.attempt} ")
                await ctx.write(f"é{number}.{ctx.attempt} ")
            if number % 4 == 3:
                await ctx.savepoint(number + 1)
            await trio.sleep(0.1)

    return tale


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """As a program does that is told that it may try again."""
    while True:
        try:
            return await call()
        except trouper.CommandFailed as failed:
            if not failed.retryable:
                raise
            await trio.sleep(0.5)


class Interruptions:
    """Tasks that wait for a client can be cancelled there, and then go on with it."""

    def __init__(self) -> None:
        self._scopes: list[trio.CancelScope] = []
        self.made = 0

    def cancel(self, which: float) -> None:
        """One of them; ``which`` from 0 to 1."""
        if self._scopes:
            self.made += 1
            self._scopes[int(which * len(self._scopes)) % len(self._scopes)].cancel()

    async def outlast(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of ``call``, which is made again for each time that it was cancelled."""
        while True:
            with trio.CancelScope() as scope:
                self._scopes.append(scope)
                try:
                    return await call()
                finally:
                    self._scopes.remove(scope)


class Device:
    """A client of ``user`` that starts ``jobs`` tales and reads each tale of that user that it hears of."""

    def __init__(self, service: Service, user: str, name: str, jobs: int, expected: int) -> None:
        self.service = service
        self.user = user
        self.name = name
        self.copies: dict[str, Reader] = {}
        self.client: trouper.Client | None = None
        self.interruptions = Interruptions()
        self.notified: dict[str, set[str]] = {}
        """Ids of notifications of an end that it was shown, by job."""
        self._jobs = jobs
        self._expected = expected

    async def run(self) -> None:
        """Until it has read ``expected`` tales to their end and was told of each."""
        async with self.service.client(self.user) as client, trio.open_nursery() as nursery:
            self.client = client
            for number in range(self._jobs):
                nursery.start_soon(self._start, client, number)
            async for change in client.changes():
                for row in change.notifications:
                    assert row.kind == "ended"
                    self.notified.setdefault(row.job, set()).add(row.id)
                # (A snapshot has no ended jobs, only what is told of them.)
                for id in [*(job.id for job in change.jobs), *(row.job for row in change.notifications)]:
                    if id not in self.copies:
                        self.copies[id] = Reader()
                        nursery.start_soon(self._read, client, id)
                if len(self.notified) == self._expected and len(self.copies) == self._expected:
                    break
        self.client = None

    async def _start(self, client: trouper.Client, number: int) -> None:
        key = f"{self.name} {number}"
        arguments = {"words": 80 + 20 * number, "crash_at": 30 if number % 2 else -1}
        await self.interruptions.outlast(lambda: insist(lambda: client.submit("tale", arguments, key=key)))

    async def _read(self, client: trouper.Client, job_id: str) -> None:
        copy = self.copies[job_id]
        output = client.output(job_id)

        async def read_on() -> None:
            async for piece in output:
                copy.add(piece)
                self.service.check(job_id, copy)

        await self.interruptions.outlast(read_on)
        await output.aclose()

    def check(self) -> None:
        """It holds all of each output, and was shown one notification of each end (N1, O6)."""
        assert len(self.copies) == self._expected
        for job_id, copy in self.copies.items():
            self.service.check_whole(job_id, copy)
            assert len(self.notified[job_id]) == 1
