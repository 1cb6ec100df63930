"""The static supervisor: starts, restarts, escalation."""

from __future__ import annotations

import contextvars

import pytest
import trio
import trio.testing

from tests.supervisor.helpers import Stage, running
from trouper.actors.reports import ReportKind
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.child_spec import ChildContext, ChildSpec
from trouper.supervisor.errors import MaxRestartIntensity, StartFailed, StartTimeout
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.strategy import Restart, Strategy
from trouper.supervisor.supervisor import Supervisor

settle = trio.testing.wait_all_tasks_blocked
NO_JITTER = Backoff(base_s=10, factor=1, max_s=10, jitter=0)


@pytest.mark.clause("S1")
@pytest.mark.parametrize(
    ("strategy", "after"),
    [
        (Strategy.ONE_FOR_ONE, ["b-", "b+"]),
        (Strategy.REST_FOR_ONE, ["b-", "d-", "c-", "b+", "c+", "d+"]),
        (Strategy.ONE_FOR_ALL, ["b-", "d-", "c-", "a-", "a+", "b+", "c+", "d+"]),
    ],
)
async def test_a_crash_restarts_whom_the_strategy_says(strategy: Strategy, after: list[str]) -> None:
    stage = Stage()
    supervisor = Supervisor(
        "top", [stage.child(name) for name in "abcd"], strategy=strategy, reporter=stage.report
    )
    async with running(supervisor):
        stage.fail("b", ValueError("boom"))
        await settle()
        assert stage.log[4:] == after
        assert stage.reports[0].kind is ReportKind.CRASH
        assert (stage.reports[0].path, stage.reports[0].child) == ("top", "b")
        assert stage.reports[0].reason == "ValueError: boom"
        assert "ValueError: boom" in stage.reports[0].detail
        assert {report.kind for report in stage.reports[1:]} == {ReportKind.RESTART}
        assert supervisor.statistics().crashes == 1
        assert supervisor.statistics().running == 4


@pytest.mark.clause("S1")
async def test_transient_and_temporary_children_that_return_are_not_started_again() -> None:
    stage = Stage()
    specs = [
        stage.child("permanent"),
        stage.child("transient", restart=Restart.TRANSIENT),
        stage.child("temporary", restart=Restart.TEMPORARY),
    ]
    async with running(Supervisor("top", specs, reporter=stage.report)) as supervisor:
        for name in ("permanent", "transient"):
            stage.fail(name)
        stage.fail("temporary", ValueError("boom"))
        await settle()
        assert [node.state for node in supervisor.tree().children] == ["running", "ended", "ended"]
    assert stage.kinds()[:-1] == [
        (kind, child)
        for kind, child in stage.kinds()
        if (kind, child) in {(ReportKind.CRASH, "temporary"), (ReportKind.RESTART, "permanent")}
    ]
    assert len(stage.reports) == 3


async def test_a_temporary_child_ends_with_its_group_and_is_not_started_again() -> None:
    stage = Stage()
    specs = [stage.child("a"), stage.child("b", restart=Restart.TEMPORARY), stage.child("c")]
    async with running(Supervisor("top", specs, strategy=Strategy.ONE_FOR_ALL, reporter=stage.report)):
        stage.fail("a", ValueError())
        await settle()
        assert stage.log[3:] == ["a-", "c-", "b-", "a+", "c+"]


@pytest.mark.clause("S1")
async def test_too_many_restarts_end_the_supervisor_in_order_with_the_last_crash_as_cause() -> None:
    stage = Stage()
    supervisor = Supervisor(
        "top", [stage.child("a"), stage.child("b")], intensity=Intensity(1, 5), reporter=stage.report
    )
    last = ValueError("second")
    with pytest.RaisesGroup(
        pytest.RaisesExc(MaxRestartIntensity, match=r"top/a crashed \(ValueError: second\)")
    ) as e:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            stage.fail("a", ValueError("first"))
            await settle()
            stage.fail("a", last)
    assert e.value.exceptions[0].__cause__ is last
    assert stage.log[-1] == "b-"
    assert [kind for kind, _ in stage.kinds()] == [
        ReportKind.CRASH,
        ReportKind.RESTART,
        ReportKind.CRASH,
        ReportKind.GIVE_UP,
        ReportKind.SHUTDOWN,
    ]


