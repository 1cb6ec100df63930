"""``on_ended``: what an application has done when a job has ended, whatever happens to the process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trouper
from tests.supervisor.support import Open, VirtualWall, slow_seams
from trouper.store.completions import CompletionClaims
from trouper.store.errors import StoreUnavailable

pytestmark = pytest.mark.clause("N1")


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


Hook = Callable[[trouper.Job], Any]


def hooked(hook: Hook, **options: Any) -> trouper.JobSpec[Any, Any]:
    """A job that does as it is told, with a hook."""

    @trouper.job
    async def work(ctx: trouper.JobContext, *, how: str = "return") -> str:
        if how == "fail":
            raise trouper.Fail("told to")
        if how == "wait":
            await trio.sleep_forever()
        return how

    work.on_ended(**options)(hook)
    return work


async def until(holds: Callable[[], bool]) -> None:
    """Let (virtual) time pass until it does."""
    for _ in range(72_000):
        if holds():
            return
        await trio.sleep(0.05)
    raise AssertionError("it never did")


async def test_the_hook_of_each_end_gets_the_ended_row(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    told: dict[str, trouper.Job] = {}

    async def hook(job: trouper.Job) -> None:  # noqa: ASYNC124  # as a hook is
        told[job.id] = job

    work = hooked(hook)
    async with opened(work, url=url, seams=slow_seams()) as runtime:
        hows = ("return", "fail", "wait")
        ids = [(await runtime.submit(work.call(how=how), user="ada")).id for how in hows]
        await trio.sleep(1)
        await runtime.cancel(ids[2])
        await runtime.cancel_key("k", user="ada")
        ids.append((await runtime.submit(work.call(), user="ada", idempotency_key="k")).id)
        await until(lambda: len(told) == 4)
        assert [told[id] for id in ids] == [await runtime.job(id) for id in ids]
        assert [told[id].state.value for id in ids] == ["completed", "failed", "cancelled", "cancelled"]
        assert told[ids[0]].result == '"return"'
        await until(lambda: runtime.statistics()["hooks"]["running"] == 0)
        assert runtime.statistics()["hooks"] == {
            "running": 0,
            "done": 4,
            "failed": 0,
            "given_up": 0,
            "dead": 0,
            "max": 16,
        }


async def test_a_hook_whose_claim_was_committed_without_an_answer_runs_in_the_same_process(
    opened: Open, url: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    lost: list[str] = []
    release = trio.Event()

    async def hook(job: trouper.Job) -> None:
        ran.append(job.id)
        if len(ran) == 1:
            await release.wait()

    work = hooked(hook)
    async with opened(work, url=url, seams=slow_seams()) as runtime:
        first = (await runtime.submit(work.call(), user="ada")).id
        await until(lambda: ran == [first])
        claim = runtime.store.claim_completions

        async def without_an_answer(limit: int, **begun: Any) -> CompletionClaims:
            claims = await claim(limit, **begun)
            if claims.started and not lost:
                lost.extend(row.job for row, _ in claims.started)
                raise StoreUnavailable("the outcome is unknown")
            return claims

        monkeypatch.setattr(runtime.store, "claim_completions", without_an_answer)
        second = (await runtime.submit(work.call(), user="ada")).id
        await until(lambda: lost == [second])
        await trio.sleep(20)
        assert ran == [first, second], "what runs is not begun a second time, and holds up nobody"
        release.set()
        await trio.sleep(20)
        assert ran == [first, second]
        assert runtime.statistics()["hooks"]["done"] == 2


async def test_a_hook_that_raises_is_tried_again_with_pauses(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    tried: list[float] = []

    async def hook(job: trouper.Job) -> None:  # noqa: ASYNC124  # as a hook is
        tried.append(trio.current_time())
        if len(tried) < 3:
            raise SystemExit("no") if len(tried) == 1 else ConnectionError("the database is away")

    retry = trouper.Retry(attempts=3, backoff=trouper.Backoff(base=100, factor=1))
    reports: list[trouper.Report] = []
    async with opened(hooked(hook, retry=retry), url=url, seams=slow_seams(), reports=reports) as runtime:
        await runtime.submit(spec_of(runtime).call(), user="ada")
        await until(lambda: runtime.statistics()["hooks"]["done"] == 1)
        assert runtime.statistics()["hooks"]["failed"] == 2
    assert len(tried) == 3
    assert tried[2] - tried[0] > 1
    reasons = [report.reason for report in reports if report.kind.value == "crash"]
    assert [reason.partition(";")[0] for reason in reasons] == [
        "the hook of 'work' failed (1 of 3): SystemExit: no",
        "the hook of 'work' failed (2 of 3): ConnectionError: the database is away",
    ]


def spec_of(runtime: trouper.Runtime) -> trouper.JobSpec[Any, Any]:
    return runtime._tree.specs["work"]


async def test_one_that_always_fails_is_given_up_visibly_and_can_be_asked_for_again(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    broken = [True]

    async def hook(job: trouper.Job) -> None:  # noqa: ASYNC124  # as a hook is
        if broken:
            raise ValueError("bad row")

    work = hooked(hook, retry=trouper.Retry(attempts=2, backoff=trouper.Backoff(base=1)))
    reports: list[trouper.Report] = []
    async with opened(work, url=url, seams=slow_seams(), reports=reports) as runtime:
        job = await runtime.submit(work.call(), user="ada")
        await until(lambda: runtime.statistics()["hooks"]["dead"] == 1)
        assert [report.child for report in reports if report.kind.value == "give_up"] == [job.id]
        (dead,) = await runtime.dead_completions()
        assert (dead.job, dead.tries, dead.error) == (job.id, 2, "ValueError: bad row")
        assert not await runtime.retry_completion("another")
        broken.clear()
        assert await runtime.retry_completion(job.id)
        await until(lambda: runtime.statistics()["hooks"]["done"] == 1)
        assert await runtime.dead_completions() == ()


async def test_a_hook_that_hangs_holds_up_neither_jobs_nor_other_hooks_and_is_cut_off(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    done: list[str] = []

    async def hook(job: trouper.Job) -> None:
        if job.arguments == '{"how":"hang"}':
            await trio.sleep_forever()
        done.append(job.id)

    work = hooked(hook, timeout=50, retry=trouper.Retry(attempts=1))
    options = trouper.RuntimeOptions(max_hooks=2)
    async with opened(work, url=url, seams=slow_seams(), options=options) as runtime:
        hangs = await runtime.submit(work.call(how="hang"), user="ada")
        began = trio.current_time()
        others = [await runtime.submit(work.call(), user="ada") for _ in range(3)]
        await until(lambda: len(done) == 3)
        assert trio.current_time() - began < 10
        assert set(done) == {job.id for job in others}
        await until(lambda: runtime.statistics()["hooks"]["dead"] == 1)
        (dead,) = await runtime.dead_completions()
        assert (dead.job, dead.error) == (hangs.id, "it took more than 50 s")


@pytest.mark.clause("E2")
async def test_no_more_hooks_run_at_a_time_than_may(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    now, most = [0], [0]

    async def hook(job: trouper.Job) -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await trio.sleep(1)
        now[0] -= 1

    work = hooked(hook)
    options = trouper.RuntimeOptions(max_hooks=3)
    async with opened(work, url=url, seams=slow_seams(), options=options) as runtime:
        for _ in range(10):
            await runtime.submit(work.call(), user="ada")
        await until(lambda: runtime.statistics()["hooks"]["done"] == 10)
    assert most == [3]


@pytest.mark.clause("S5")
async def test_a_runtime_that_stops_cuts_a_hook_off_and_the_next_start_runs_it_again_uncounted(
    opened: Open, sqlite_url: str, autojump_clock: MockClock
) -> None:
    runs: list[str] = []

    async def hook(job: trouper.Job) -> None:
        runs.append(job.id)
        if len(runs) < 4:
            await trio.sleep_forever()

    work = hooked(hook, timeout=1000, retry=trouper.Retry(attempts=1))
    before = trio.lowlevel.current_statistics().tasks_living
    job_id = ""
    for start in range(4):
        async with opened(work, url=sqlite_url, seams=slow_seams()) as runtime:
            if start == 0:
                job_id = (await runtime.submit(work.call(), user="ada")).id
            await until(lambda: len(runs) == start + 1)  # noqa: B023
            if start == 3:
                await until(lambda: runtime.statistics()["hooks"]["done"] == 1)
        assert trio.lowlevel.current_statistics().tasks_living == before
    assert runs == [job_id] * 4


async def test_a_hook_that_kills_its_process_is_counted_and_given_up(
    opened: Open, sqlite_url: str, autojump_clock: MockClock
) -> None:
    """A claim counts before the hook runs; here the process ends after the claim, three times."""
    ran: list[str] = []

    async def hook(job: trouper.Job) -> None:  # noqa: ASYNC124  # as a hook is
        ran.append(job.id)

    work = hooked(hook, retry=trouper.Retry(attempts=2))
    work_without = trouper.job(name="work")(work.function)
    async with opened(work, url=sqlite_url, seams=slow_seams()) as runtime:
        job = await runtime.submit(work.call(how="wait"), user="ada")
        await trio.sleep(1)
        store = runtime.store
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            await store.cancel(job.id, None)
            assert len((await store.claim_completions(9)).started) == 1
            nursery.cancel_scope.cancel()
    async with opened(work, url=sqlite_url, seams=slow_seams()) as runtime:
        await until(lambda: runtime.statistics()["hooks"]["given_up"] == 1)
        (dead,) = await runtime.dead_completions()
        assert (dead.tries, dead.error) == (3, "the process died while it ran")
        assert ran == []
        await runtime.retry_completion(job.id)
        await until(lambda: runtime.statistics()["hooks"]["done"] == 1)
    assert ran == [job.id]
    assert work_without.hook is None


async def test_a_hook_that_is_declared_later_is_not_run_for_what_was_submitted_before(
    opened: Open, sqlite_url: str, autojump_clock: MockClock
) -> None:
    told: list[str] = []

    async def hook(job: trouper.Job) -> None:  # noqa: ASYNC124  # as a hook is
        told.append(job.id)

    later = hooked(hook)
    without = trouper.job(name="work")(later.function)
    async with opened(without, url=sqlite_url, seams=slow_seams()) as runtime:
        await runtime.submit(without.call(), user="ada")
        await runtime.submit(without.call(how="wait"), user="ada")
        await trio.sleep(1)
    async with opened(later, url=sqlite_url, seams=slow_seams()) as runtime:
        new = await runtime.submit(later.call(), user="ada")
        for job in await runtime.jobs("ada"):
            await runtime.cancel(job.id)
        await trio.sleep(100)
        assert told == [new.id]


async def test_a_hook_that_is_not_registered_any_more_is_waited_for_and_then_given_up(
    opened: Open, sqlite_url: str, autojump_clock: MockClock
) -> None:
    async def hook(job: trouper.Job) -> None:  # noqa: ASYNC124  # as a hook is
        raise AssertionError("not while it is away")

    work = hooked(hook)
    without = trouper.job(name="work")(work.function)
    async with opened(work, url=sqlite_url, seams=slow_seams()) as runtime:
        job = await runtime.submit(work.call(how="wait"), user="ada")
        await trio.sleep(1)
    async with opened(without, url=sqlite_url, seams=slow_seams()) as runtime:
        await runtime.cancel(job.id)
        await until(lambda: runtime.statistics()["hooks"]["dead"] == 1)
        (dead,) = await runtime.dead_completions()
        assert (dead.tries, dead.error) == (
            10,
            "no job named 'work' with an on_ended hook is registered here",
        )


@pytest.mark.clause("E1")
async def test_hooks_go_on_after_a_crash_of_the_store(opened: Open, autojump_clock: MockClock) -> None:
    runs: list[str] = []

    async def hook(job: trouper.Job) -> None:
        runs.append(job.id)
        if len(runs) == 1:
            await trio.sleep_forever()

    work = hooked(hook, timeout=1000)
    async with opened(work, seams=VirtualWall.seams()) as runtime:
        first = await runtime.submit(work.call(), user="ada")
        await until(lambda: runs == [first.id])
        fail = [True]

        def listener(_: object) -> None:
            if fail and fail.pop():
                raise AssertionError("a bug of ours")

        runtime.store.listen(listener)
        second = await runtime.submit(work.call(), user="ada")
        await until(lambda: runtime.statistics()["hooks"]["done"] == 2)
        assert sorted(runs) == sorted([first.id, first.id, second.id])


async def test_a_stuck_hook_is_reported_and_only_its_place_is_taken(
    opened: Open, autojump_clock: MockClock
) -> None:
    release = trio.Event()

    async def hook(job: trouper.Job) -> None:
        with trio.CancelScope(shield=True):
            await release.wait()

    work = hooked(hook, timeout=10, retry=trouper.Retry(attempts=1))
    reports: list[trouper.Report] = []
    async with opened(work, seams=VirtualWall.seams(), reports=reports) as runtime:
        job = await runtime.submit(work.call(), user="ada")
        await trio.sleep(20)
        assert [(report.kind.value, report.child) for report in reports] == [("stuck", job.id)]
        release.set()
        await wait_all_tasks_blocked()


def test_a_hook_is_checked_where_it_is_declared() -> None:
    @trouper.job
    async def work(ctx: trouper.JobContext) -> None: ...

    def plain(job: trouper.Job) -> Any: ...
    async def two(job: trouper.Job, other: int) -> None: ...
    async def right(job: trouper.Job) -> None: ...

    with pytest.raises(TypeError, match="legal is an async function of the ended job"):
        work.on_ended(plain)
    with pytest.raises(TypeError, match="legal is an async function of the ended job"):
        work.on_ended(two)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="legal are seconds above 0"):
        work.on_ended(timeout=0)(right)
    assert not work.options.on_ended
    assert work.on_ended(right) is right
    assert work.options.on_ended
    with pytest.raises(ValueError, match="has an on_ended hook already"):
        work.on_ended(right)
