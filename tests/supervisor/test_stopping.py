"""How a supervisor stops: in order, within one deadline, and never so that something is lost."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from tests.supervisor.helpers import Stage, running
from trouper.actors.reports import ReportKind
from trouper.supervisor.child_spec import ChildContext, ChildSpec
from trouper.supervisor.dynamic import DynamicSupervisor
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.strategy import Strategy
from trouper.supervisor.supervisor import Supervisor

settle = trio.testing.wait_all_tasks_blocked


@pytest.mark.clause("S1")
async def test_children_start_in_order_and_stop_in_reverse() -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child(name) for name in "abc"], reporter=stage.report)
    async with running(supervisor):
        assert stage.log == ["a+", "b+", "c+"]
        assert [node.state for node in supervisor.tree().children] == ["running"] * 3
    assert stage.log == ["a+", "b+", "c+", "c-", "b-", "a-"]
    assert stage.kinds() == [(ReportKind.SHUTDOWN, None)]
    assert stage.reports[0].detail.splitlines() == [f"{name}: asked, 0.0 s" for name in "cba"]


@pytest.mark.clause("S1")
async def test_a_cancelled_supervisor_stops_in_order_and_the_cancellation_passes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    children = [
        stage.child("a"),
        stage.child("b", stop_takes_s=2),
        stage.child("c", heeds=False, shutdown_s=3),
    ]
    supervisor = Supervisor("top", children, reporter=stage.report)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            scope.cancel()
    assert scope.cancelled_caught
    assert stage.reports[-1].reason == "stopped: it was cancelled"
    assert stage.log == ["a+", "b+", "c+", "c-", "b-", "a-"]
    assert stage.reports[-1].detail.splitlines() == [
        "c: cancelled, 3.0 s",
        "b: asked, 2.0 s",
        "a: asked, 0.0 s",
    ]
    assert trio.current_time() == 5


@pytest.mark.clause("S1")
async def test_a_child_that_does_not_end_is_reported_with_its_stack_and_the_others_are_stopped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()

    async def stubborn_core(context: ChildContext) -> None:
        context.started()
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    specs = [stage.child("a"), ChildSpec("stubborn", stubborn_core, shutdown_s=2)]
    async with running(Supervisor("top", specs, reporter=stage.report)):
        pass
    assert trio.current_time() == 100, "trio abandons no task"
    assert stage.kinds() == [(ReportKind.STUCK, "stubborn"), (ReportKind.SHUTDOWN, None)]
    assert "stubborn_core" in stage.reports[0].detail
    assert stage.reports[1].detail.splitlines() == ["stubborn: stuck, 3.0 s", "a: asked, 0.0 s"]


@pytest.mark.clause("S1")
@pytest.mark.parametrize("dynamic", ["none", "middle", "inner"])
async def test_a_supervisor_of_which_only_what_is_stuck_is_left_keeps_the_one_above_no_longer(
    autojump_clock: trio.testing.MockClock, dynamic: str
) -> None:
    stage = Stage()
    stubborn = stage.child("stubborn", heeds=False, cancel_takes_s=100, shutdown_s=2)
    grown = DynamicSupervisor(dynamic, reporter=stage.report)
    middle = {
        "none": Supervisor("middle", [stubborn], reporter=stage.report),
        "middle": grown,
        "inner": Supervisor("middle", [grown.child_spec()], reporter=stage.report),
    }[dynamic]
    inner = Supervisor("inner", [stubborn], reporter=stage.report)
    top = Supervisor("top", [stage.child("a", stop_takes_s=4), middle.child_spec()], reporter=stage.report)
    async with trio.open_nursery() as nursery:
        await nursery.start(top.run)
        if dynamic != "none":
            await grown.start_child(inner.child_spec() if dynamic == "middle" else stubborn)
        top.stop()
        await trio.sleep(7.5)
        assert top.last_shutdown is not None, "it has had its order; only its nursery waits"
    assert trio.current_time() == 102, "trio abandons no task"
    assert stage.log == ["a+", "stubborn+", "a-", "stubborn-"]
    assert [kind for kind, _ in stage.kinds()].count(ReportKind.STUCK) == 1, "it is told of once"
    assert [str(stop) for stop in top.last_shutdown.stops] == ["middle: stuck, 3.0 s", "a: asked, 4.0 s"]


@pytest.mark.clause("S1")
async def test_a_group_that_is_restarted_waits_for_what_is_stuck_in_a_supervisor_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    stubborn = stage.child("stubborn", heeds=False, cancel_takes_s=100, shutdown_s=2)
    inner = Supervisor("inner", [stubborn], reporter=stage.report)
    specs = [stage.child("a"), inner.child_spec()]
    async with running(Supervisor("top", specs, strategy=Strategy.ONE_FOR_ALL, reporter=stage.report)):
        stage.fail("a", ValueError())
        await trio.sleep(110)
        assert stage.log == ["a+", "stubborn+", "a-", "stubborn-", "a+", "stubborn+"]


@pytest.mark.clause("S1")
async def test_a_group_waits_too_for_a_supervisor_that_gave_up_and_is_left_with_what_is_stuck(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    specs = [stage.child("stubborn", heeds=False, cancel_takes_s=100, shutdown_s=2), stage.child("b")]
    inner = Supervisor("inner", specs, intensity=Intensity(0, 1.0), reporter=stage.report)
    specs = [stage.child("a"), inner.child_spec()]
    async with running(Supervisor("top", specs, strategy=Strategy.ONE_FOR_ALL, reporter=stage.report)):
        stage.fail("b", ValueError())
        await trio.sleep(10)
        stage.fail("a", ValueError())
        await trio.sleep(110)
        assert stage.log == ["a+", "stubborn+", "b+", "b-", "a-", "stubborn-", "a+", "stubborn+", "b+"]
    crashed = [child for kind, child in stage.kinds() if kind is ReportKind.CRASH]
    assert crashed == ["b", "a", "inner"]


@pytest.mark.clause("S1")
@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_child_whose_many_tasks_take_the_loop_longer_to_end_is_not_reported_as_stuck(
    mock_clock: trio.testing.MockClock, dynamic: bool
) -> None:
    stage = Stage()

    async def crowd(context: ChildContext) -> None:
        context.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                for _ in range(10):
                    mock_clock.jump(5)  # so long everything else that ends keeps the loop
                    await trio.lowlevel.checkpoint()

    spec = ChildSpec("crowd", crowd, shutdown_s=0)
    if dynamic:
        supervisor = DynamicSupervisor("top", reporter=stage.report)
        async with running(supervisor):
            await supervisor.start_child(spec)
    else:
        async with running(Supervisor("top", [spec], reporter=stage.report)):
            pass
    assert trio.current_time() == 50
    assert stage.kinds() == [(ReportKind.SHUTDOWN, None)]
    assert stage.reports[0].detail.splitlines() == ["crowd: cancelled, 50.0 s"]


@pytest.mark.clause("S1")
async def test_one_deadline_for_the_whole_stop_is_handed_down_the_tree(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    inner = Supervisor(
        "inner", [stage.child(name, heeds=False, shutdown_s=20) for name in "xy"], reporter=stage.report
    )
    outer = Supervisor("outer", [inner.child_spec()], reporter=stage.report, shutdown_total_s=30)
    async with running(outer):
        pass
    assert trio.current_time() == 30
    assert stage.log == ["x+", "y+", "y-", "x-"]
    assert [report.path for report in stage.reports] == ["outer/inner", "outer"]


@pytest.mark.clause("S1")
@pytest.mark.parametrize(("by", "ends_at"), [(12.0, 12.0), (math.inf, 30.0), (50.0, 30.0), (0.0, 10.0)])
async def test_a_stop_that_is_to_be_over_by_a_time_has_no_longer_than_its_own(
    autojump_clock: trio.testing.MockClock, by: float, ends_at: float
) -> None:
    stage = Stage()
    top = Supervisor(
        "top", [stage.child("x", heeds=False, shutdown_s=100)], reporter=stage.report, shutdown_total_s=20
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(top.run)
        await trio.sleep(10)
        top.stop(by=by)
    assert trio.current_time() == ends_at
    assert stage.log == ["x+", "x-"]


@pytest.mark.clause("S1")
async def test_an_exception_inside_the_stop_cancels_what_is_left_and_passes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()

    async def trap(context: ChildContext) -> None:
        def spring() -> None:
            raise RuntimeError("in the stop")

        context.on_stop(spring)
        context.started()
        await trio.sleep_forever()

    specs = [stage.child("a", heeds=False, shutdown_s=100), ChildSpec("trap", trap)]
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="in the stop"), flatten_subgroups=True):
        async with running(Supervisor("top", specs, reporter=stage.report)):
            pass
    assert trio.current_time() == 0, "no grace was waited for"
    assert stage.log == ["a+", "a-"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as in a terminal: what is started by ``nohup``, or in the background of a script, ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.clause("S1")
@pytest.mark.usefixtures("interruptible")
def test_the_first_interrupt_stops_in_order_and_the_second_cancels_what_is_left() -> None:
    stage = Stage()
    seen: list[str] = []

    async def main() -> None:
        specs = [
            stage.child("a", heeds=False, shutdown_s=1000),
            stage.child("b", heeds=False, shutdown_s=1000),
        ]
        inner = Supervisor("inner", specs, reporter=stage.report, shutdown_total_s=1000)
        outer = Supervisor("outer", [inner.child_spec()], reporter=stage.report, shutdown_total_s=1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt_twice)
            with trio.fail_after(30):
                await outer.run()

    async def interrupt_twice() -> None:
        with trio.CancelScope(shield=True):
            await settle()
            signal.raise_signal(signal.SIGINT)
            await settle()
            seen.extend(stage.log)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(BaseException) as caught:  # noqa: PT011  # what it is, is asserted below
        trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    assert _holds(caught.value, KeyboardInterrupt)
    assert seen == ["a+", "b+"], "after the first one the children still have their grace"
    assert sorted(stage.log[2:]) == ["a-", "b-"]


@pytest.mark.clause("S1")
async def test_who_gets_the_second_interrupt_in_another_task_ends_the_stop_by_killing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    specs = [stage.child(name, heeds=False, shutdown_s=1000) for name in "ab"]
    inner = Supervisor("inner", specs, reporter=stage.report, shutdown_total_s=1000)
    outer = Supervisor("outer", [inner.child_spec()], reporter=stage.report, shutdown_total_s=1000)
    async with trio.open_nursery() as nursery:
        await nursery.start(outer.run)
        outer.stop()
        await trio.sleep(10)
        assert stage.log == ["a+", "b+"], "they have their grace"
        outer.kill()
    assert sorted(stage.log[2:]) == ["a-", "b-"]
    assert trio.current_time() == 10


def _holds(error: BaseException, kind: type[BaseException]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(kind) is not None
    return isinstance(error, kind)


@pytest.mark.clause("S3")
@pytest.mark.parametrize("passing", [KeyboardInterrupt, SystemExit])
async def test_what_must_pass_out_of_a_child_passes_after_an_ordered_stop(
    passing: type[BaseException],
) -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child(name) for name in "abc"], reporter=stage.report)
    with pytest.RaisesGroup(passing, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            stage.fail("b", passing())
    assert stage.log == ["a+", "b+", "c+", "b-", "c-", "a-"]
    assert stage.kinds() == [(ReportKind.SHUTDOWN, None)], "it is no crash and nothing is restarted"


@pytest.mark.clause("S3")
async def test_a_crash_told_at_once_is_not_lost_when_the_clean_up_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()

    async def fragile(context: ChildContext) -> None:
        context.started()
        try:
            await context.stopping.wait()
            raise ValueError("while stopping")
        except ValueError as error:
            context.record_crash(error)
            await trio.sleep_forever()  # a clean-up that is cancelled: Cancelled goes over the crash

    async with running(Supervisor("top", [ChildSpec("a", fragile, shutdown_s=1)], reporter=stage.report)):
        pass
    assert stage.kinds() == [(ReportKind.CRASH, "a"), (ReportKind.SHUTDOWN, None)]


async def test_stopping_while_a_child_is_starting_gives_its_start_up() -> None:
    stage = Stage()
    supervisor = Supervisor(
        "top", [stage.child("a"), stage.child("b", acknowledges=False)], reporter=stage.report
    )
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await settle()
            supervisor.stop()
    assert stage.log == ["a+", "b+", "b-", "a-"]


@pytest.mark.clause("S1")
@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_stop_that_comes_before_the_run_is_no_stop_that_is_lost(
    kind: type[Supervisor] | type[DynamicSupervisor], how: str
) -> None:
    """As with a cancel scope. It holds for the next run alone: nothing is started, and it returns."""
    stage = Stage()
    if kind is Supervisor:
        supervisor: Supervisor | DynamicSupervisor = Supervisor(
            "top", [stage.child("a")], reporter=stage.report
        )
    else:
        supervisor = DynamicSupervisor("top", reporter=stage.report)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        getattr(supervisor, how)()
    assert stage.log == []
    async with trio.open_nursery() as nursery:
        getattr(supervisor, how)()
        await nursery.start(supervisor.run)  # it has been started, as far as it was to be
    assert stage.log == []
    async with running(supervisor):
        assert supervisor.running
        assert stage.log == (["a+"] if kind is Supervisor else [])
