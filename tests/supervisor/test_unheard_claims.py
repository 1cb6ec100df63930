"""A claim that was committed without an answer: nothing ran, so no attempt is used, and no try of a hook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.supervisor.support import Open, slow_seams
from trouper.actors.reports import Report, ReportKind
from trouper.store.errors import StoreUnavailable
from trouper.store.protocol import Claims
from trouper.store.seams import Seams

pytestmark = pytest.mark.clause("E1", "J5", "J6")


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'store.db'}"


@trouper.job
async def work(ctx: trouper.JobContext) -> int:
    return ctx.attempt


@trouper.job(retry=trouper.Retry(attempts=2))
async def waits(ctx: trouper.JobContext) -> None:
    if ctx.attempt == 1:
        await trio.sleep_forever()


def unheard(
    runtime: trouper.Runtime, monkeypatch: pytest.MonkeyPatch, times: int = 1, what: str = "claim"
) -> list[Any]:
    """The next claims that start something are committed, and their answers lost: what they started."""
    lost: list[Any] = []
    claim = getattr(runtime.store, what)

    async def without_an_answer(*values: Any, **named: Any) -> Any:
        claims = await claim(*values, **named)
        if claims.started and len(lost) < times:
            lost.extend(claims.started)
            raise StoreUnavailable("the outcome is unknown")
        return claims

    monkeypatch.setattr(runtime.store, what, without_an_answer)
    return lost


async def test_what_was_claimed_without_an_answer_runs_soon_and_has_used_no_attempt(
    opened: Open, url: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(work, url=url, seams=slow_seams()) as runtime:
        lost = unheard(runtime, monkeypatch, times=3)
        begun_at = trio.current_time()
        job = await runtime.submit(work.call(), user="ada")
        ended = await runtime.wait(job.id)
        assert [row.id for row in lost] == [job.id] * 3
        assert (ended.state, ended.attempts_used) == (trouper.JobState.COMPLETED, 0)
        assert trio.current_time() - begun_at < 5, "it waits for no sweep"


async def test_what_runs_when_a_claim_is_not_answered_runs_on(
    opened: Open, url: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(work, waits, url=url, seams=slow_seams()) as runtime:
        running = await runtime.submit(waits.call(), user="ada")
        await trio.sleep(1)
        unheard(runtime, monkeypatch)
        await runtime.wait((await runtime.submit(work.call(), user="ada")).id)
        row = await runtime.job(running.id)
        assert row is not None
        assert (row.state, row.attempt) == (trouper.JobState.RUNNING, 1)


async def test_the_actor_of_the_attempt_before_does_not_count_for_one_that_never_began(
    opened: Open, url: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its actor is gone while the row says that the next attempt runs, of which nobody here has heard."""
    go_on = trio.Event()

    @trouper.job(retry=trouper.Retry(attempts=2))
    async def again(ctx: trouper.JobContext) -> None:
        if ctx.attempt == 1:
            await go_on.wait()
            raise trouper.Again(after=0)

    async with opened(again, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(again.call(), user="ada")
        await trio.sleep(1)
        lost = unheard(runtime, monkeypatch)
        go_on.set()
        ended = await runtime.wait(job.id)
        assert [row.attempt for row in lost] == [2]
        assert (ended.state, ended.attempt, ended.attempts_used) == (trouper.JobState.COMPLETED, 3, 1)


async def test_a_store_that_ends_by_an_unanswered_claim_counts_only_what_had_begun(
    opened: Open, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """SQLite's is started again then, as another boot, to which all that runs is an orphan."""
    claims: list[str] = []

    def fault(site: str) -> None:
        claims.extend([site] * (site == "claim.committed" and armed))
        if claims == ["claim.committed"]:
            claims.append("raised")
            raise RuntimeError("the answer is lost")

    armed = False
    seams: Seams = attrs.evolve(slow_seams(), fault=fault)
    async with opened(work, waits, url=f"sqlite:///{tmp_path / 'store.db'}", seams=seams) as runtime:
        running = await runtime.submit(waits.call(), user="ada")
        await trio.sleep(1)
        armed, boot = True, runtime.store.boot
        job = await runtime.submit(work.call(), user="bob")
        ended = await runtime.wait(job.id)
        assert runtime.store.boot == boot + 1, "it was started again"
        assert (ended.state, ended.attempts_used) == (trouper.JobState.COMPLETED, 0)
        ended = await runtime.wait(running.id)
        assert (ended.state, ended.attempt, ended.attempts_used) == (trouper.JobState.COMPLETED, 2, 1)


@pytest.mark.clause("E3")
async def test_a_runtime_that_stops_after_an_unanswered_claim_gives_back_what_it_claimed(
    opened: Open, tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with opened(work, url=url, seams=slow_seams()) as runtime:
        lost = unheard(runtime, monkeypatch)
        job = await runtime.submit(work.call(), user="ada")
        await trio.sleep(0.5)  # of its second until it claims again
        assert [row.id for row in lost] == [job.id]
    async with opened(work, url=url, seams=slow_seams()) as runtime:
        ended = await runtime.wait(job.id)
        assert (ended.state, ended.attempts_used) == (trouper.JobState.COMPLETED, 0)


@pytest.mark.clause("E3")
async def test_what_cannot_be_given_back_at_a_stop_is_reported(
    opened: Open, tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[Report] = []
    async with opened(work, seams=slow_seams(), reports=reports) as runtime:

        async def fails(*values: Any, **named: Any) -> Claims:
            raise StoreUnavailable("the disk is full")

        monkeypatch.setattr(runtime.store, "claim", fails)
        await runtime.submit(work.call(), user="ada")
        await trio.sleep(0.5)
    (told,) = [report for report in reports if report.kind is ReportKind.UNRECORDED]
    assert told.child == "expiry"
    assert "a claim was not answered" in told.reason


async def test_nothing_is_remembered_of_attempts_that_are_over(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    async with opened(work, url=url, seams=slow_seams()) as runtime:
        for job in [await runtime.submit(work.call(), user="ada") for _ in range(20)]:
            await runtime.wait(job.id)
        await trio.sleep(1)
        assert len(runtime._tree.begun) == 0


@pytest.mark.clause("N1")
async def test_a_try_whose_claim_was_not_answered_does_not_count(
    opened: Open, url: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = trio.Event()

    @trouper.job
    async def hooked(ctx: trouper.JobContext) -> None:
        pass

    @hooked.on_ended(retry=trouper.Retry(attempts=1))
    async def hook(job: trouper.Job) -> None:  # noqa: ASYNC124  # as a hook is
        ran.set()

    async with opened(hooked, url=url, seams=slow_seams()) as runtime:
        lost = unheard(runtime, monkeypatch, times=3, what="claim_completions")
        await runtime.submit(hooked.call(), user="ada")
        await ran.wait()
        await trio.sleep(1)
        shown = runtime.statistics()["hooks"]
        assert (len(lost), shown["done"], shown["failed"]) == (3, 1, 0)
