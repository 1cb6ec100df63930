"""What the contract works with: a world with one store that can be restarted, and a source of output."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs
import trio

from trouper.store.options import StoreOptions
from trouper.store.output_log import OutputHash
from trouper.store.protocol import (
    APPENDED,
    Admission,
    Admitted,
    Append,
    Appended,
    AppendFailed,
    CommitNotice,
    EndingKind,
    Finish,
    Finished,
    Notify,
    Refused,
    Savepoint,
    Store,
)
from trouper.store.questions import Ask
from trouper.store.records import Entry, Job, JobOptions
from trouper.store.seams import Seams, ThreadAbandoned

T = TypeVar("T")
F = TypeVar("F")

PROMPT_OPTIONS = StoreOptions(commit_tick_s=0.0, lock_wait_s=0.0, busy_wait_s=0.0, retry_base_s=0.001)
"""Nothing here waits on the wall clock."""


ASK = Ask(key="k", question="Go on?", schema='{"type":"boolean"}')


class InlineThread:
    """A ``BlockingThread`` without a thread, for tests that need one order of events only."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._abandoned = False

    async def run(self, call: Callable[[], T]) -> T:
        await trio.lowlevel.cancel_shielded_checkpoint()
        if self._abandoned:
            raise ThreadAbandoned(self.name)
        return call()

    def abandon(self, then: Callable[[], object]) -> None:
        self._abandoned = True
        then()

    async def aclose(self) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()


@attrs.define
class Wall:
    """A clock that goes when it is told to, and on the wall shows what it is set to."""

    now: float = 1_000.0
    set_by_s: float = 0.0

    def __call__(self) -> float:
        return self.now + self.set_by_s

    def jump(self, by_s: float) -> None:
        """Set the clock on the wall; no time passes."""
        self.set_by_s += by_s


def clause(*numbers: str) -> Callable[[F], F]:
    """The promises (docs/promises.md) that a test holds; kept as its attribute ``clauses``."""

    def mark(test: F) -> F:
        test.clauses = numbers  # type: ignore[attr-defined]
        return test

    return mark


class World:
    """One database and the store on it, which can end and be started again as another boot."""

    def __init__(
        self,
        make: Callable[[Seams, StoreOptions], Store],
        nursery: trio.Nursery,
        *,
        options: StoreOptions = PROMPT_OPTIONS,
        wall: Wall | None = None,
        name: str = "",
        **seams: Any,
    ) -> None:
        self.name = name
        self.wall = Wall() if wall is None else wall
        self.notices: list[CommitNotice] = []
        ids = itertools.count(1)
        clocks = {"wall": self.wall, "now": lambda: self.wall.now}
        self.seams = Seams(**{**clocks, "new_id": lambda: f"id{name}{next(ids)}", **seams})
        self.options = options
        self._make = make
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self.store: Store = self.new_store()

    def new_store(self, before: Store | None = None) -> Store:
        store = self._make(self.seams, self.options)
        if store is not before:
            store.listen(self.notices.append)
        return store

    async def open(self) -> None:
        await self._nursery.start(self._run)

    async def _run(self, **task_status: Any) -> None:
        self._ended = trio.Event()
        try:
            with trio.CancelScope() as self._scope:
                await self.store.run(**task_status)
        finally:
            self._ended.set()

    async def close(self) -> None:
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()

    async def restart(self, *, away_s: float = 0.0) -> None:
        """End the store and start it, ``away_s`` seconds later, as the next boot: what ran is orphaned."""
        if self.store.lease is not None:
            await self.store.renew(anew=True)  # or it would be, to the others, one that is only silent
        await self.close()
        self.wall.now += away_s
        self.store = self.new_store(self.store)
        await self.open()

    # --- short forms ---

    async def admit(self, id: str, **fields: Any) -> Job:
        answer = await self.store.admit(admission(id, **fields))
        assert isinstance(answer, Admitted)
        return answer.job

    async def start(self, id: str, **fields: Any) -> Job:
        """Admit a job and claim it."""
        await self.admit(id, **fields)
        claims = await self.store.claim(1)
        assert [job.id for job in claims.started] == [id]
        return claims.started[0]

    async def write(self, job: Job, *entries: Entry) -> Source:
        """Append ``entries`` to a running job's log."""
        head = await self.store.output_head(job.id)
        assert head is not None
        source = Source(self.store, job, start=head.entries)
        assert await source.commit(*entries) == APPENDED
        return source

    async def savepoint(
        self, job: Job, entries: int, saved: str = "{}", heard: int = 0, used_ms: int = 0
    ) -> object:
        return await self.store.savepoint(Savepoint(job.id, job.fence, entries, saved, used_ms, heard))

    async def end(self, job: Job, kind: EndingKind = EndingKind.RETURNED, **fields: Any) -> Job:
        """Finish a running job with the log that it has."""
        answer = await self.store.finish(await self.finish_of(job, kind, **fields))
        assert isinstance(answer, Finished), answer
        return answer.job

    async def finish_of(self, job: Job, kind: EndingKind = EndingKind.RETURNED, **fields: Any) -> Finish:
        entries = await self.log(job.id)
        return Finish(
            **{
                "job_id": job.id,
                "fence": job.fence,
                "kind": kind,
                "entries": len(entries),
                "sha256": sha256(entries),
                "used_ms": 10,
                "question": ASK if kind is EndingKind.ASKED else None,
                **fields,
            }
        )

    async def log(self, job_id: str, *, page_bytes: int = 1 << 20) -> tuple[Entry, ...]:
        """The whole committed log, read page by page."""
        entries: list[Entry] = []
        while True:
            page = await self.store.read_output(job_id, len(entries), page_bytes)
            if page is None or not page.entries:
                return tuple(entries)
            entries += page.entries

    async def row(self, job_id: str) -> Job:
        job = await self.store.job(job_id)
        assert job is not None
        return job


