"""What supervisors tell: reports, shutdown records, trees; and what they do not keep."""

from __future__ import annotations

import contextvars
import gc
import json
import weakref
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import pytest
import trio
import trio.testing

from tests.supervisor.helpers import Stage, running
from trouper.actors.actor import Actor
from trouper.actors.reports import ReportKind
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.base import BaseSupervisor
from trouper.supervisor.child_spec import ChildContext, ChildExit, ChildSpec
from trouper.supervisor.dynamic import DynamicSupervisor
from trouper.supervisor.errors import StartTimeout
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.keyed import KeyedSupervisor
from trouper.supervisor.shutdown import Ending, ShutdownRecord, StopRecord
from trouper.supervisor.strategy import ExitReason, Restart
from trouper.supervisor.supervisor import Supervisor
from trouper.supervisor.tree import process_tree

settle = trio.testing.wait_all_tasks_blocked


class Ledger:
    """Something big that an actor holds."""


class Holder(Actor[str]):
    made: list[weakref.ref[Ledger]]

    def __init__(self) -> None:
        self._ledger = Ledger()
        self.made.append(weakref.ref(self._ledger))

    async def receive(self, message: str) -> None:
        mine = self._ledger  # a local of the frame that the traceback goes through
        raise ValueError(f"{message} {type(mine).__name__}")


async def static(stage: Stage) -> tuple[BaseSupervisor, Callable[[], object]]:
    spec, ref = actor_child("a", Holder, backoff=Backoff(base_s=100, max_s=100))
    return Supervisor("top", [spec], reporter=stage.report), lambda: ref.tell("boom")


async def dynamic(stage: Stage) -> tuple[BaseSupervisor, Callable[[], object]]:
    top = DynamicSupervisor("top", reporter=stage.report)
    spec, ref = actor_child("a", Holder, backoff=Backoff(base_s=100, max_s=100))

    def start_and_crash() -> None:
        trio.lowlevel.spawn_system_task(top.start_child, spec)
        ref.tell("boom")

    return top, start_and_crash


async def keyed(stage: Stage) -> tuple[BaseSupervisor, Callable[[], object]]:
    top: KeyedSupervisor[str] = KeyedSupervisor(
        "top", lambda _: Holder(), backoff=Backoff(base_s=100, max_s=100), reporter=stage.report
    )
    return top, lambda: top.ref("a").tell("boom")


@pytest.mark.clause("S3")
@pytest.mark.parametrize("make", [static, dynamic, keyed])
async def test_the_text_of_a_crash_is_kept_and_nothing_that_the_dead_actor_held(make: object) -> None:
    stage = Stage()
    Holder.made = []
    top, crash = await make(stage)  # type: ignore[operator]  # each of them makes a supervisor
    async with running(top):
        crash()
        await settle()
        assert stage.reports[0].reason == "ValueError: boom Ledger"
        assert "mine = self._ledger" not in stage.reports[0].detail
        assert 'raise ValueError(f"{message}' in stage.reports[0].detail
        gc.collect()
        assert [made() for made in Holder.made] == [None]


async def crash_when_cancelled(context: ChildContext) -> None:
    """A start that hangs, and whose clean-up crashes when it is cancelled for that."""
    mine = Ledger()
    Holder.made.append(weakref.ref(mine))
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError(f"in the clean-up of {type(mine).__name__}")


