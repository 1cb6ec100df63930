"""Whatever becomes of leases and answers: what began uses an attempt, and what did not begin uses none."""

from __future__ import annotations

import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.store.shared_memory import SharedMemory
from tests.supervisor import deadly_job
from tests.supervisor.nodes import Node, node_of
from tests.supervisor.support import Open
from tests.supervisor.test_unheard_claims import unheard
from trouper.store.errors import StoreUnavailable
from trouper.store.leases import Begun as Told
from trouper.store.leases import Lease
from trouper.supervisor.begun import Begun

LEASE = Lease(seconds=9.0, margin_s=3.0)
ATTEMPTS = 4


class Life:
    """Two nodes with jobs, cut lines, boots that die unnoticed, and answers that are lost."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.shared = SharedMemory(lease=LEASE)
        self.starts: dict[str, list[int]] = {}
        """Job id → the attempts whose function was called."""
        self.quiet = False

    def job(self) -> Any:
        @trouper.job(retry=trouper.Retry(attempts=ATTEMPTS, backoff=trouper.Backoff(base=0.1)))
        async def long(ctx: trouper.JobContext, *, seconds: int) -> None:
            self.starts.setdefault(ctx.job_id, []).append(ctx.attempt)
            for _ in range(seconds):
                await trio.sleep(1)
                await ctx.write(".")

        return long

    def lose_answers(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        claim = node.store.claim

        async def claims(*values: Any, **named: Any) -> Any:
            result = await claim(*values, **named)
            drawn = 1.0 if self.quiet or not result.started else self.draw.random()
            if drawn < 0.3:
                raise StoreUnavailable("the answer is lost")
            if drawn < 0.5:
                await trio.sleep(self.draw.choice([2, 5, 7, 10]))
            return result

        monkeypatch.setattr(node.store, "claim", claims)

    async def disturb(self, node: Node) -> None:
        for _ in range(8):
            await trio.sleep(self.draw.choice([0.3, 1, 2.9, 3, 5]))
            drawn = self.draw.random()
            if drawn < 0.5:
                node.store.cut(self.draw.choice(["down", "silent"]))
                await trio.sleep(self.draw.choice([1, 3, 6, 7, 10, 14]))
                node.store.heal()
            elif drawn < 0.8:  # as after a process that was suspended: only the store knows it
                self.shared.live_until[node.store.boot] = 0.0


@pytest.mark.clause("J5", "J6")
@pytest.mark.parametrize("seed", range(8))
async def test_every_attempt_that_began_is_counted_however_leases_and_answers_are_lost(
    seed: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(seed)
    long, draw = life.job(), life.draw
    sweeps = [draw.choice([1, 3, 7, 30]) for _ in range(2)]
    async with (
        node_of(life.shared, "a", long, sweep_interval_s=sweeps[0]) as a,
        node_of(life.shared, "b", long, sweep_interval_s=sweeps[1]) as b,
    ):
        for node in (a, b):
            life.lose_answers(node, monkeypatch)
        jobs = [
            await draw.choice([a, b]).runtime.submit(long.call(seconds=draw.randint(1, 25)), user=f"u{n % 3}")
            for n in range(8)
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(life.disturb, a)
            nursery.start_soon(life.disturb, b)
        life.quiet = True
        for job in jobs:
            ended = await a.runtime.wait(job.id)
            starts = life.starts.get(job.id, [])
            assert starts == sorted(set(starts)), "no attempt begins twice"
            assert len(starts) <= ATTEMPTS
            assert ended.attempts_used >= len(starts) - (ended.state is trouper.JobState.COMPLETED)
        await trio.sleep(4 * max(sweeps))
        assert [len(node.runtime._tree.begun) for node in (a, b)] == [0, 0], "nothing is remembered for ever"


@pytest.mark.clause("J6")
@pytest.mark.parametrize("sweep_s", [2.0, 5.0, 7.0, 11.0])
@pytest.mark.parametrize("silent_s", [7.0, 10.0, 14.0])
async def test_an_attempt_that_was_let_go_counts_as_a_process_death(
    sweep_s: float, silent_s: float, autojump_clock: MockClock
) -> None:
    """Its node comes back before or after the store takes it for dead, and claims it anew."""

    @trouper.job(retry=trouper.Retry(attempts=2))
    async def waits(ctx: trouper.JobContext) -> None:
        if ctx.attempt == 1:
            await trio.sleep_forever()

    async with node_of(SharedMemory(lease=LEASE), "a", waits, sweep_interval_s=sweep_s) as a:
        job = await a.runtime.submit(waits.call(), user="ada")
        await trio.sleep(4.5)
        a.store.cut("silent")
        await trio.sleep(silent_s)
        a.store.heal()
        ended = await a.runtime.wait(job.id)
        assert (ended.state, ended.attempt, ended.attempts_used) == (trouper.JobState.COMPLETED, 2, 1)


@pytest.mark.clause("J6")
async def test_an_attempt_that_was_let_go_is_ended_by_nobody_while_the_store_holds_it_for_live(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node lets go at 6 s, and reaches the store, which would take its word until 9 s."""

    @trouper.job
    async def waits(ctx: trouper.JobContext) -> None:
        await trio.sleep_forever()

    async with node_of(SharedMemory(lease=LEASE), "a", waits, sweep_interval_s=0.5) as a:
        renew = a.store.renew

        async def late(**named: Any) -> Any:
            if trio.current_time() < 10:
                raise StoreUnavailable("the line is cut")
            return await renew(**named)

        monkeypatch.setattr(a.store, "renew", late)
        job = await a.runtime.submit(waits.call(), user="ada")
        await trio.sleep_until(8.9)
        row = await a.runtime.job(job.id)
        assert (row.state, row.attempts_used) == (trouper.JobState.RUNNING, 0)
        ended = await a.runtime.wait(job.id)
        assert (ended.state, ended.reason) == (trouper.JobState.LOST, "attempts"), "as after a process death"