class Source:
    """An ``OutputSource`` that commits what it is told and remembers what became of it."""

    def __init__(self, store: Store, job: Job, *, start: int = 0) -> None:
        self.store = store
        self.job = job
        self.start = start
        self.pending: list[Entry] = []
        self.in_flight: tuple[Entry, ...] = ()
        self.results: list[Appended | Refused | AppendFailed] = []
        self.used_ms = 1
        self._settled = trio.Event()

    def take(self) -> Append | None:
        assert not self.in_flight, "taken again before it was settled"
        if not self.pending:
            return None
        self.in_flight = tuple(self.pending)
        self.pending.clear()
        return Append(self.job.id, self.job.fence, self.start, self.in_flight, self.used_ms)

    def settled(self, result: Appended | Refused | AppendFailed) -> None:
        taken, self.in_flight = self.in_flight, ()
        if isinstance(result, Appended):
            self.start += len(taken)
        elif isinstance(result, AppendFailed):
            self.pending[:0] = taken
        self.results.append(result)
        self._settled.set()

    def write(self, *entries: Entry) -> None:
        self.pending.extend(entries)
        self.store.dirty(self)

    async def commit(self, *entries: Entry) -> Appended | Refused | AppendFailed:
        """Write, and wait for the answer."""
        self._settled = trio.Event()
        self.write(*entries)
        await self._settled.wait()
        return self.results[-1]

    async def until(self, entries: int) -> None:
        """Wait until the log has ``entries`` entries, however often the store has to try."""
        while self.start < entries:
            self._settled = trio.Event()
            await self._settled.wait()


def admission(id: str, **fields: Any) -> Admission:
    defaults = {"user": "ada", "name": "report", "arguments": "{}", "fingerprint": "print"}
    return Admission(id=id, **{**defaults, **fields})


def options(**fields: Any) -> JobOptions:
    return JobOptions(**fields)


def notice_of(job: Job, key: str, **fields: Any) -> Notify:
    defaults = {"id": f"n-{job.id}-{key}", "title": "look", "body": "here"}
    return Notify(job_id=job.id, fence=job.fence, key=key, **{**defaults, **fields})


def sha256(entries: Sequence[Entry]) -> str:
    output_hash = OutputHash()
    for entry in entries:
        output_hash.update(entry)
    return output_hash.hexdigest()