@pytest.mark.clause("S1")
async def test_a_childs_own_intensity_counts_its_own_failures_only() -> None:
    stage = Stage()
    specs = [stage.child("a", intensity=Intensity(1, 5)), stage.child("b")]
    supervisor = Supervisor("top", specs, intensity=Intensity(10, 5), reporter=stage.report)
    with pytest.RaisesGroup(MaxRestartIntensity):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            for _ in range(3):
                stage.fail("b", ValueError())
                await settle()
            stage.fail("a", ValueError())
            await settle()
            assert supervisor.running
            stage.fail("a", ValueError())


@pytest.mark.clause("S2")
async def test_backoff_waits_in_the_child_and_its_siblings_are_restarted_meanwhile(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    specs = [stage.child("slow", backoff=NO_JITTER), stage.child("quick")]
    async with running(Supervisor("top", specs, reporter=stage.report)) as supervisor:
        stage.fail("slow", ValueError())
        await settle()
        assert supervisor.tree().children[0].state == "backoff"
        stage.fail("quick", ValueError())
        await settle()
        assert stage.log[2:] == ["slow-", "quick-", "quick+"]
        await trio.sleep(9.9)
        assert stage.log[-1] == "quick+"
        await trio.sleep(0.2)
        assert stage.log[-1] == "slow+"


@pytest.mark.clause("S2")
async def test_the_wait_grows_with_each_start_that_fails_since_none_of_them_has_lived(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began: list[float] = []

    async def lives_once(context: ChildContext) -> None:
        began.append(trio.current_time())
        if context.incarnation == 1:
            context.started()
        raise ValueError("no such port")

    backoff = Backoff(base_s=1, factor=2, max_s=1_000, jitter=0, reset_after_s=5)
    spec = ChildSpec("flaky", lives_once, backoff=backoff)
    top = Supervisor("top", [spec], intensity=Intensity(100, 1_000.0), reporter=lambda _: None)
    async with running(top):
        await trio.sleep(70)
    assert began == pytest.approx([0, 1, 3, 7, 15, 31, 63], abs=0.1)


@pytest.mark.clause("S2")
async def test_a_group_waits_together_for_the_longest_backoff(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    specs = [stage.child("a"), stage.child("b", backoff=NO_JITTER), stage.child("c")]
    async with running(Supervisor("top", specs, strategy=Strategy.REST_FOR_ONE, reporter=stage.report)):
        stage.fail("b", ValueError())
        await trio.sleep(5)
        stage.fail("a", ValueError())  # has no backoff of its own, but may not come back before b
        await trio.sleep(4)
        assert stage.log[3:] == ["b-", "c-", "a-"]
        await trio.sleep(2)
        assert stage.log[6:] == ["a+", "b+", "c+"]


@pytest.mark.clause("S1")
async def test_a_child_that_fails_to_start_ends_the_start_in_reverse_order() -> None:
    stage = Stage()

    def refuse(_incarnation: int) -> None:
        raise ValueError("no such disk")

    supervisor = Supervisor(
        "top", [stage.child("a"), stage.child("b", on_start=refuse), stage.child("c")], reporter=stage.report
    )
    with pytest.raises(StartFailed, match=r"top/b ended before it said started.*no such disk") as caught:
        await supervisor.run()
    assert isinstance(caught.value.__cause__, ValueError)
    assert stage.log == ["a+", "b+", "b-", "a-"]
    assert stage.kinds()[0] == (ReportKind.START_FAILED, "b")


@pytest.mark.clause("S1")
async def test_a_child_that_is_too_slow_to_start_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    stage = Stage()
    supervisor = Supervisor(
        "top", [stage.child("a", acknowledges=False, start_timeout_s=4)], reporter=stage.report
    )
    with pytest.raises(StartTimeout, match=r"top/a did not say started\(\) within 4 s"):
        await supervisor.run()
    assert trio.current_time() == 4


async def test_a_child_that_returns_without_a_word_has_failed_to_start() -> None:
    async def mute(_context: ChildContext) -> None:
        pass

    with pytest.raises(StartFailed, match=r"ended before it said started.*returned"):
        await Supervisor("top", [ChildSpec("a", mute)], reporter=Stage().report).run()


async def test_a_child_that_starts_and_crashes_in_one_step_has_crashed_and_not_failed_to_start() -> None:
    stage = Stage()

    async def brief(context: ChildContext) -> None:
        context.started()
        if context.incarnation == 1:
            raise ValueError("boom")
        await context.stopping.wait()

    async with running(Supervisor("top", [ChildSpec("a", brief)], reporter=stage.report)):
        await settle()
        assert stage.kinds() == [(ReportKind.CRASH, "a"), (ReportKind.RESTART, "a")]


async def test_a_restart_that_fails_counts_as_one_more_failure() -> None:
    stage = Stage()

    def refuse_again(incarnation: int) -> None:
        if incarnation in (2, 3):
            raise ValueError(f"start {incarnation}")

    supervisor = Supervisor("top", [stage.child("a", on_start=refuse_again)], reporter=stage.report)
    async with running(supervisor):
        stage.fail("a", ValueError())
        await settle()
        assert [kind for kind, _ in stage.kinds()] == [
            ReportKind.CRASH,
            ReportKind.START_FAILED,
            ReportKind.START_FAILED,
            ReportKind.RESTART,
        ]
        assert supervisor.tree().children[0].incarnation == 4


@pytest.mark.clause("S1")
async def test_a_nested_supervisor_that_gives_up_is_restarted_by_the_one_above() -> None:
    stage = Stage()
    inner = Supervisor("inner", [stage.child("x")], intensity=Intensity(0, 1), reporter=stage.report)
    outer = Supervisor("outer", [stage.child("a"), inner.child_spec()], reporter=stage.report)
    async with running(outer):
        stage.fail("x", ValueError("boom"))
        await settle()
        assert stage.log == ["a+", "x+", "x-", "x+"]
        assert (ReportKind.CRASH, "inner") in stage.kinds()
        node = outer.tree().children[1]
        assert (node.kind, node.state, node.incarnation) == ("supervisor", "running", 2)
        assert node.children[0].name == "x"


@pytest.mark.clause("S3")
async def test_a_group_of_a_crash_and_a_cancellation_is_a_crash() -> None:
    stage = Stage()

    async def torn(context: ChildContext) -> None:
        context.started()
        if context.incarnation > 1:
            await context.stopping.wait()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
            await settle()
            raise ValueError("boom")

    async with running(Supervisor("top", [ChildSpec("a", torn)], reporter=stage.report)):
        await settle()
        await settle()
        assert stage.reports[0].reason == "ValueError: boom"


async def test_each_incarnation_has_the_context_variables_of_the_start() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: list[str] = []

    async def look(context: ChildContext) -> None:
        seen.append(variable.get())
        variable.set("changed by an incarnation")
        context.started()
        if context.incarnation < 3:
            raise ValueError
        await context.stopping.wait()

    variable.set("at the start")
    async with running(Supervisor("top", [ChildSpec("a", look)], reporter=Stage().report)):
        variable.set("later")
        await settle()
    assert seen == ["at the start"] * 3


async def test_two_siblings_that_crash_at_once_are_both_told_and_restarted_once() -> None:
    stage = Stage()
    supervisor = Supervisor(
        "top", [stage.child("a"), stage.child("b")], strategy=Strategy.ONE_FOR_ALL, reporter=stage.report
    )
    async with running(supervisor):
        stage.fail("a", ValueError("one"))
        stage.fail("b", ValueError("two"))
        await settle()
        crashes = [report.reason for report in stage.reports if report.kind is ReportKind.CRASH]
        assert sorted(crashes) == ["ValueError: one", "ValueError: two"]
        assert [node.incarnation for node in supervisor.tree().children] == [2, 2]


async def test_a_sibling_that_returns_at_the_moment_of_a_crash_has_done_its_work() -> None:
    stage = Stage()
    specs = [stage.child("a"), stage.child("b", restart=Restart.TRANSIENT)]
    supervisor = Supervisor("top", specs, strategy=Strategy.ONE_FOR_ALL, reporter=stage.report)
    async with running(supervisor):
        stage.fail("a", ValueError("boom"))
        stage.fail("b")
        await settle()
        assert [node.state for node in supervisor.tree().children] == ["running", "ended"]


async def test_a_supervisor_runs_once_at_a_time_and_again_afterwards() -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child("a")], reporter=stage.report)
    for _ in range(2):
        async with running(supervisor):
            with pytest.raises(RuntimeError, match="'top' is running already"):
                await supervisor.run()
    assert stage.log == ["a+", "a-"] * 2
