"""The cases that the documentation of OTP's ``supervisor`` states, one test each.

Where we differ on purpose, the test says so in its docstring, and so does docs/supervision.md.
"""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.supervisor.helpers import Stage, running
from trouper.actors.reports import ReportKind
from trouper.supervisor.child import ChildState
from trouper.supervisor.child_spec import ChildContext, ChildExit, ChildSpec
from trouper.supervisor.errors import (
    MaxRestartIntensity,
    StartFailed,
)
from trouper.supervisor.intensity import Intensity, RestartWindow
from trouper.supervisor.strategy import (
    ExitReason,
    Restart,
    Strategy,
    calls_for_restart,
)
from trouper.supervisor.supervisor import Supervisor

settle = trio.testing.wait_all_tasks_blocked


def refuse(_incarnation: int) -> None:
    raise ValueError("no such disk")


async def has_nothing_to_run(context: ChildContext) -> None:
    context.ignore()


# -- restart types --------------------------------------------------------------------------------


@pytest.mark.clause("S1")
@pytest.mark.parametrize(
    ("restart", "restarted_after"),
    [
        (Restart.PERMANENT, {ExitReason.RETURNED, ExitReason.CRASHED, ExitReason.CANCELLED}),
        (Restart.TRANSIENT, {ExitReason.CRASHED, ExitReason.CANCELLED}),
        (Restart.TEMPORARY, set[ExitReason]()),
    ],
)
def test_each_restart_type_with_each_exit_reason(restart: Restart, restarted_after: set[ExitReason]) -> None:
    assert {exit for exit in ExitReason if calls_for_restart(restart, exit)} == restarted_after


@pytest.mark.clause("S1")
@pytest.mark.parametrize(
    ("restart", "error", "state"),
    [
        (Restart.PERMANENT, None, ChildState.RUNNING),
        (Restart.PERMANENT, ValueError("boom"), ChildState.RUNNING),
        (Restart.TRANSIENT, None, ChildState.ENDED),
        (Restart.TRANSIENT, ValueError("boom"), ChildState.RUNNING),
        (Restart.TEMPORARY, None, ChildState.ENDED),
        (Restart.TEMPORARY, ValueError("boom"), ChildState.ENDED),
    ],
)
async def test_a_child_that_ends_by_itself_is_restarted_by_its_type(
    restart: Restart, error: Exception | None, state: ChildState
) -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child("a", restart=restart)], reporter=stage.report)
    async with running(supervisor):
        stage.fail("a", error)
        await settle()
        assert supervisor.state_of("a") is state
        assert (ReportKind.CRASH in {kind for kind, _ in stage.kinds()}) is (error is not None)


@pytest.mark.clause("S1")
@pytest.mark.parametrize("restart", list(Restart))
async def test_a_child_that_its_supervisor_ended_is_not_restarted_whatever_its_type(restart: Restart) -> None:
    stage = Stage()
    specs = [
        stage.child("asked", restart=restart),
        stage.child("cancelled", restart=restart, heeds=False, shutdown_s=0),
    ]
    supervisor = Supervisor("top", specs, reporter=stage.report)
    async with running(supervisor):
        for name in ("asked", "cancelled"):
            assert await supervisor.terminate_child(name)
        await settle()
        assert supervisor.statistics().ended == 2
    assert stage.kinds() == [(ReportKind.SHUTDOWN, None)]


@pytest.mark.clause("S1")
@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TRANSIENT])
async def test_a_restart_that_fails_to_start_is_tried_again_until_the_intensity_is_reached(
    restart: Restart,
) -> None:
    stage = Stage()

    def only_once(incarnation: int) -> None:
        if incarnation > 1:
            raise ValueError("never again")

    supervisor = Supervisor(
        "top",
        [stage.child("a", restart=restart, on_start=only_once)],
        intensity=Intensity(3, 60),
        reporter=stage.report,
    )
    with pytest.RaisesGroup(
        pytest.RaisesExc(MaxRestartIntensity, match="top/a failed to start, and that was too often")
    ):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            stage.fail("a", ValueError("boom"))
    assert [kind for kind, _ in stage.kinds()].count(ReportKind.START_FAILED) == 3


@pytest.mark.clause("S1")
@pytest.mark.parametrize("restart", list(Restart))
async def test_a_child_that_fails_its_first_start_ends_the_start_whatever_its_type(restart: Restart) -> None:
    stage = Stage()
    specs = [stage.child("a"), stage.child("b", restart=restart, on_start=refuse), stage.child("c")]
    with pytest.raises(StartFailed, match="no such disk"):
        await Supervisor("top", specs, reporter=stage.report).run()
    assert stage.log == ["a+", "b+", "b-", "a-"]


