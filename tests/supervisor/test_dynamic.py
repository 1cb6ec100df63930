"""The dynamic supervisor: children that come and go, each on its own."""

from __future__ import annotations

import contextvars

import pytest
import trio
import trio.testing

from tests.supervisor.helpers import Stage, running
from trouper.actors.actor import Actor
from trouper.actors.errors import ActorStopped
from trouper.actors.ref import Delivery
from trouper.actors.reports import ReportKind
from trouper.actors.signals import StopReason
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.child import ChildState
from trouper.supervisor.child_spec import ChildContext, ChildExit, ChildSpec, ExitReason, Restart
from trouper.supervisor.dynamic import DynamicSupervisor
from trouper.supervisor.errors import (
    ChildExists,
    NoSuchChild,
    StartFailed,
    StartTimeout,
    SupervisorStopped,
    TooManyChildren,
)
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.shutdown import Ending, ShutdownRecord, StopRecord
from trouper.supervisor.supervisor import Supervisor

settle = trio.testing.wait_all_tasks_blocked
TEN_SECONDS = Backoff(base_s=10, factor=1, max_s=10, jitter=0)


async def test_children_are_started_from_any_task_and_ended_by_name() -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    async with running(jobs):
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(jobs.start_child, stage.child(name))
        assert sorted(stage.log) == ["a+", "b+", "c+"]
        assert await jobs.terminate_child("b")
        assert stage.log[3:] == ["b-"]
        assert not await jobs.terminate_child("b"), "there is none any more"
        assert jobs.statistics().running == 2
    assert sorted(stage.log[4:]) == ["a-", "c-"]
    assert sorted(stage.reports[-1].detail.splitlines()) == ["a: asked, 0.0 s", "c: asked, 0.0 s"]


async def test_every_incarnation_is_told_once_when_it_ends() -> None:
    stage, exits = Stage(), list[ChildExit]()
    jobs = DynamicSupervisor("jobs", reporter=stage.report, on_exit=exits.append)

    def refuse(_incarnation: int) -> None:
        raise ValueError("never")

    async with running(jobs):
        await jobs.start_child(stage.child("returns", restart=Restart.TEMPORARY))
        await jobs.start_child(stage.child("crashes", restart=Restart.TRANSIENT))
        await jobs.start_child(stage.child("stays"))
        with pytest.raises(StartFailed):
            await jobs.start_child(stage.child("refuses", on_start=refuse))
        stage.fail("returns")
        await settle()
        stage.fail("crashes", ValueError("boom"))
        await settle()
    told = [(exit.name, exit.incarnation, exit.reason, exit.started) for exit in exits]
    assert told[:3] == [
        ("refuses", 1, ExitReason.CRASHED, False),
        ("returns", 1, ExitReason.RETURNED, True),
        ("crashes", 1, ExitReason.CRASHED, True),
    ]
    assert sorted(told[3:]) == [
        ("crashes", 2, ExitReason.STOPPED, True),
        ("stays", 1, ExitReason.STOPPED, True),
    ]
    assert exits[2].crash is not None
    assert exits[2].crash.summary == "ValueError: boom"


async def test_what_is_started_at_the_news_of_an_end_finds_the_name_free() -> None:
    stage = Stage()
    async with trio.open_nursery() as nursery:
        jobs = DynamicSupervisor(
            "jobs",
            max_children=1,
            reporter=stage.report,
            on_exit=lambda exit: None if len(stage.log) > 2 else again(),
        )

        def again() -> None:
            nursery.start_soon(jobs.start_child, stage.child("a", restart=Restart.TEMPORARY))

        async with running(jobs):
            await jobs.start_child(stage.child("a", restart=Restart.TEMPORARY))
            stage.fail("a")
            await settle()
            assert stage.log == ["a+", "a-", "a+"]


async def test_a_taken_name_and_a_full_house_are_refused_with_their_reason() -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", max_children=2, reporter=stage.report)
    async with running(jobs):
        await jobs.start_child(stage.child("a"))
        with pytest.raises(ChildExists, match="'jobs' has a child 'a' already; it is running"):
            await jobs.start_child(stage.child("a"))
        await jobs.start_child(stage.child("b"))
        with pytest.raises(TooManyChildren, match="has 2 children, which is its max_children"):
            await jobs.start_child(stage.child("c"))
        await jobs.terminate_child("a")
        await jobs.start_child(stage.child("c"))


async def test_a_supervisor_that_does_not_run_starts_nothing() -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    with pytest.raises(SupervisorStopped, match="'jobs' is not running"):
        await jobs.start_child(stage.child("a"))
    assert not await jobs.terminate_child("a")


