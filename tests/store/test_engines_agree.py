"""Random sequences of operations get the same answers from memory and from SQLite.

The memory store is the model: short, without a journal, blocks, batches or a file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.support import PROMPT_OPTIONS, InlineThread, Source, World, admission, notice_of, options
from trouper.store.completions import SettleCompletion, TryEnd
from trouper.store.errors import StoreError
from trouper.store.protocol import EndingKind, Finish, Names, Savepoint
from trouper.store.questions import Ask, GiveAnswer
from trouper.store.records import Job
from trouper.store.signals import SignalRow

USERS = st.sampled_from(["ada", "bob"])
SMALL = st.integers(0, 3)
PICKS = (0, 1, 2, 3, 4, 5)
PICK = st.sampled_from(PICKS)
"""Which of the jobs (or attempts) an operation is about, modulo their number."""

ENTRIES = st.lists(
    st.one_of(st.text(max_size=12), st.just("x" * 40), st.tuples(st.text(max_size=3), st.just('{"a":1}'))),
    min_size=1,
    max_size=4,
).map(tuple)

ASKS = [Ask(key="k", question="?", schema="{}", timeout_s=timeout_s) for timeout_s in (1.5, None)]

ARGUMENTS: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "admit": (
        USERS,
        st.sampled_from([None, "t", "u"]),
        st.sampled_from([None, None, "k", "l"]),
        st.sampled_from(["p", "q"]),
        st.sampled_from(["enqueue", "enqueue", "enqueue", "reject", "interrupt", "rollback"]),
        st.integers(1, 3),
        st.sampled_from([{}, {}, {"delay_s": 2.0}, {"at": 1004.0}, {"name": "other"}]),
    ),
    "claim": (
        st.integers(0, 3),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([None, ("report", "other"), ("report",), ("other",)]),
    ),
    "append": (PICK, ENTRIES, st.sampled_from([0, 0, 0, 0, -1, 1]), SMALL),
    "savepoint": (PICK, st.sampled_from([0, 0, 0, 1]), st.text(max_size=3)),
    "unsafe": (PICK, st.sampled_from([None, None, "step"])),
    "finish": (PICK, st.sampled_from(list(EndingKind)), st.booleans(), SMALL),
    "notify": (PICK, st.sampled_from(["", "k"])),
    "cancel": (PICK, st.sampled_from([None, "ada", "bob"])),
    "cancel_key": (USERS, st.sampled_from(["k", "l", "m"])),
    "mark": (USERS, st.sampled_from(["seen", "read", "archived"]), PICK, st.none() | PICK, st.none() | PICK),
    "answer": (PICK, st.sampled_from(['"a"', '"b"'])),
    "signal": (PICK, st.sampled_from(["m", "n", "o"])),
    "hook": (SMALL, st.sampled_from([None, *TryEnd])),
    "wait": (SMALL,),
    "jump": (st.sampled_from([-100, -7, 1, 6, 100]),),
    "restart": (),
}

# What makes things happen comes often, what ends them all comes rarely.
OFTEN = ["admit"] * 4 + ["claim"] * 4 + ["append"] * 6 + ["finish"] * 3 + ["savepoint"] * 2 + [*ARGUMENTS]
OPERATIONS = st.sampled_from(OFTEN).flatmap(lambda name: st.tuples(st.just(name), *ARGUMENTS[name]))


@attrs.define
class Play:
    """One world, and what has happened in it: enough to aim the next operation."""

    world: World
    jobs: list[str] = attrs.field(factory=list)
    attempts: list[Job] = attrs.field(factory=list)

    async def do(self, name: str, *values: Any) -> object:
        operation: Callable[..., Awaitable[object]] = getattr(self, name)
        try:
            return await operation(*values)
        except StoreError as error:
            return type(error)

    async def admit(
        self,
        user: str,
        thread: str | None,
        key: str | None,
        print: str,
        on_busy: str,
        attempts: int,
        other: dict[str, Any],
    ) -> object:
        id = f"j{len(self.jobs)}"
        self.jobs.append(id)
        return await self.world.store.admit(
            admission(
                id,
                user=user,
                thread=thread,
                idempotency_key=key,
                fingerprint=print,
                on_busy=on_busy,
                max_queued=12,
                max_queued_per_user=9,
                options=options(
                    attempts=attempts,
                    timeout_s=2.0,
                    queue_timeout_s=4.0 if attempts == 2 else None,
                    on_ended=True,
                    notify_on=("completed", "cancelled", "lost"),
                ),
                **other,
            )
        )

    async def claim(self, limit: int, per_user: int | None, names: tuple[str, ...] | None) -> object:
        claims = await self.world.store.claim(limit, per_user, names=Names(names, 3.0))
        self.attempts += claims.started
        return claims

    async def attempt(self, pick: int) -> Job:
        """Mostly one that runs; with the last pick one of any age, whose fence may be old."""
        attempts = await self.world.store.running()
        if pick == PICKS[-1]:
            attempts = tuple(self.attempts)
        if not attempts:
            return Job(id="nobody", user="ada", name="report", fence=1)
        return attempts[pick % len(attempts)]

    async def length(self, job_id: str) -> int:
        head = await self.world.store.output_head(job_id)
        return head.entries if head else 0

    async def append(self, pick: int, entries: tuple[Any, ...], off: int, used_ms: int) -> object:
        job = await self.attempt(pick)
        source = Source(self.world.store, job, start=await self.length(job.id) + off)
        source.used_ms = used_ms * 1000
        return await source.commit(*entries)

    async def savepoint(self, pick: int, off: int, saved: str) -> object:
        job = await self.attempt(pick)
        entries = await self.length(job.id) + off
        return await self.world.store.savepoint(Savepoint(job.id, job.fence, entries, saved, 5))

    async def unsafe(self, pick: int, step: str | None) -> object:
        job = await self.attempt(pick)
        return await self.world.store.unsafe(job.id, job.fence, step)

    async def finish(self, pick: int, kind: EndingKind, stuck: bool, after: int) -> object:
        job = await self.attempt(pick)
        entries = await self.length(job.id)
        return await self.world.store.finish(
            Finish(
                job_id=job.id,
                fence=job.fence,
                kind=kind,
                entries=entries,
                sha256=f"hash of {entries}",
                used_ms=after * 1000,
                result="1",
                error="e",
                stuck=stuck,
                retry_after_s=None if after == 3 else float(after),
                jitter=0.5,
                question=None if after == 2 else ASKS[after > 0],
            )
        )

    async def answer(self, pick: int, value: str) -> object:
        return await self.world.store.answer(GiveAnswer(job_id=self.job_id(pick), key="k", value=value))

    async def signal(self, pick: int, id: str) -> object:
        return await self.world.store.signal(SignalRow(job=self.job_id(pick), id=id, body=f'"{id}"'), None)

    async def hook(self, limit: int, end: TryEnd | None) -> object:
        claims = await self.world.store.claim_completions(limit, fresh=end is None)
        for row, _ in claims.started:
            if end is not None:
                await self.world.store.settle_completion(
                    SettleCompletion(job_id=row.job, tries=row.tries, end=end, error="e")
                )
        return claims, await self.world.store.dead_completions()

    async def notify(self, pick: int, key: str) -> object:
        return await self.world.store.notify(notice_of(await self.attempt(pick), key))

    def job_id(self, pick: int) -> str:
        return self.jobs[pick % len(self.jobs)] if self.jobs else "nobody"

    async def cancel(self, pick: int, user: str | None) -> object:
        return await self.world.store.cancel(self.job_id(pick), user)

    async def cancel_key(self, user: str, key: str) -> object:
        return await self.world.store.cancel_key(user, key)

    async def mark(self, user: str, mark: Any, id: int, job: int | None, upto: int | None) -> object:
        newest = await self.world.store.notifications(user)
        ids = (newest[id % len(newest)].id,) if newest else ("none",)
        job_id = None if job is None else self.job_id(job)
        return await self.world.store.mark(user, mark, ids=ids, job_id=job_id, upto_seq=upto)

    async def wait(self, seconds: int) -> None:
        self.world.wall.now += seconds

    async def jump(self, by_s: int) -> None:
        self.world.wall.jump(by_s)

    async def restart(self) -> tuple[int, str]:
        await self.world.restart()
        return self.world.store.boot, self.world.store.epoch

    async def everything(self) -> list[object]:
        """All that can be asked."""
        store = self.world.store
        told: list[object] = [await store.running(), await store.active_counts()]
        for user in ("ada", "bob"):
            snapshot = await store.snapshot(user, 3)
            told += [
                snapshot,
                [
                    await store.changes_since(user, seq, 5)
                    for seq in range(snapshot.seq - 4, snapshot.seq + 2)
                ],
                await store.jobs(user),
                await store.jobs(user, thread="t", before=self.job_id(3), limit=2),
                await store.threads(user),
                await store.threads(user, before="t"),
                await store.notifications(user),
            ]
        for job_id in self.jobs:
            told += [await self.world.log(job_id, page_bytes=30), await store.read_output(job_id, 2, 1)]
            told += [await store.signals(job_id, 0, 9), await store.question_of(job_id, "k")]
        return told


async def play(operations: list[tuple[Any, ...]], folder: Path) -> None:
    # Small blocks and a short journal, so that a few entries go all the ways that many go.
    small = attrs.evolve(
        PROMPT_OPTIONS,
        block_bytes=60,
        journal_rows_max=3,
        tombstones_per_user_max=2,
        tombstone_age_s=2.0,
        signals_pending_max=2,
    )
    async with trio.open_nursery() as nursery:
        plays = []
        for engine in ("memory", "sqlite"):
            ended: dict[str, int] = {}

            def new_id(ended: dict[str, int] = ended) -> str:
                ended["n"] = ended.get("n", 0) + 1
                return f"id{ended['n']}"

            world = World(engine, folder, nursery, options=small, open_thread=InlineThread, new_id=new_id)
            await world.open()
            plays.append(Play(world))
        for operation in operations:
            answers = [await play.do(*operation) for play in plays]
            assert answers[0] == answers[1], operation
            told = [await play.everything() for play in plays]
            assert told[0] == told[1], operation
        notices = [play.world.notices for play in plays]
        assert notices[0] == notices[1]
        nursery.cancel_scope.cancel()


@pytest.mark.slow
@settings(max_examples=40)
@given(operations=st.lists(OPERATIONS, min_size=30, max_size=40))
def test_memory_and_sqlite_give_equal_answers(operations: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(play, operations, Path(folder), clock=trio.testing.MockClock(autojump_threshold=0))
