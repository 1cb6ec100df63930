"""Opening and closing a runtime, and what is left of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trouper
from tests.supervisor.support import Open, echo, forever, slow_seams
from trouper.actors.output_pieces import Transcript
from trouper.actors.reports import ReportKind
from trouper.store.urls import create_store
from trouper.supervisor.child_spec import ChildContext, ChildSpec
from trouper.supervisor.errors import MaxRestartIntensity
from trouper.supervisor.refusals import Draining
from trouper.supervisor.runtime_tree import RuntimeTree


@pytest.mark.clause("E3")
async def test_closing_the_runtime_releases_what_runs_and_the_next_start_goes_on(
    opened: Open,
) -> None:
    begun: list[int] = []
    finish = False

    @trouper.job
    async def long(ctx: trouper.JobContext) -> None:
        begun.append(ctx.attempt)
        await ctx.savepoint("here")
        if not finish:
            await trio.sleep_forever()

    async with opened(long) as runtime:
        store = runtime.store
        job = await runtime.submit(long.call(), user="ada")
        await wait_all_tasks_blocked()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        row = await store.job(job.id)
        assert row is not None
        assert (row.state.value, row.reason, row.attempts_used) == ("queued", "released", 0)
        nursery.cancel_scope.cancel()
    assert begun == [1]


@pytest.mark.clause("S5")
async def test_a_runtime_that_was_closed_leaves_no_task_behind(opened: Open) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with opened(echo, forever) as runtime, runtime.open_session("ada") as channel:
        job = await runtime.submit(forever.call(), user="ada")
        channel.attach(job.id, 0, 0)
        await wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert channel.closed


async def test_an_error_in_the_block_comes_out_as_it_was_raised(opened: Open) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with opened(echo):
            raise LookupError("mine")


@pytest.mark.clause("E1")
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://here", "legal forms: memory:"),
        ("sqlite:///{folder}/none/chat.db", "there is no directory"),
        ("sqlite:///{folder}/garbage", "is not a database, or is damaged"),
        ("sqlite:///{folder}/folder", "unable to open database file"),
    ],
)
async def test_a_store_that_cannot_be_had_is_one_clear_error(
    tmp_path: Path, url: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "garbage").write_bytes(b"not a database at all" * 500)
    (tmp_path / "folder").mkdir()
    with pytest.raises(trouper.StoreRefused, match=message):
        async with trouper.open_runtime(url.format(folder=tmp_path), jobs=[]):
            raise AssertionError("it opened")
    assert caplog.messages == [], "nor is it told once more"


@pytest.mark.clause("E1")
async def test_a_store_that_cannot_be_had_again_is_reported_each_time(
    opened: Open, tmp_path: Path, autojump_clock: MockClock
) -> None:
    reports: list[trouper.Report] = []
    path = tmp_path / "store.db"

    def broken(notice: object) -> None:
        path.write_bytes(b"not a database any more" * 500)
        raise RuntimeError("a listener's own fault")

    async def run() -> None:
        async with opened(echo, url=f"sqlite:///{path}", seams=slow_seams(), reports=reports) as runtime:
            runtime.store.listen(broken)
            with suppress(trouper.StoreUnavailable):
                await runtime.submit(echo.call(text="a"), user="ada")
            await trio.sleep(60)

    with pytest.RaisesGroup(MaxRestartIntensity, flatten_subgroups=True):
        await run()
    failed = [report for report in reports if report.kind is ReportKind.START_FAILED]
    assert len(failed) > 1
    assert all("is not a database, or is damaged" in report.reason for report in failed)


@pytest.mark.clause("S1")
async def test_an_interrupt_inside_the_stop_gives_up_all_order_and_passes(
    opened: Open, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that would take its whole grace is cancelled at once when Ctrl-C comes a second time."""
    cancelled_at: list[float] = []

    async def slow_to_end(context: ChildContext) -> None:
        context.started()
        try:
            await trio.sleep_forever()
        finally:
            cancelled_at.append(trio.current_time())

    async def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    began = trio.current_time()
    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        async with trio.open_nursery() as nursery, opened(echo) as runtime:
            slow = ChildSpec("slow", slow_to_end, shutdown_s=20)
            nursery.start_soon(runtime.run_gateway, slow)  # noqa: ASYNC111  # stopped with the runtime
            await wait_all_tasks_blocked()
            monkeypatch.setattr(RuntimeTree, "_drain", interrupted)
            raise KeyboardInterrupt
    assert cancelled_at == [began]


@pytest.mark.clause("S5")
async def test_whoever_waits_or_reads_when_the_runtime_ends_is_told_so_and_does_not_wait_for_ever(
    opened: Open,
) -> None:
    """Tasks of the application's own, outside of the block: nothing of theirs is cancelled by its end."""
    held = Transcript()
    async with trio.open_nursery() as nursery:  # noqa: SIM117  # the one is inside of the other
        async with opened(forever) as runtime:  # inside of the nursery, which it does not end
            job = await runtime.submit(forever.call(), user="ada")

            async def wait() -> None:
                with pytest.raises(Draining, match=f"wait for job {job.id} in the next"):
                    await runtime.wait(job.id)

            async def read() -> None:
                async for piece in runtime.read(job.id):
                    held.add(piece)

            async def read_to_the_end() -> None:
                with pytest.raises(Draining, match="read on from here in the next"):
                    await read()

            nursery.start_soon(wait)  # noqa: ASYNC111  # that is what is tested
            nursery.start_soon(read_to_the_end)  # noqa: ASYNC111
            await wait_all_tasks_blocked()
    assert held.text == "begun"
    with pytest.raises(Draining):
        await runtime.wait(job.id)