async def test_what_is_asked_for_during_the_stop_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    async with trio.open_nursery() as nursery:
        await nursery.start(jobs.run)
        await jobs.start_child(stage.child("a", stop_takes_s=3))
        jobs.stop()
        await settle()
        with pytest.raises(SupervisorStopped, match="is stopping"):
            await jobs.start_child(stage.child("b"))
        assert await jobs.terminate_child("a")
        assert trio.current_time() == 3


async def test_a_start_that_fails_raises_to_who_asked_for_it_with_the_crash_as_cause() -> None:
    stage = Stage()
    error = ValueError("no such model")

    def refuse(_incarnation: int) -> None:
        raise error

    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    async with running(jobs):
        with pytest.raises(StartFailed, match=r"jobs/a ended before it said.*no such model") as caught:
            await jobs.start_child(stage.child("a", on_start=refuse))
        assert caught.value.__cause__ is error
        assert jobs.statistics().children == 0
        assert stage.kinds() == [(ReportKind.START_FAILED, "a")]


async def test_a_start_that_takes_too_long_is_cancelled_and_keeps_nobody_waiting(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    async with running(jobs), trio.open_nursery() as nursery:

        async def start_slow() -> None:
            with pytest.raises(StartTimeout):
                await jobs.start_child(stage.child("slow", acknowledges=False, start_timeout_s=7))
            assert trio.current_time() == 7

        nursery.start_soon(start_slow)
        await settle()
        await jobs.start_child(stage.child("quick"))
        assert trio.current_time() == 0


async def test_whoever_gives_up_waiting_for_a_start_leaves_no_child_behind() -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    async with running(jobs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jobs.start_child, stage.child("a", acknowledges=False))
            await settle()
            nursery.cancel_scope.cancel()
        with trio.CancelScope() as scope:
            scope.cancel()
            await jobs.start_child(stage.child("b"))
        await settle()
        assert stage.log == ["a+", "a-"]
        assert jobs.statistics().children == 0
        assert stage.reports == [], "it was not the child that failed"


@pytest.mark.clause("S2")
async def test_a_child_can_be_terminated_while_it_waits_for_its_restart_and_stays_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    async with running(jobs):
        await jobs.start_child(stage.child("a", backoff=TEN_SECONDS))
        stage.fail("a", ValueError())
        await settle()
        assert jobs.state_of("a") is ChildState.BACKOFF
        assert await jobs.terminate_child("a")
        assert trio.current_time() == 0
        await jobs.start_child(stage.child("a"))
        await trio.sleep(20)
        assert stage.log == ["a+", "a-", "a+"], "the old one's restart does not come back"


@pytest.mark.clause("S2")
async def test_the_news_of_an_older_incarnation_changes_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    async with running(jobs):
        await jobs.start_child(stage.child("a"))
        member = jobs._members["a"]
        stage.fail("a", ValueError())
        await settle()
        assert member.incarnation == 2
        jobs._task_ended(member, 1)
        await settle()
        assert jobs.state_of("a") is ChildState.RUNNING
        old = stage.contexts["a"]
        assert await jobs.terminate_child("a")
        old.started()
        assert not member.alive


@pytest.mark.clause("S2")
async def test_one_childs_failures_are_its_own_and_it_waits_to_be_restarted_by_hand() -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", intensity=Intensity(1, 60), reporter=stage.report)
    async with running(jobs):
        await jobs.start_child(stage.child("good"))
        await jobs.start_child(stage.child("bad"))
        for _ in range(2):
            stage.fail("bad", ValueError("again"))
            await settle()
        assert jobs.state_of("bad") is ChildState.GAVE_UP
        assert jobs.state_of("good") is ChildState.RUNNING
        assert stage.kinds()[-1] == (ReportKind.GIVE_UP, "bad")
        assert jobs.statistics().gave_up == 1
        with pytest.raises(NoSuchChild, match="it is running"):
            await jobs.restart_child("good")
        await jobs.restart_child("bad")
        stage.fail("bad", ValueError("once more"))
        await settle()
        assert jobs.state_of("bad") is ChildState.RUNNING, "its failures were forgotten"
        stage.fail("bad", ValueError("and again"))
        await settle()
        assert await jobs.terminate_child("bad")
        assert jobs.state_of("bad") is None


@pytest.mark.clause("S1")
async def test_terminating_goes_from_asking_to_cancelling_to_a_report(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    async with running(jobs):
        await jobs.start_child(stage.child("a", heeds=False, cancel_takes_s=50, shutdown_s=5))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jobs.terminate_child, "a")
            await trio.sleep(5.5)
            assert stage.reports == []
            await trio.sleep(1)
            assert stage.kinds() == [(ReportKind.STUCK, "a")]
            assert jobs.statistics().stuck == 1
        assert trio.current_time() == 55


async def test_whoever_gives_up_waiting_for_an_end_does_not_stop_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    async with running(jobs):
        await jobs.start_child(stage.child("a", stop_takes_s=3))
        with trio.move_on_after(1):
            await jobs.terminate_child("a")
        await trio.sleep(3)
        assert jobs.state_of("a") is None


@pytest.mark.clause("S1")
async def test_all_children_are_stopped_at_once_within_one_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report, shutdown_total_s=8)
    async with running(jobs):
        for number in range(50):
            await jobs.start_child(stage.child(f"quick{number}", stop_takes_s=2))
        await jobs.start_child(stage.child("grace", heeds=False, shutdown_s=5))
        await jobs.start_child(stage.child("long", heeds=False, shutdown_s=100))
        await jobs.start_child(stage.child("stuck", heeds=False, cancel_takes_s=20, shutdown_s=1))
    assert trio.current_time() == 21
    record = stage.reports[-1].value
    assert isinstance(record, ShutdownRecord)
    assert record is jobs.last_shutdown
    assert record.counts == {Ending.ASKED: 50, Ending.CANCELLED: 2, Ending.STUCK: 1}
    hard = {stop for stop in record.stops if stop.ending is not Ending.ASKED}
    assert hard == {
        StopRecord("grace", Ending.CANCELLED, 5.0, 5.0),
        StopRecord("long", Ending.CANCELLED, 8.0, 8.0),
        StopRecord("stuck", Ending.STUCK, 8.0, 1.0),
    }


