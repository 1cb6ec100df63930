"""Two things in one moment: a crash and a stop, a start and the end of its caller. Nothing is lost by it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.supervisor.helpers import Stage, running
from trouper.actors.actor import Actor
from trouper.actors.ref import Delivery
from trouper.actors.reports import Report, ReportKind
from trouper.actors.signals import StopReason
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.child import ChildState
from trouper.supervisor.child_spec import ChildContext, ChildSpec, Restart
from trouper.supervisor.dynamic import DynamicSupervisor
from trouper.supervisor.errors import MaxRestartIntensity
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.keyed import KeyedSupervisor
from trouper.supervisor.strategy import Strategy
from trouper.supervisor.supervisor import Supervisor

TRIES = 8  # of two tasks that are due at one instant trio runs either first


async def crash_after_a_second(context: ChildContext) -> None:
    context.started()
    await trio.sleep(1)
    raise ValueError("boom")


async def start_in_no_time_and_crash(context: ChildContext) -> None:
    context.started()
    raise ValueError("boom")


async def start_in_a_second_and_crash(context: ChildContext) -> None:
    await trio.sleep(1)
    await start_in_no_time_and_crash(context)


def crashes_of(reports: list[Report]) -> list[str]:
    return sorted(str(report.child) for report in reports if report.kind is ReportKind.CRASH)


@pytest.mark.clause("S3")
async def test_a_child_that_crashes_while_others_are_stopped_before_it_is_reported(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    children = [ChildSpec("a", crash_after_a_second), stage.child("b", stop_takes_s=3)]
    supervisor = Supervisor("top", children, reporter=stage.report)
    async with running(supervisor):
        pass
    assert stage.kinds() == [(ReportKind.CRASH, "a"), (ReportKind.SHUTDOWN, None)]
    assert supervisor.statistics().crashes == 1


@pytest.mark.clause("S3")
async def test_of_two_crashes_in_one_moment_both_are_reported_also_if_the_first_ends_it_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    children = [ChildSpec(name, crash_after_a_second) for name in "ab"]
    supervisor = Supervisor("top", children, intensity=Intensity(0, 1), reporter=stage.report)
    with pytest.raises(MaxRestartIntensity):
        await supervisor.run()
    assert crashes_of(stage.reports) == ["a", "b"]


@pytest.mark.clause("S3")
async def test_a_crash_in_the_moment_in_which_who_started_the_child_is_cancelled_is_reported(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage, raised = Stage(), list[str]()

    async def start_and_crash(context: ChildContext) -> None:
        await trio.sleep(1)
        raised.append(context.name)
        await start_in_no_time_and_crash(context)

    supervisor = Supervisor("top", reporter=stage.report)
    async with running(supervisor):
        while len(raised) < TRIES:  # it may also be cancelled with its caller before that
            name = f"c{trio.current_time():g}"
            with trio.move_on_after(1):
                await supervisor.start_child(ChildSpec(name, start_and_crash, restart=Restart.TEMPORARY))
            await trio.sleep(1)
            assert supervisor.state_of(name) is None, "nobody waited for its start: it is gone"
    told = {ReportKind.CRASH, ReportKind.START_FAILED}
    assert [name for kind, name in stage.kinds() if kind in told] == raised


@pytest.mark.clause("S2")
async def test_a_child_whose_caller_was_cancelled_as_it_crashed_does_not_come_back_after_its_back_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    backoff = Backoff(base_s=5, max_s=5, jitter=0)
    async with running(jobs):
        for number in range(TRIES):
            spec = ChildSpec(f"c{number}", start_in_a_second_and_crash, backoff=backoff)
            with trio.move_on_after(1) as scope:
                await jobs.start_child(spec)
            await trio.sleep(1)
            assert not scope.cancelled_caught or jobs.state_of(spec.name) is None


class Slow(Actor[str]):
    """Takes a second to clean up, and may fail at that."""

    def __init__(self, key: str, log: list[str], failing: set[str]) -> None:
        self.key, self.log, self.failing = key, log, failing

    async def receive(self, message: str) -> None:
        self.log.append(f"{self.key}: {message}")

    async def stopped(self, reason: StopReason) -> None:
        await trio.sleep(1)
        if self.key in self.failing:
            self.failing.remove(self.key)
            raise ValueError("boom")


@pytest.mark.clause("N6")
async def test_one_that_crashes_as_it_makes_room_and_comes_back_is_asked_again_to_make_room(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log, failing = list[str](), {"a"}
    stage = Stage()
    keyed: KeyedSupervisor[str] = KeyedSupervisor(
        "top", lambda key: Slow(key, log, failing), max_active=1, idle_s=3600, reporter=stage.report
    )
    async with running(keyed):
        keyed.ref("a").tell("one")
        await trio.sleep(1)
        assert keyed.ref("b").tell("two") is Delivery.ACCEPTED
        await trio.sleep(0.5)
        assert keyed.ref("a").tell("three") is Delivery.ACCEPTED, "it is leaving: for its next incarnation"
        await trio.sleep(10)
        assert log == ["a: one", "a: three", "b: two"]
        assert keyed.statistics().waiting == 0


@pytest.mark.clause("N6")
async def test_one_that_leaves_by_itself_makes_room_for_who_comes_meanwhile(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log = list[str]()
    keyed: KeyedSupervisor[str] = KeyedSupervisor("top", lambda key: Slow(key, log, set()), max_active=1)
    async with running(keyed):
        keyed.ref("a").tell("one")
        await trio.sleep(0.5)
        assert keyed.ref("b").tell("two") is Delivery.ACCEPTED, "a has ended in half a second"
        assert keyed.ref("a").tell("three") is Delivery.ACCEPTED, "and comes back when b has left"
        assert keyed.ref("c").tell("four") is Delivery.DROPPED, "nobody can make room for a third"
        await trio.sleep(10)
        assert log == ["a: one", "b: two", "a: three"]
        assert keyed.statistics().children == 0


async def test_restarts_that_are_due_come_however_much_is_asked_of_the_supervisor() -> None:
    stage, asked = Stage(), 0
    supervisor = Supervisor("top", [stage.child("a")], reporter=stage.report)

    async def ask() -> None:
        nonlocal asked
        while asked < 1000:
            asked += 1
            await supervisor.terminate_child("nobody")

    async with running(supervisor), trio.open_nursery() as nursery:
        stage.fail("a", ValueError())
        for _ in range(3):
            nursery.start_soon(ask)
        while stage.log != ["a+", "a-", "a+"] and asked < 1000:  # noqa: ASYNC110  # each step is looked at
            await trio.lowlevel.checkpoint()
        assert asked < 200


async def test_how_long_a_child_lived_does_not_count_how_long_its_supervisor_was_busy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    starts: list[float] = []

    async def crash_soon(context: ChildContext) -> None:
        context.started()
        starts.append(trio.current_time())
        await trio.sleep(1)
        raise ValueError("boom")

    async def start_slowly(context: ChildContext) -> None:
        await trio.sleep(20)
        context.started()
        await context.stopping.wait()

    backoff = Backoff(base_s=1, factor=4, max_s=16, jitter=0, reset_after_s=10)
    supervisor = Supervisor("top", [ChildSpec("a", crash_soon, backoff=backoff)], reporter=Stage().report)
    async with running(supervisor):
        await trio.sleep(2.5)  # it has come back from its first crash
        await supervisor.start_child(ChildSpec("slow", start_slowly))
        await trio.sleep(10)
    assert starts == [0, 2, 26.5], "the second crash, at 3, is seen at 22.5: a wait of 4 follows, not of 1"


async def test_a_keyed_actor_that_ends_before_its_first_message_does_not_do_so_as_fast_as_it_can(
    autojump_clock: trio.testing.MockClock,
) -> None:
    starts: list[float] = []

    class Reluctant(Actor[str]):
        async def started(self) -> None:
            starts.append(trio.current_time())
            if len(starts) < 4:
                self.context.stop()

        async def receive(self, message: str) -> None:
            starts.append(trio.current_time())

    keyed: KeyedSupervisor[str] = KeyedSupervisor(
        "top", lambda _: Reluctant(), backoff=Backoff(1, max_s=10, jitter=0), reporter=Stage().report
    )
    async with running(keyed):
        keyed.ref("a").tell("one")
        await trio.sleep(60)
    assert starts == [0, 1, 3, 7, 7], "it waits longer each time, and the message is not lost"


def stubborn(stage: Stage, name: str) -> ChildSpec:
    """One that is stuck for two seconds when it is stopped."""
    return stage.child(name, heeds=False, shutdown_s=0, cancel_takes_s=3)


async def test_all_who_terminate_a_stuck_child_are_answered_also_if_it_ends_while_its_supervisor_is_busy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage, answers = Stage(), list[float]()
    children = [stubborn(stage, "a"), stage.child("b", stop_takes_s=5, shutdown_s=10)]
    supervisor = Supervisor("top", children, reporter=stage.report)

    async def terminate(name: str, at: float) -> None:
        await trio.sleep(at)
        assert await supervisor.terminate_child(name)
        answers.append(trio.current_time())

    async with running(supervisor):
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(terminate, "a", 0)
                nursery.start_soon(terminate, "b", 1.5)
                nursery.start_soon(terminate, "a", 2)
        assert answers == [6.5] * 3, "a ended at 3, while its supervisor waited for b"


@pytest.mark.clause("S2")
async def test_a_child_that_was_terminated_and_stuck_does_not_come_back_with_its_group(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    children = [stubborn(stage, "a"), stage.child("b", stop_takes_s=5, shutdown_s=10), stage.child("c")]
    supervisor = Supervisor("top", children, strategy=Strategy.ONE_FOR_ALL, reporter=stage.report)
    async with running(supervisor):
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervisor.terminate_child, "a")
                await trio.sleep(1.5)
                stage.fail("c", ValueError("boom"))
        assert trio.current_time() == 6.5, "a ended at 3, while b was stopped for c"
        await trio.sleep(1)
        assert supervisor.state_of("a") is ChildState.ENDED
        assert stage.log == ["a+", "b+", "c+", "c-", "a-", "b-", "b+", "c+"]


@pytest.mark.clause("S3")
async def test_a_stuck_child_that_crashes_after_the_stop_is_reported_all_the_same(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()

    async def crash_late(context: ChildContext) -> None:
        context.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            raise ValueError("boom")

    supervisor = Supervisor("top", [ChildSpec("a", crash_late, shutdown_s=0)], reporter=stage.report)
    async with running(supervisor):
        pass
    assert [kind for kind, _ in stage.kinds()] == [ReportKind.STUCK, ReportKind.SHUTDOWN, ReportKind.CRASH]