@pytest.mark.clause("E3", "J6", "N1")
async def test_a_stop_inside_of_an_unsafe_step_is_recorded_as_it_stops(
    opened: Open, tmp_path: Path, autojump_clock: MockClock
) -> None:
    hooked: list[str] = []
    reports: list[trouper.Report] = []

    @trouper.job(retry=trouper.Retry(attempts=3))
    async def charging(ctx: trouper.JobContext) -> None:
        await ctx.write("before")
        async with ctx.unsafe("charge card"):
            await trio.sleep_forever()

    @charging.on_ended
    async def hook(job: trouper.Job) -> None:  # noqa: ASYNC124  # as a hook is
        hooked.append(str(job.reason))

    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with opened(charging, url=url, seams=slow_seams(), reports=reports) as runtime:
        job = await runtime.submit(charging.call(), user="ada")
        await trio.sleep(1)
    told = [(report.kind, report.reason) for report in reports]
    assert ReportKind.UNRECORDED not in [kind for kind, _ in told], told
    store = create_store(url, slow_seams(), trouper.StoreOptions())
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        row = await store.job(job.id)
        assert row is not None
        assert (row.state, row.reason) == (trouper.JobState.LOST, "unsafe:charge card")
        assert [note.kind for note in await store.notifications("ada")] == ["ended"]
        page = await store.read_output(job.id, 0, 100)
        assert page is not None
        assert page.entries == ("before",)
        nursery.cancel_scope.cancel()
    async with opened(charging, url=url, seams=slow_seams()) as runtime:
        await trio.sleep(5)
        assert hooked == ["unsafe:charge card"]


@pytest.mark.clause("E3")
async def test_a_submit_while_the_runtime_stops_is_refused_and_may_be_tried_again(
    opened: Open, autojump_clock: MockClock
) -> None:
    @trouper.job
    async def pay(ctx: trouper.JobContext) -> None:
        async with ctx.unsafe("charge card"):
            await trio.sleep(3)

    async def come_late(runtime: trouper.Runtime) -> None:
        await trio.sleep(1)
        with pytest.raises(Draining) as refused:
            await runtime.submit(echo.call(text="a"), user="ada")
        assert refused.value.retryable

    async with trio.open_nursery() as nursery, opened(pay, echo) as runtime:
        await runtime.submit(pay.call(), user="ada")
        await wait_all_tasks_blocked()
        nursery.start_soon(come_late, runtime)  # noqa: ASYNC111  # it comes while that stops


@pytest.mark.clause("S1", "S5")
@pytest.mark.parametrize("who", ["job", "hook", "gateway"])
async def test_what_does_not_end_is_reported_and_the_store_is_closed_without_it(
    opened: Open, tmp_path: Path, autojump_clock: MockClock, who: str
) -> None:
    """trio abandons no task, so the block does not end; the database does, and another may open it."""

    async def stubborn(what: str) -> None:
        if what == who:
            with trio.CancelScope(shield=True):
                await trio.sleep(300)

    @trouper.job
    async def ends(ctx: trouper.JobContext) -> None:
        await stubborn("job" if ctx.attempt == 1 else "")

    @ends.on_ended
    async def hook(job: trouper.Job) -> None:
        await stubborn("hook" if again is None else "")

    async def gateway(context: ChildContext) -> None:
        context.started()
        await stubborn("gateway")
        await context.stopping.wait()

    url, reports = f"sqlite:///{tmp_path / 'store.db'}", list[trouper.Report]()
    again: trouper.Job | None = None

    async def open_beside() -> None:
        nonlocal again
        began = trio.current_time()
        options = trouper.StoreOptions(lock_wait_s=60)
        async with opened(ends, url=url, seams=slow_seams(), store_options=options) as runtime:
            assert trio.current_time() - began < 12, "a job's grace, once more, and a second for each"
            again = await runtime.submit(ends.call(), user="ada")
            assert (await runtime.wait(again.id)).state is trouper.JobState.COMPLETED

    async with trio.open_nursery() as nursery:
        async with opened(ends, url=url, seams=slow_seams(), reports=reports) as runtime:
            nursery.start_soon(runtime.run_gateway, ChildSpec("g", gateway))  # noqa: ASYNC111  # stopped with it
            await runtime.submit(ends.call(), user="ada")
            await trio.sleep(1)
            nursery.start_soon(open_beside)  # noqa: ASYNC111
        assert again is not None
    stuck = [report for report in reports if report.kind is ReportKind.STUCK]
    assert stuck
    assert any("stubborn" in report.detail for report in stuck)
    assert trio.current_time() > 299
