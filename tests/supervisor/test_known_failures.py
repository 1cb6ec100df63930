"""What went wrong in others' actor and supervision libraries, and does not here. Each test names where."""

from __future__ import annotations

from functools import partial

import attrs
import pytest
import trio
import trio.testing

from tests.supervisor.helpers import Stage, running
from trouper.actors.actor import Actor
from trouper.actors.ask import Request
from trouper.actors.errors import ActorCrashed, ActorStopped, AskTimeout
from trouper.actors.ref import ActorRef, Delivery
from trouper.actors.reports import ReportKind
from trouper.actors.signals import StopReason
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.child import ChildState
from trouper.supervisor.child_spec import ChildContext, ChildSpec, Restart
from trouper.supervisor.dynamic import DynamicSupervisor
from trouper.supervisor.errors import MaxRestartIntensity, StartFailed
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.keyed import KeyedSupervisor
from trouper.supervisor.strategy import Strategy
from trouper.supervisor.supervisor import Supervisor

settle = trio.testing.wait_all_tasks_blocked


@attrs.frozen
class Slowly(Request[str]):
    seconds: float


@attrs.frozen
class Crash(Request[str]):
    pass


class Server(Actor[Slowly | Crash | str]):
    def __init__(self, log: list[str] | None = None) -> None:
        self.log = [] if log is None else log

    async def receive(self, message: Slowly | Crash | str) -> None:
        match message:
            case Slowly(seconds):
                await trio.sleep(seconds)
                self.context.reply("at last")
            case Crash():
                raise ValueError("boom")
            case _:
                self.log.append(message)

    async def stopped(self, reason: StopReason) -> None:
        self.log.append(f"stopped: {reason.value}")


# -- triotp ---------------------------------------------------------------------------------------