async def test_a_child_has_the_context_variables_of_who_started_it_also_after_a_restart() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody")
    seen: list[str] = []

    async def look(context: ChildContext) -> None:
        seen.append(variable.get())
        context.started()
        if context.incarnation == 1:
            raise ValueError
        await context.stopping.wait()

    jobs = DynamicSupervisor("jobs", reporter=Stage().report)
    async with running(jobs):
        variable.set("ada")
        await jobs.start_child(ChildSpec("a", look))
        variable.set("someone else")
        await settle()
    assert seen == ["ada", "ada"]


class Quiet(Actor[str]):
    async def receive(self, message: str) -> None:
        if message == "crash":
            raise ValueError("boom")


async def test_the_ref_of_an_actor_child_works_over_restarts_and_is_dead_when_it_is_gone() -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    spec, ref = actor_child("a", Quiet, restart=Restart.TRANSIENT)
    async with running(jobs):
        assert ref.tell("before it is started") is Delivery.ACCEPTED
        await jobs.start_child(spec)
        ref.tell("crash")
        ref.tell("after")
        await settle()
        seen = ref.statistics()
        assert seen is not None
        assert (seen.handled, seen.waiting, seen.unaccounted) == (2, 0, 0)
        assert jobs.tree().children[0].note == "0 of 1024 waiting, block"
        await jobs.terminate_child("a")
        assert ref.tell("too late") is Delivery.DEAD
        assert await ref.join() is StopReason.SHUTDOWN
        with pytest.raises(ActorStopped, match="'a' has ended: shutdown"):
            await ref.send("too late")


async def test_the_refs_of_static_actors_work_again_after_their_supervisor_was_restarted() -> None:
    stage = Stage()
    spec, ref = actor_child("a", Quiet)
    inner = Supervisor("inner", [spec], intensity=Intensity(0, 1), reporter=stage.report)
    async with running(Supervisor("outer", [inner.child_spec()], reporter=stage.report)):
        ref.tell("crash")
        await settle()
        assert ref.tell("hello") is Delivery.ACCEPTED
        await settle()
        seen = ref.statistics()
        assert seen is not None
        assert (seen.handled, seen.waiting) == (1, 0)


async def test_a_listener_that_raises_fails_the_supervisor_loudly() -> None:
    stage = Stage()

    def broken(_exit: ChildExit) -> None:
        raise RuntimeError("a bug of the listener")

    jobs = DynamicSupervisor("jobs", on_exit=broken, reporter=stage.report)
    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        async with running(jobs):
            await jobs.start_child(stage.child("a", restart=Restart.TEMPORARY))
            stage.fail("a")
            await trio.sleep_forever()