@pytest.mark.clause("S3")
@pytest.mark.parametrize("kind", ["declared", "added", "dynamic"])
async def test_a_start_that_timed_out_in_a_crash_keeps_nothing_of_it_once_its_error_is_let_go(
    kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    stage = Stage()
    Holder.made = []
    spec = ChildSpec("slow", crash_when_cancelled, start_timeout_s=4)
    if kind == "declared":
        top: Supervisor | DynamicSupervisor = Supervisor("top", [spec], reporter=stage.report)
        start: Callable[[], Awaitable[None]] = top.run
    else:
        top = (DynamicSupervisor if kind == "dynamic" else Supervisor)("top", reporter=stage.report)
        start = partial(top.start_child, spec)

    async def fail_to_start() -> None:
        with pytest.raises(StartTimeout) as caught:
            await start()
        assert str(caught.value.__cause__) == "in the clean-up of Ledger"
        assert Holder.made[0]() is not None, "the error has the frames, for whoever looks into it"

    async with AsyncExitStack() as stack:
        if kind != "declared":  # the supervisor goes on
            await stack.enter_async_context(running(top))
        await fail_to_start()
        await trio.lowlevel.checkpoint()  # trio holds what it woke this task with until its next step
        gc.collect()
        assert [made() for made in Holder.made] == [None]
    assert stage.kinds()[0] == (ReportKind.START_FAILED, "slow")
    assert "in the clean-up of Ledger" in stage.reports[0].detail


@pytest.mark.clause("S3")
async def test_crash_restart_and_shutdown_are_reports_of_one_shape_with_a_value_for_programs() -> None:
    stage = Stage()
    top = Supervisor("top", [stage.child("a")], reporter=stage.report)
    async with running(top):
        stage.fail("a", ValueError("boom"))
        await settle()
    crash, restart, shutdown = stage.reports
    assert isinstance(crash.value, ChildExit)
    assert (crash.value.reason, crash.value.incarnation, crash.value.started) == (ExitReason.CRASHED, 1, True)
    assert (restart.kind, restart.child, restart.incarnation) == (ReportKind.RESTART, "a", 2)
    assert isinstance(shutdown.value, ShutdownRecord)
    assert shutdown.reason == "stopped: it was asked to"
    assert {report.path for report in stage.reports} == {"top"}


@pytest.mark.clause("S1")
async def test_a_shutdown_is_a_value_that_says_of_each_child_what_it_took(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    specs = [
        stage.child("at_once"),
        stage.child("slow", stop_takes_s=2),
        stage.child("deaf", heeds=False, shutdown_s=3),
        stage.child("no_grace", heeds=False, shutdown_s=0),
        stage.child("stuck", heeds=False, shutdown_s=1, cancel_takes_s=50),
    ]
    top = Supervisor("top", specs, reporter=stage.report, shutdown_total_s=30)
    assert top.last_shutdown is None
    async with running(top):
        pass
    record = top.last_shutdown
    assert record is not None
    assert record.stops == (
        StopRecord("stuck", Ending.STUCK, 2, 1),
        StopRecord("no_grace", Ending.CANCELLED, 0, 0),
        StopRecord("deaf", Ending.CANCELLED, 3, 3),
        StopRecord("slow", Ending.ASKED, 2, 5),
        StopRecord("at_once", Ending.ASKED, 0, 5),
    )
    assert record.counts == {Ending.ASKED: 2, Ending.CANCELLED: 2, Ending.STUCK: 1}
    assert (record.path, record.reason, record.seconds) == ("top", "it was asked to", 7)


def test_a_shutdown_record_is_bounded_and_keeps_what_took_more_than_being_asked() -> None:
    stops = [StopRecord(f"c{number}", Ending.ASKED, 0) for number in range(500)]
    record = ShutdownRecord.of("top", "", 0, [*stops, StopRecord("late", Ending.STUCK, 9)])
    assert len(record.stops) == 100
    assert record.stops[0].name == "late"
    assert str(record).splitlines()[-1] == "… and 401 more"


async def test_a_tree_shows_mailboxes_restarts_and_back_off() -> None:
    stage = Stage()
    spec, ref = actor_child("actor", Holder, backoff=Backoff(base_s=100, factor=2, max_s=1000, jitter=0))
    Holder.made = []
    top = Supervisor("top", [stage.child("plain"), spec], intensity=Intensity(9, 9), reporter=stage.report)
    async with running(top):
        stage.fail("plain", ValueError())
        ref.tell("boom")
        ref.tell("waits")
        await settle()
        plain, actor = top.tree().children
        assert (plain.restarts, plain.restart_in_s) == (1, None)
        assert (actor.kind, actor.state, actor.waiting, actor.capacity) == ("actor", "backoff", 1, 1024)
        assert actor.restart_in_s is not None
        assert 99 < actor.restart_in_s <= 100
        assert actor.failures == 1
        assert [line.partition(" for ")[0] for line in top.tree().text().splitlines()] == [
            "top: supervisor, running (one_for_one, 9 restarts in 9 s)",
            "├── plain #2: child, running, 1 restart",
            "└── actor #1: actor, backoff",
        ]
        as_json = json.loads(top.tree().to_json())
        assert as_json["children"][1]["waiting"] == 1
        assert as_json["children"][0]["restarts"] == 1


async def test_one_tree_shows_all_that_runs_in_the_process_whoever_started_it() -> None:
    assert process_tree().children == ()
    stage = Stage()
    inner = DynamicSupervisor("inner", reporter=stage.report)
    first = Supervisor("first", [inner.child_spec()], reporter=stage.report)
    second: KeyedSupervisor[str] = KeyedSupervisor("second", lambda _: Holder(), reporter=stage.report)
    async with running(first), running(second):
        await inner.start_child(stage.child("x"))
        tree = process_tree()
        assert [node.name for node in tree.children] == ["first", "second"]
        assert tree.children[0].children[0].children[0].name == "x"
        assert json.loads(tree.to_json())["kind"] == "process"
    assert process_tree().children == ()


async def test_a_child_that_is_added_has_the_context_variables_of_who_added_it_at_each_restart() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody")
    seen: list[str] = []

    async def look(context: ChildContext) -> None:
        seen.append(variable.get())
        context.started()
        if context.incarnation < 3:
            raise ValueError
        await context.stopping.wait()

    top = Supervisor("top", reporter=Stage().report)
    async with running(top):
        variable.set("ada")
        await top.start_child(ChildSpec("a", look))
        variable.set("someone else")
        await settle()
        await top.terminate_child("a")
        await top.restart_child("a")
    assert seen == ["ada"] * 4


# -- back-off, budgets, stuck children ------------------------------------------------------------


@pytest.mark.clause("S2")
async def test_a_child_that_marks_itself_healthy_begins_its_back_off_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    backoff = Backoff(base_s=1, factor=4, max_s=1000, jitter=0, reset_after_s=500)
    top = Supervisor(
        "top", [stage.child("a", backoff=backoff)], intensity=Intensity(99, 1), reporter=stage.report
    )

    async def crash_and_wait() -> int:
        stage.fail("a", ValueError())
        await settle()
        wait_s = top.tree().children[0].restart_in_s
        assert wait_s is not None
        await trio.sleep(wait_s + 0.1)
        return round(wait_s)

    async with running(top):
        assert [await crash_and_wait() for _ in range(3)] == [1, 4, 16]
        old = stage.contexts["a"]
        old.mark_healthy()
        assert [await crash_and_wait() for _ in range(2)] == [1, 4], "it said that it was well"
        old.mark_healthy()
        assert await crash_and_wait() == 16, "what an older incarnation says is of no interest"
        await trio.sleep(500)
        assert await crash_and_wait() == 1, "it lived long enough"


@pytest.mark.clause("S1")
async def test_marking_oneself_healthy_gives_no_more_restarts_than_the_intensity() -> None:
    async def liar(context: ChildContext) -> None:
        context.started()
        context.mark_healthy()
        raise ValueError

    jobs = DynamicSupervisor("jobs", intensity=Intensity(3, 60), reporter=Stage().report)
    async with running(jobs):
        await jobs.start_child(ChildSpec("a", liar))
        await settle()
        assert jobs.statistics().gave_up == 1
        assert jobs.statistics().started == 4


@pytest.mark.clause("S2")
async def test_a_static_child_can_be_terminated_while_it_waits_for_its_restart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    waits = Backoff(base_s=10, factor=1, max_s=10, jitter=0)
    top = Supervisor("top", [stage.child("a", backoff=waits), stage.child("b")], reporter=stage.report)
    async with running(top):
        stage.fail("a", ValueError())
        await settle()
        assert await top.terminate_child("a")
        assert trio.current_time() == 0
        await trio.sleep(100)
        assert stage.log == ["a+", "b+", "a-"]
        await top.restart_child("a")
        assert stage.log[-1] == "a+"


@pytest.mark.clause("S2")
async def test_a_stuck_child_that_is_terminated_keeps_only_who_asked_for_it_waiting(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    specs = [stage.child("stuck", heeds=False, cancel_takes_s=50, shutdown_s=1), stage.child("b")]
    top = Supervisor("top", specs, reporter=stage.report)
    async with running(top):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(top.terminate_child, "stuck")
            await trio.sleep(2.5)
            assert stage.kinds() == [(ReportKind.STUCK, "stuck")]
            stage.fail("b", ValueError())
            await trio.sleep(0.1)
            assert stage.log[2:] == ["b-", "b+"], "the supervisor goes on"
            nursery.start_soon(top.terminate_child, "stuck")
        assert trio.current_time() == 51
        assert [node.state for node in top.tree().children] == ["ended", "running"]


@pytest.mark.clause("S1")
async def test_whoever_gives_up_waiting_for_a_child_to_be_added_leaves_none_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    top = Supervisor("top", reporter=stage.report)
    async with running(top):
        with trio.move_on_after(3):
            await top.start_child(stage.child("slow", acknowledges=False))
        await top.start_child(stage.child("next"))
        assert trio.current_time() == 3, "nobody waits for a start that nobody wants"
        assert stage.log == ["slow+", "slow-", "next+"]
        assert stage.reports == [], "it was not the child that failed"


@pytest.mark.clause("S1", "S2")
async def test_a_childs_budget_and_its_supervisors_are_two_bounds() -> None:
    stage = Stage()
    specs = [stage.child(name, intensity=Intensity(2, 60)) for name in "abcde"]
    top = Supervisor("top", specs, intensity=Intensity(8, 60), reporter=stage.report)
    async with running(top):
        for name in "abcde":
            stage.fail(name, ValueError())
            await settle()
        assert top.statistics().restarts == 5, "five siblings that fail once each share no budget of three"
        for name in "abc":
            stage.fail(name, ValueError())
            await settle()
        assert top.running, "eight restarts, at most two of each child"


async def test_a_temporary_child_of_a_dynamic_supervisor_may_have_nothing_to_run() -> None:
    async def idle(context: ChildContext) -> None:
        context.ignore()

    jobs = DynamicSupervisor("jobs", reporter=Stage().report)
    async with running(jobs):
        await jobs.start_child(ChildSpec("a", idle, restart=Restart.PERMANENT))
        assert jobs.state_of("a") is None