async def test_triotp_a_callers_time_out_does_not_kill_the_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The caller's end of the reply was closed, so the server's late answer raised in the server."""
    stage = Stage()
    spec, ref = actor_child("server", Server)
    async with running(Supervisor("top", [spec], reporter=stage.report)):
        with pytest.raises(AskTimeout, match="it was being handled"):
            await ref.ask(Slowly(5), timeout=1)
        assert await ref.ask(Slowly(0), timeout=10) == "at last"
        assert trio.current_time() == 5, "the late answer went nowhere, and the server on"
    assert [kind for kind, _ in stage.kinds()] == [ReportKind.SHUTDOWN]


async def test_triotp_a_crash_of_the_server_wakes_its_caller(autojump_clock: trio.testing.MockClock) -> None:
    """The caller held the sending end itself, so nothing ever woke it."""
    stage = Stage()
    spec, ref = actor_child("server", Server)
    async with running(Supervisor("top", [spec], reporter=stage.report)):
        with pytest.raises(ActorCrashed, match="'server' crashed: ValueError: boom"):
            await ref.ask(Crash(), timeout=1000)
        assert trio.current_time() == 0


async def test_triotp_a_start_that_fails_is_told_as_what_it_was() -> None:
    """A failing init met an unbound variable in its own error path."""

    class Broken(Server):
        async def started(self) -> None:
            raise ValueError("no such disk")

    spec, _ = actor_child("server", Broken)
    with pytest.raises(StartFailed, match="ValueError: no such disk"):
        await Supervisor("top", [spec], reporter=Stage().report).run()


# -- Pykka, Thespian ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["terminated", "given up", "whole tree"])
async def test_pykka_asks_that_wait_in_a_stopped_inbox_are_answered(
    autojump_clock: trio.testing.MockClock, how: str
) -> None:
    """They hung for ever."""
    stage = Stage()
    jobs = DynamicSupervisor("jobs", intensity=Intensity(0, 1), reporter=stage.report)
    spec, ref = actor_child("server", Server)
    told: list[float] = []

    async def ask() -> None:
        with pytest.raises(ActorStopped, match="'server' has ended"):
            await ref.ask(Slowly(0), timeout=1000)
        told.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        await nursery.start(jobs.run)
        await jobs.start_child(spec)
        nursery.start_soon(partial(ref.ask, Slowly(2), timeout=1000))
        await settle()
        if how == "given up":
            ref.tell(Crash())
        for _ in range(3):
            nursery.start_soon(ask)
        await settle()
        if how == "terminated":
            await jobs.terminate_child("server")
        elif how == "given up":
            await trio.sleep(3)
        jobs.stop()
    assert told == [2, 2, 2]


async def test_pykka_a_stop_is_over_only_when_the_clean_up_is(autojump_clock: trio.testing.MockClock) -> None:
    """``stop().get()`` returned before ``on_stop`` had ended."""
    log: list[str] = []

    class Careful(Server):
        async def stopped(self, reason: StopReason) -> None:
            await trio.sleep(3)
            log.append("cleaned up")

    jobs = DynamicSupervisor("jobs", reporter=Stage().report)
    spec, ref = actor_child("server", Careful)
    async with running(jobs):
        await jobs.start_child(spec)
        assert await jobs.terminate_child("server")
        assert log == ["cleaned up"]
        assert await ref.join() is StopReason.SHUTDOWN


async def test_pykka_no_actor_dies_without_a_word() -> None:
    stage = Stage()
    spec, ref = actor_child("server", Server, restart=Restart.TEMPORARY)
    async with running(Supervisor("top", [spec], reporter=stage.report)):
        ref.tell(Crash())
        await settle()
        assert stage.kinds() == [(ReportKind.CRASH, "server")]
        assert "raise ValueError" in stage.reports[0].detail


async def test_thespian_a_flood_of_messages_does_not_keep_an_actor_from_ending() -> None:
    log: list[str] = []
    spec, ref = actor_child("server", lambda: Server(log))
    async with running(Supervisor("top", [spec], reporter=Stage().report)):
        for number in range(1024):
            assert ref.tell(str(number)) is Delivery.ACCEPTED
        ref.stop()
        await settle()
        assert log[0] == "stopped: stopped", "it did not have to work through them first"
        assert len(log) == 1025, "the next incarnation, of a permanent child, did"


# -- kameo, actor-ts, celluloid -------------------------------------------------------------------


@pytest.mark.clause("S2")
async def test_kameo_what_waits_at_a_restart_is_handled_after_it_also_when_it_takes_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log: list[str] = []
    spec, ref = actor_child("server", lambda: Server(log), backoff=Backoff(base_s=30, max_s=30, jitter=0))
    async with running(Supervisor("top", [spec], reporter=Stage().report)):
        ref.tell("before")
        ref.tell(Crash())
        for number in range(100):
            ref.tell(str(number))
        await settle()
        ref.tell("during the back-off")
        await trio.sleep(31)
        assert log == [
            *("before", "stopped: crashed"),
            *(str(number) for number in range(100)),
            "during the back-off",
        ]
        seen = ref.statistics()
        assert seen is not None
        assert (seen.handled, sum(seen.dead.values()), seen.unaccounted) == (102, 1, 0)


async def test_kameo_what_waits_when_the_budget_is_used_up_is_accounted_for() -> None:
    """The last restart that was not to be leaked the messages that waited for it."""
    jobs = DynamicSupervisor("jobs", intensity=Intensity(0, 1), reporter=Stage().report)
    spec, ref = actor_child("server", Server)
    async with running(jobs):
        await jobs.start_child(spec)
        ref.tell(Crash())
        for number in range(10):
            ref.tell(str(number))
        await settle()
        assert jobs.state_of("server") is ChildState.GAVE_UP
        seen = ref.statistics()
        assert seen is not None
        assert (sum(seen.dead.values()), seen.waiting, seen.unaccounted) == (11, 0, 0)


async def test_actor_ts_an_exception_in_the_constructor_is_told_and_leaves_nothing_behind() -> None:
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)

    def no_server() -> Server:
        raise LookupError("no such user")

    spec, ref = actor_child("server", no_server)
    async with running(jobs):
        with pytest.raises(StartFailed, match="LookupError: no such user"):
            await jobs.start_child(spec)
        assert jobs.statistics().children == 0
        assert ref.tell("hello") is Delivery.DEAD
        assert stage.kinds() == [(ReportKind.START_FAILED, "server")]


@pytest.mark.clause("S2")
async def test_actor_ts_siblings_that_each_fail_once_do_not_bring_down_their_supervisor() -> None:
    """Five of them used up the one budget that they shared."""
    stage = Stage()
    jobs = DynamicSupervisor("jobs", intensity=Intensity(1, 60), reporter=stage.report)
    async with running(jobs):
        for number in range(20):
            await jobs.start_child(stage.child(f"job{number}"))
        for number in range(20):
            stage.fail(f"job{number}", ValueError("once"))
        await settle()
        seen = jobs.statistics()
        assert (seen.running, seen.crashes, seen.gave_up) == (20, 20, 0)


# -- OTP's forks with back-off --------------------------------------------------------------------


@pytest.mark.clause("S2")
async def test_supervisor3_a_terminated_child_is_not_resurrected_by_its_late_restart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    waits = Backoff(base_s=10, factor=1, max_s=10, jitter=0)
    top = Supervisor("top", [stage.child("a", backoff=waits)], reporter=stage.report)
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    async with running(top), running(jobs):
        await jobs.start_child(stage.child("b", backoff=waits))
        for name in "ab":
            stage.fail(name, ValueError())
        await settle()
        await top.terminate_child("a")
        await jobs.terminate_child("b")
        await top.delete_child("a")
        for supervisor in (top, jobs):
            await supervisor.start_child(stage.child("again"))
        await trio.sleep(100)
        assert [line for line in stage.log if line in ("a+", "b+")] == ["a+", "b+"]


@pytest.mark.clause("S2")
@pytest.mark.parametrize("kind", ["static", "dynamic", "keyed"])
async def test_supervisor3_one_whose_children_all_wait_or_are_gone_stops_at_once(
    autojump_clock: trio.testing.MockClock, kind: str
) -> None:
    stage = Stage()
    waits = Backoff(base_s=1000, max_s=1000, jitter=0)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            if kind == "static":
                top = Supervisor("top", [stage.child("a", backoff=waits)], reporter=stage.report)
                await nursery.start(top.run)
                stage.fail("a", ValueError())
                await settle()
                top.stop()
            elif kind == "dynamic":
                jobs = DynamicSupervisor("top", reporter=stage.report)
                await nursery.start(jobs.run)
                await jobs.start_child(stage.child("a", backoff=waits))
                stage.fail("a", ValueError())
                await settle()
                jobs.stop()
            else:
                keyed: KeyedSupervisor[Slowly | Crash | str] = KeyedSupervisor(
                    "top", lambda _: Server(), backoff=waits, reporter=stage.report
                )
                await nursery.start(keyed.run)
                keyed.ref("a").tell(Crash())
                await settle()
                keyed.stop()
    assert trio.current_time() == 0


async def test_supervisor3_one_without_children_runs_and_stops() -> None:
    top = Supervisor("top", reporter=Stage().report)
    with trio.fail_after(5):
        async with running(top):
            assert top.tree().children == ()


@pytest.mark.clause("S2")
async def test_rabbitmq_a_group_with_one_waiting_comes_back_once_and_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    waits = Backoff(base_s=10, factor=1, max_s=10, jitter=0)
    specs = [stage.child(name, backoff=waits) for name in "abc"]
    top = Supervisor("top", specs, strategy=Strategy.ONE_FOR_ALL, reporter=stage.report)
    async with running(top):
        stage.fail("b", ValueError())
        await trio.sleep(30)
        assert stage.log == ["a+", "b+", "c+", "b-", "c-", "a-", "a+", "b+", "c+"]


# -- trio's own traps -----------------------------------------------------------------------------


@pytest.mark.clause("S3")
async def test_a_crash_inside_a_clean_up_that_is_cancelled_is_not_lost_when_the_budget_is_used_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def fragile(context: ChildContext) -> None:
        context.started()
        try:
            await trio.sleep(1)
            raise ValueError("the reason")
        except ValueError as error:
            context.record_crash(error)
            with trio.move_on_after(1) as scope:
                scope.cancel()
                await trio.sleep_forever()  # noqa: ASYNC120  # that is the trap
            raise

    top = Supervisor("top", [ChildSpec("a", fragile)], intensity=Intensity(0, 1), reporter=Stage().report)
    with pytest.raises(MaxRestartIntensity, match="the reason") as caught:
        await top.run()
    assert isinstance(caught.value.__cause__, ValueError)


async def test_starting_a_child_from_outside_while_everything_is_cancelled_does_not_hang() -> None:
    """``nursery.start`` waits for ever then (trio issue 1431)."""
    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    refs: list[ActorRef[object]] = []
    with trio.fail_after(5), trio.CancelScope() as outer:
        async with trio.open_nursery() as nursery:
            await nursery.start(jobs.run)
            for number in range(10):
                nursery.start_soon(jobs.start_child, stage.child(f"c{number}", acknowledges=number % 2 == 0))
            outer.cancel()
    assert outer.cancelled_caught
    assert refs == []
    assert sorted(line for line in stage.log if line[-1] == "+") == sorted(
        f"{line[:-1]}+" for line in stage.log if line[-1] == "-"
    )
