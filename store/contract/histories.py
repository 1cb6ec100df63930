"""Random operations on a store, each aimed at what there is: at jobs that exist, at attempts that run.

An operation is a name and small values, so that a history is data: it can be shrunk, printed and played
again, on one store or beside each other on two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from hypothesis import strategies as st

from trouper.store.completions import SettleCompletion, TryEnd
from trouper.store.contract.world import PROMPT_OPTIONS, Source, World, admission, notice_of, options
from trouper.store.errors import StoreError
from trouper.store.leases import Begun
from trouper.store.protocol import Append, EndingKind, Finish, Names, Savepoint
from trouper.store.questions import Ask, GiveAnswer
from trouper.store.records import Job
from trouper.store.signals import SignalRow

# Small blocks and a short journal, so that a few entries go all the ways that many go.
SMALL_OPTIONS = attrs.evolve(
    PROMPT_OPTIONS,
    block_bytes=60,
    journal_rows_max=3,
    tombstones_per_user_max=1,
    tombstone_age_s=6.0,
    signals_pending_max=2,
    signals_remembered=1,
)

NAMES = ("ada", "bob")
USERS = st.sampled_from(NAMES)
ANYBODY = st.sampled_from([None, *NAMES])
SMALL = st.integers(0, 3)
PICKS = (0, 1, 2, 3, 4, 5)
PICK = st.sampled_from(PICKS)
"""Which of the jobs (or attempts) an operation is about, modulo their number."""

ENTRIES = st.lists(
    st.one_of(st.text(max_size=12), st.just("x" * 40), st.tuples(st.text(max_size=3), st.just('{"a":1}'))),
    min_size=1,
    max_size=4,
).map(tuple)

KNOWN = ("report", "other")
BEGUN = ("all", "some", "none")
"""What was begun of what is claimed, as one says whose last claim was not answered."""
ASKS = [Ask(key="k", question="?", schema="{}", timeout_s=timeout_s) for timeout_s in (1.5, None)]

ARGUMENTS: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "admit": (
        USERS,
        st.sampled_from(["t", None, "t", "u"]),
        st.sampled_from(["k", None, "l"]),
        st.sampled_from(["p", "q"]),
        st.sampled_from(["enqueue", "rollback", "reject", "rollback", "interrupt"]),
        st.sampled_from([3, 1, 2]),
        st.sampled_from(
            [{}, {}, {"delay_s": 2.0}, {"at": 1004.0}, {"name": "other"}, {"queue_timeout_s": 4.0}]
        ),
    ),
    "claim": (
        st.integers(0, 3),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([KNOWN, KNOWN, ("report",), ("other",)]),
        st.sampled_from([None, None, None, *BEGUN]),
    ),
    "append": (PICK, ENTRIES, st.sampled_from([0, 0, 0, 0, -1, 1]), SMALL),
    "savepoint": (PICK, st.sampled_from([0, 0, 0, 1]), st.text(max_size=3), SMALL),
    "unsafe": (PICK, st.sampled_from([None, None, "step"])),
    "finish": (
        PICK,
        st.sampled_from([*EndingKind, EndingKind.ASKED]),
        st.sampled_from([False, False, True]),
        SMALL,
    ),
    "notify": (PICK, st.sampled_from(["", "k"])),
    "cancel": (PICK, ANYBODY),
    "cancel_key": (USERS, st.sampled_from(["k", "l"])),
    "mark": (USERS, st.sampled_from(["seen", "read", "archived"]), PICK, st.none() | PICK, st.none() | PICK),
    "lose": (PICK,),
    "answer": (PICK, st.sampled_from(['"a"', '"a"', '"b"']), ANYBODY, st.sampled_from([True, True, False])),
    "signal": (PICK, st.sampled_from(["m", "n", "o"]), st.sampled_from(["1", "1", "2"]), ANYBODY),
    "hear": (PICK, SMALL),
    "hook": (
        SMALL,
        st.sampled_from([None, *BEGUN]),
        st.sampled_from([None, *TryEnd]),
        st.sampled_from([None, 2.0]),
    ),
    "retry": (PICK,),
    "wait": (st.sampled_from([1, 2, 5]),),
    "jump": (st.sampled_from([-100, -7, 1, 6, 100]),),
    "restart": (),
}

# What makes things happen comes often, what ends them all comes rarely.
WEIGHTS = {
    "append": 4,
    "admit": 7,
    "claim": 4,
    "finish": 6,
    "savepoint": 2,
    "notify": 2,
    "wait": 2,
    "cancel_key": 3,
    "node": 9,
    "renew": 3,
    "stall": 4,
}


def _histories(arguments: dict[str, tuple[st.SearchStrategy[Any], ...]]) -> st.SearchStrategy[Any]:
    # The first is nothing at all: what a shrunk history does not need becomes that, and is left out of it.
    # (A list without a least size would shrink as well, but be of six operations on the average.)
    often = st.sampled_from(["", *(name for name in arguments for _ in range(WEIGHTS.get(name, 1)))])
    operation = often.flatmap(lambda name: st.tuples(st.just(name), *arguments[name]) if name else st.none())
    return st.lists(operation, min_size=40, max_size=50).map(lambda drawn: [each for each in drawn if each])


HISTORIES = _histories(ARGUMENTS)

HISTORIES_OF_TWO = _histories(
    {**ARGUMENTS, "node": (st.sampled_from([0, 1]),), "let_go": (), "renew": (), "stall": ()}
)
"""Two nodes of one store: from time to time the other one acts, or the one that acts lets go of its boot,
renews it, if that is not too late, or stalls and then goes on as if nothing had been."""


@attrs.define
class Play:
    """One world, and what has happened in it: enough to aim the next operation."""

    world: World
    jobs: list[str] = attrs.field(factory=list)
    attempts: list[Job] = attrs.field(factory=list)
    tries: list[tuple[str, int]] = attrs.field(factory=list)
    nodes: list[World] = attrs.field(factory=list)
    """All that share the store, ``world`` among them: the one that acts."""
    boots: dict[str, list[int]] = attrs.field(factory=dict)
    """Of each node (by what its ids begin with) those before the present one."""

    async def carry_out(self, method: str, *values: Any, **named: Any) -> Any:
        """Have the store do something: here it can be compared."""
        return await getattr(self.world.store, method)(*values, **named)

    def committed(self, request: Append, answer: object) -> None:
        """An append was answered."""

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
        other = dict(other)
        queue_timeout_s = other.pop("queue_timeout_s", None)
        return await self.carry_out(
            "admit",
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
                    queue_timeout_s=queue_timeout_s,
                    on_ended=True,
                    notify_on=("completed", "cancelled", "lost"),
                ),
                **other,
            ),
        )

    def begun(self, which: str | None, of: list[tuple[str, int]]) -> Begun | None:
        """Of what was claimed all, every other or none was begun."""
        step = {"all": of, "some": of[::2], "none": []}
        boots = (*self.boots.get(self.world.name, ()), self.world.store.boot)
        return None if which is None else Begun(boots, step[which])

    async def claim(
        self, limit: int, per_user: int | None, names: tuple[str, ...] | None, which: str | None = None
    ) -> object:
        begun = self.begun(which, [(job.id, job.attempt) for job in self.attempts])
        claims = await self.carry_out("claim", limit, per_user, names=Names(names, 3.0), begun=begun)
        self.attempts += claims.started
        return claims

    async def attempt(self, pick: int) -> Job:
        """Mostly one that runs; with the last two picks one of any age, whose fence may be old."""
        attempts = await self.world.store.running()
        if not attempts:
            await self.claim(2, None, KNOWN)
            attempts = await self.world.store.running()
        if pick in PICKS[-2:]:  # but for those of another node, through which nobody but itself writes
            elsewhere = {node.store.boot for node in self.nodes if node is not self.world}
            attempts = tuple(job for job in self.attempts if job.boot not in elsewhere)
        if not attempts:
            return Job(id="nobody", user="ada", name="report", fence=1)
        return attempts[pick % len(attempts)]

    async def active(self) -> list[Job]:
        return [job for user in NAMES for job in (await self.world.store.snapshot(user, 0)).jobs]

    async def length(self, job_id: str) -> int:
        head = await self.world.store.output_head(job_id)
        return head.entries if head else 0

    async def append(self, pick: int, entries: tuple[Any, ...], off: int, used_ms: int) -> object:
        job = await self.attempt(pick)
        source = Source(self.world.store, job, start=await self.length(job.id) + off)
        source.used_ms = used_ms * 1000
        request = Append(job.id, job.fence, source.start, entries, source.used_ms)
        answer = await source.commit(*entries)
        self.committed(request, answer)
        return answer

    async def savepoint(self, pick: int, off: int, saved: str, heard: int) -> object:
        job = await self.attempt(pick)
        entries = await self.length(job.id) + off
        return await self.carry_out("savepoint", Savepoint(job.id, job.fence, entries, saved, 5, heard))

    async def unsafe(self, pick: int, step: str | None) -> object:
        job = await self.attempt(pick)
        return await self.carry_out("unsafe", job.id, job.fence, step)

    async def finish(self, pick: int, kind: EndingKind, stuck: bool, after: int) -> object:
        job = await self.attempt(pick)
        entries = await self.length(job.id)
        return await self.carry_out(
            "finish",
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
                question=None if stuck else ASKS[after > 1],
            ),
        )

    async def lose(self, pick: int) -> object:
        job = await self.attempt(pick)
        return await self.carry_out("lose", job.id, job.fence, "damaged")

    async def answer(self, pick: int, value: str, user: str | None, checked: bool) -> object:
        asking = [job.id for job in await self.active() if job.asking]
        id = asking[pick % len(asking)] if asking and pick not in PICKS[-2:] else self.job_id(pick)
        request = GiveAnswer(job_id=id, key="k", value=value, user=user, checked=checked)
        return await self.carry_out("answer", request)

    async def signal(self, pick: int, id: str, body: str, user: str | None) -> object:
        active = await self.active()
        job_id = active[pick % len(active)].id if active and pick not in PICKS[-2:] else self.job_id(pick)
        message = SignalRow(job=job_id, id=id, body=body, sender=user)
        return await self.carry_out("signal", message, user)

    async def hear(self, pick: int, after: int) -> object:
        job = await self.attempt(pick)
        return await self.carry_out("hear", job.id, job.fence, after)

    async def hook(self, limit: int, which: str | None, end: TryEnd | None, after_s: float | None) -> object:
        """Claim hooks, and tell how all but the first went."""
        claims = await self.carry_out("claim_completions", limit, begun=self.begun(which, self.tries))
        self.tries += [(row.job, row.tries) for row, _ in claims.started]
        for row, _ in claims.started[1:] if end is None else claims.started:
            tried = SettleCompletion(
                job_id=row.job,
                tries=row.tries,
                end=TryEnd.FAILED if end is None else end,
                error="e",
                retry_after_s=after_s,
            )
            await self.carry_out("settle_completion", tried)
        return claims

    async def retry(self, pick: int) -> object:
        return await self.carry_out("retry_completion", self.job_id(pick))

    async def notify(self, pick: int, key: str) -> object:
        return await self.carry_out("notify", notice_of(await self.attempt(pick), key))

    def job_id(self, pick: int) -> str:
        return self.jobs[pick % len(self.jobs)] if self.jobs else "nobody"

    async def cancel(self, pick: int, user: str | None) -> object:
        return await self.carry_out("cancel", self.job_id(pick), user)

    async def cancel_key(self, user: str, key: str) -> object:
        return await self.carry_out("cancel_key", user, key)

    async def mark(self, user: str, mark: Any, id: int, job: int | None, upto: int | None) -> object:
        newest = await self.world.store.notifications(user)
        ids = (newest[id % len(newest)].id,) if newest else ("none",)
        job_id = None if job is None else self.job_id(job)
        return await self.carry_out("mark", user, mark, ids=ids, job_id=job_id, upto_seq=upto)

    async def wait(self, seconds: int) -> None:
        for node in self.nodes or [self.world]:
            node.wall.now += seconds

    async def jump(self, by_s: int) -> None:
        self.world.wall.jump(by_s)

    async def restart(self) -> tuple[int, str]:
        self._leave_boot()
        await self.world.restart()
        return self.world.store.boot, self.world.store.epoch

    def _leave_boot(self) -> None:
        self.boots.setdefault(self.world.name, []).append(self.world.store.boot)

    async def node(self, number: int) -> None:
        """Another node acts from now on."""
        self.world = self.nodes[number]

    async def let_go(self) -> None:
        """The node lets go of all that it runs, and begins another boot."""
        self._leave_boot()
        await self.world.store.renew(anew=True)

    async def renew(self) -> bool:
        """Prolong the node's lease. If it has run out, the node goes on under another boot; which is told."""
        before = self.world.store.boot
        renewed = await self.world.store.renew()
        if renewed.anew:
            self.boots.setdefault(self.world.name, []).append(before)
        return renewed.anew

    async def stall(self) -> None:
        """The node that acts claims something, and does nothing for nine seconds while the others renew."""
        await self.claim(1, None, KNOWN)
        await self.hook(1, None, None, None)
        here = self.nodes.index(self.world)
        for _ in range(3):
            await self.wait(3)
            for number in range(len(self.nodes)):
                if number != here:
                    await self.node(number)
                    await self.renew()
        await self.node(here)

    async def everything(self) -> list[object]:
        """All that can be asked."""
        store = self.world.store
        told: list[object] = [await store.running(), await store.active_counts()]
        for user in NAMES:
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
        told += [await store.dead_completions(), await store.queue_places(NAMES), await store.usage(1)]
        return told