@pytest.mark.clause("S1")
@pytest.mark.parametrize("restart", list(Restart))
async def test_a_child_that_ignores_its_start_is_kept_as_ended_and_the_next_is_started(
    restart: Restart,
) -> None:
    """OTP forgets a temporary child that does; here every child is kept until it is deleted."""
    stage, exits = Stage(), list[ChildExit | None]()
    spec = ChildSpec("idle", has_nothing_to_run, restart=restart, on_ended=exits.append)
    supervisor = Supervisor("top", [spec, stage.child("next")], reporter=stage.report)
    async with running(supervisor):
        assert supervisor.state_of("idle") is ChildState.ENDED
        assert stage.log == ["next+"]
        assert exits[0] is not None
        assert exits[0].reason is ExitReason.IGNORED
    assert stage.kinds() == [(ReportKind.SHUTDOWN, None)]


# -- intensity ------------------------------------------------------------------------------------


@pytest.mark.clause("S1")
def test_more_restarts_than_the_intensity_within_the_period_are_too_many() -> None:
    window = RestartWindow(Intensity(2, 5))
    assert [window.admit(now) for now in (0, 1, 2)] == [True, True, False]


@pytest.mark.clause("S1")
def test_at_the_very_end_of_the_period_a_restart_no_longer_counts() -> None:
    """OTP still counts it: its window is closed, ours half open, so that N in P seconds is a rate."""
    window = RestartWindow(Intensity(1, 5))
    assert window.admit(0)
    assert not window.admit(4.999)
    assert window.admit(5)


@pytest.mark.clause("S1")
async def test_an_intensity_of_zero_allows_no_restart() -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child("a")], intensity=Intensity(0, 1), reporter=stage.report)
    with pytest.RaisesGroup(MaxRestartIntensity):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            stage.fail("a", ValueError())
    assert stage.log == ["a+", "a-"]


@pytest.mark.clause("S1")
async def test_restarts_that_are_far_enough_apart_go_on_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child("a")], intensity=Intensity(1, 5), reporter=stage.report)
    async with running(supervisor):
        for _ in range(20):
            stage.fail("a", ValueError())
            await trio.sleep(5)
        assert supervisor.state_of("a") is ChildState.RUNNING


@pytest.mark.clause("S1")
async def test_a_restart_of_a_group_counts_once() -> None:
    stage = Stage()
    specs = [stage.child(name) for name in "abcde"]
    supervisor = Supervisor(
        "top", specs, strategy=Strategy.ONE_FOR_ALL, intensity=Intensity(1, 60), reporter=stage.report
    )
    async with running(supervisor):
        stage.fail("c", ValueError())
        await settle()
        assert supervisor.statistics().running == 5


# -- order ----------------------------------------------------------------------------------------


@pytest.mark.clause("S1")
@pytest.mark.parametrize("failed", ["a", "b", "c"])
@pytest.mark.parametrize("strategy", list(Strategy))
async def test_the_affected_are_stopped_in_reverse_and_started_in_order(
    strategy: Strategy, failed: str
) -> None:
    stage = Stage()
    supervisor = Supervisor(
        "top", [stage.child(name) for name in "abc"], strategy=strategy, reporter=stage.report
    )
    group = {
        Strategy.ONE_FOR_ONE: failed,
        Strategy.REST_FOR_ONE: "abc"["abc".index(failed) :],
        Strategy.ONE_FOR_ALL: "abc",
    }[strategy]
    async with running(supervisor):
        stage.fail(failed, ValueError())
        await settle()
        stops = [f"{name}-" for name in (failed, *(name for name in reversed(group) if name != failed))]
        assert stage.log[3:] == [*stops, *(f"{name}+" for name in group)]


@pytest.mark.clause("S1")
@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_temporary_child_that_crashes_touches_no_sibling(strategy: Strategy) -> None:
    stage = Stage()
    specs = [stage.child("a"), stage.child("b", restart=Restart.TEMPORARY), stage.child("c")]
    async with running(Supervisor("top", specs, strategy=strategy, reporter=stage.report)):
        stage.fail("b", ValueError())
        await settle()
        assert stage.log[3:] == ["b-"]


@pytest.mark.clause("S1")
@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_child_that_is_terminated_by_hand_touches_no_sibling(strategy: Strategy) -> None:
    stage = Stage()
    specs = [stage.child(name) for name in "abc"]
    supervisor = Supervisor("top", specs, strategy=strategy, reporter=stage.report)
    async with running(supervisor):
        await supervisor.terminate_child("b")
        assert stage.log[3:] == ["b-"]


@pytest.mark.clause("S1")
async def test_a_child_that_was_terminated_by_hand_stays_so_when_its_group_is_restarted() -> None:
    """OTP starts it again with its siblings; here who ended is started again only if somebody asks."""
    stage = Stage()
    supervisor = Supervisor(
        "top", [stage.child(name) for name in "abc"], strategy=Strategy.ONE_FOR_ALL, reporter=stage.report
    )
    async with running(supervisor):
        await supervisor.terminate_child("b")
        stage.fail("a", ValueError())
        await settle()
        assert stage.log[4:] == ["a-", "c-", "a+", "c+"]