def answered_late(node: Node, what: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The next claim that starts something is answered so much later, and until then the line is cut."""
    told: list[Any] = []
    claim = getattr(node.store, what)

    async def late(*values: Any, **named: Any) -> Any:
        claims = await claim(*values, **named)
        if claims.started and not told:
            told.append(claims)
            node.store.cut("down")
            await trio.sleep(seconds)
            node.store.heal()
        return claims

    monkeypatch.setattr(node.store, what, late)
    return told


@pytest.mark.clause("J5", "J6")
@pytest.mark.parametrize("late_s", [6.1, 8.9, 9.1, 20.0])
async def test_what_a_claim_tells_after_the_node_let_go_is_not_begun_and_used_no_attempt(
    late_s: float, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lets go 6 s after the last renewal: before the store holds it for dead, and after."""
    held: list[tuple[int, bool]] = []

    @trouper.job
    async def work(ctx: trouper.JobContext) -> None:
        held.append((ctx.attempt, a.runtime.statistics()["lease"]["held"] == 1))

    async with node_of(SharedMemory(lease=LEASE), "a", work, sweep_interval_s=1.0) as a:
        told = answered_late(a, "claim", late_s, monkeypatch)
        job = await a.runtime.submit(work.call(), user="ada")
        ended = await a.runtime.wait(job.id)
        assert [row.attempt for row in told[0].started] == [1]
        assert held == [(2, True)]
        assert (ended.state, ended.attempts_used) == (trouper.JobState.COMPLETED, 0)


@pytest.mark.clause("N1")
async def test_a_hook_whose_claim_is_told_after_the_node_let_go_is_not_begun(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []

    @trouper.job
    async def hooked(ctx: trouper.JobContext) -> None:
        pass

    @hooked.on_ended(retry=trouper.Retry(attempts=1))
    async def hook(job: trouper.Job) -> None:  # noqa: ASYNC124  # as a hook is
        held.append(a.runtime.statistics()["lease"]["held"] == 1)

    async with node_of(SharedMemory(lease=LEASE), "a", hooked, sweep_interval_s=1.0) as a:
        told = answered_late(a, "claim_completions", 6.1, monkeypatch)
        await a.runtime.submit(hooked.call(), user="ada")
        await trio.sleep(30)
        shown = a.runtime.statistics()["hooks"]
        assert (len(told), held, shown["done"], shown["failed"]) == (1, [True], 1, 0)


@pytest.mark.clause("J6")
async def test_an_attempt_that_is_anothers_when_its_process_wakes_up_is_not_begun(
    autojump_clock: MockClock,
) -> None:
    """A process that was suspended after its claim: only the store knows that its lease has ended."""
    begun: list[tuple[str, int]] = []

    @trouper.job(retry=trouper.Retry(attempts=2))
    async def work(ctx: trouper.JobContext) -> None:
        begun.append((ctx.job_id, ctx.attempt))

    shared = SharedMemory(lease=LEASE)
    async with node_of(shared, "a", work) as a:
        claim = a.store.claim

        async def suspended(*values: Any, **named: Any) -> Any:
            claims = await claim(*values, **named)
            a.store.cut("silent" if claims.started else "up")
            return claims

        a.store.claim = suspended
        jobs = [await a.runtime.submit(work.call(), user=f"u{n}", delay=1) for n in range(12)]
        await trio.sleep(1)
        async with node_of(shared, "b", work, sweep_interval_s=0.5) as b:
            shared.live_until[a.store.boot] = 0.0
            for job in jobs:
                await b.runtime.wait(job.id)
            a.store._missed.clear()  # so that the row is all that tells it
            a.store.heal()
            await trio.sleep(1)
        assert sorted(begun) == sorted((job.id, 2) for job in jobs)


@pytest.mark.slow
@pytest.mark.clause("J5", "J6")
async def test_a_job_that_kills_its_process_at_once_is_begun_no_more_often_than_retry_allows(
    opened: Open, tmp_path: Path
) -> None:
    """It leaves no trace but its claims: so these are what counts."""
    attempts = deadly_job.ATTEMPTS
    database, starts = str(tmp_path / "store.db"), tmp_path / "starts"
    life = [sys.executable, "-m", "tests.supervisor.deadly_job", database, str(starts)]
    codes = [(await trio.run_process(life, check=False)).returncode for _ in range(attempts + 1)]
    assert codes == [-signal.SIGKILL] * attempts + [0]
    assert starts.read_text().split() == ["1", "2"]
    async with opened(url=f"sqlite:///{database}") as runtime:
        (job,) = await runtime.jobs("ada")
        assert (job.state, job.reason, job.attempts_used) == (trouper.JobState.LOST, "attempts", attempts)


@pytest.mark.clause("N1")
async def test_the_end_of_a_hooks_earlier_try_leaves_the_later_one_that_runs_beside_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is lost without the node's knowledge, so the store has a second try begun; then the first
    fails, and then the answer of a claim is lost."""
    calls: list[str] = []

    @trouper.job
    async def hooked(ctx: trouper.JobContext, *, name: str) -> None:
        calls.append(ctx.job_id)

    @hooked.on_ended(retry=trouper.Retry(attempts=5))
    async def hook(job: trouper.Job) -> None:
        calls.append(job.id)
        if (job.id, calls.count(job.id)) == (calls[0], 2):
            await trio.sleep(20)
            raise OSError("the first try")
        await trio.sleep(28)

    shared = SharedMemory(lease=LEASE)
    async with node_of(shared, "a", hooked, sweep_interval_s=1.0) as a:
        first = await a.runtime.submit(hooked.call(name="first"), user="ada")
        await trio.sleep(1)
        shared.live_until[a.store.boot] = 0.0
        await trio.sleep(15)
        assert calls.count(first.id) == 3, "the second try runs beside the first"
        await trio.sleep(10)
        lost = unheard(a.runtime, monkeypatch, what="claim_completions")
        await a.runtime.submit(hooked.call(name="second"), user="ada")
        await trio.sleep(100)
        assert len(lost) == 1
        assert (calls.count(first.id), a.runtime.statistics()["hooks"]["done"]) == (3, 2)


def test_what_began_under_the_boot_before_is_remembered_until_a_claim_has_told_it() -> None:
    begun = Begun()
    with begun.claiming(1) as told:
        assert told is None
    begun.begin("j1", 1)
    begun.keep(2, set())
    with begun.claiming(2) as told:
        assert told == Told((1, 2), frozenset({("j1", 1)}))
        begun.keep(2, set())
        assert len(begun) == 1, "nor while a claim is under way"
    begun.keep(2, set())
    assert len(begun) == 0
