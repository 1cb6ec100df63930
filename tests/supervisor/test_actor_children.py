"""Children of an actor: supervised under it, ended with it, in order."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.supervisor.helpers import Stage, running
from trouper.actors.actor import Actor
from trouper.actors.ask import Request
from trouper.actors.ref import ActorRef, Delivery
from trouper.actors.reports import ReportKind
from trouper.actors.signals import StopReason
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.child_spec import Restart
from trouper.supervisor.dynamic import DynamicSupervisor
from trouper.supervisor.errors import BadSpec, ChildExists, StartFailed
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.keyed import KeyedSupervisor
from trouper.supervisor.supervisor import Supervisor

settle = trio.testing.wait_all_tasks_blocked


class Names(Request[list[str]]):
    pass


class Worker(Actor[str]):
    def __init__(self, name: str, log: list[str], stop_s: float = 0) -> None:
        self._name, self._log, self._stop_s = name, log, stop_s

    async def started(self) -> None:
        if self._name == "broken":
            raise ValueError("no such tool")
        self._log.append(f"{self._name}+")

    async def receive(self, message: str) -> None:
        match message:
            case "crash":
                raise ValueError("boom")
            case "done":
                self.context.stop()
            case _:
                self._log.append(f"{self._name} {message}")

    async def stopped(self, reason: StopReason) -> None:
        await trio.sleep(self._stop_s)
        self._log.append(f"{self._name}- {reason.value}")


class Boss(Actor[str | Names]):
    """Spawns a worker for each name it is told."""

    def __init__(self, log: list[str], refs: dict[str, ActorRef[str]], **policy: Any) -> None:
        self._log, self._refs, self._policy = log, refs, policy
        self.stop_s = 0.0

    async def receive(self, message: str | Names) -> None:
        match message:
            case Names():
                self.context.reply(list(self.context.children))
            case "crash":
                raise RuntimeError("the boss is out")
            case str() if message.startswith("stop "):
                await self.context.stop_child(message.removeprefix("stop "))
            case name:
                stop_s = self.stop_s
                self._refs[name] = await self.context.spawn(
                    name, lambda: Worker(name, self._log, stop_s), **self._policy
                )

    async def stopped(self, reason: StopReason) -> None:
        self._log.append(f"boss- {reason.value}")


class Firm:
    def __init__(self, intensity: Intensity | None = None, **policy: Any) -> None:
        self.stage = Stage()
        self.log: list[str] = []
        self.refs: dict[str, ActorRef[str]] = {}
        spec, self.boss = actor_child("boss", lambda: Boss(self.log, self.refs, **policy))
        self.top = Supervisor("top", [spec], intensity=intensity, reporter=self.stage.report)


async def test_children_end_before_their_owner_the_latest_first() -> None:
    firm = Firm()
    async with running(firm.top):
        for name in "abc":
            firm.boss.tell(name)
        assert await firm.boss.ask(Names(), timeout=1) == ["a", "b", "c"]
        firm.refs["b"].tell("works")
        await settle()
    assert firm.log == [
        *("a+", "b+", "c+", "b works"),
        *("c- shutdown", "b- shutdown", "a- shutdown", "boss- shutdown"),
    ]
    assert [report.path for report in firm.stage.reports] == ["top/boss", "top"]


async def test_a_child_that_crashes_is_restarted_under_its_owner_who_does_not_notice() -> None:
    firm = Firm()
    async with running(firm.top):
        firm.boss.tell("a")
        await settle()
        firm.refs["a"].tell("crash")
        firm.refs["a"].tell("after")
        await settle()
        assert firm.log == ["a+", "a- crashed", "a+", "a after"]
        crash = firm.stage.reports[0]
        assert (crash.kind, crash.path, crash.child) == (ReportKind.CRASH, "top/boss", "a")
        boss = firm.top.tree().children[0]
        assert (boss.incarnation, boss.children[0].name, boss.children[0].incarnation) == (1, "a", 2)


async def test_a_child_that_fails_too_often_is_the_crash_of_its_owner_whose_children_end_with_it() -> None:
    firm = Firm(intensity=Intensity(3, 5))
    async with running(firm.top):
        for name in "ab":
            firm.boss.tell(name)
        await settle()
        for _ in range(4):
            firm.refs["a"].tell("crash")
            await settle()
        assert firm.log[-2:] == ["b- shutdown", "boss- crashed"]
        boss = firm.top.tree().children[0]
        assert (boss.state, boss.incarnation) == ("running", 2)
        assert boss.children == (), "the next incarnation begins without children"
        assert firm.refs["b"].tell("hello") is Delivery.DEAD
        reasons = [report.reason for report in firm.stage.reports if report.child == "boss"]
        assert any("top/boss/a crashed" in reason for reason in reasons)


async def test_the_children_end_when_their_owner_crashes() -> None:
    firm = Firm()
    async with running(firm.top):
        for name in "ab":
            firm.boss.tell(name)
        firm.boss.tell("crash")
        await settle()
        assert firm.log == ["a+", "b+", "b- shutdown", "a- shutdown", "boss- crashed"]


async def test_the_name_of_a_child_that_has_ended_is_free_again() -> None:
    firm = Firm()
    async with running(firm.top):
        firm.boss.tell("a")
        await settle()
        firm.refs["a"].tell("done")
        await settle()
        assert await firm.boss.ask(Names(), timeout=1) == []
        firm.boss.tell("a")
        assert await firm.boss.ask(Names(), timeout=1) == ["a"]
        firm.boss.tell("stop a")
        assert await firm.boss.ask(Names(), timeout=1) == []
        firm.boss.tell("stop nobody")
        await settle()
        assert firm.log == ["a+", "a- stopped", "a+", "a- shutdown"]


async def test_a_child_that_fails_to_start_raises_in_its_owner() -> None:
    seen: list[BaseException] = []

    class Careful(Actor[str]):
        async def started(self) -> None:
            for name in ("broken", "a", "a"):
                try:
                    await self.context.spawn(name, partial(Worker, name, []))
                except (StartFailed, ChildExists) as error:
                    seen.append(error)
            with pytest.raises(BadSpec, match="colour: legal are backoff, intensity"):
                await self.context.spawn("b", lambda: Worker("b", []), colour="red")

        async def receive(self, message: str) -> None:
            pass

    stage = Stage()
    spec, _ = actor_child("careful", Careful)
    async with running(Supervisor("top", [spec], reporter=stage.report)):
        assert [type(error) for error in seen] == [StartFailed, ChildExists]
        assert "top/careful/broken ended before it said started(): ValueError: no such tool" in str(seen[0])


async def test_children_have_no_longer_than_their_owner_has(autojump_clock: trio.testing.MockClock) -> None:
    log: list[str] = []

    class Slow(Boss):
        async def started(self) -> None:
            self.stop_s = 100.0

    stage = Stage()
    spec, ref = actor_child("boss", lambda: Slow(log, {}, shutdown_s=50), shutdown_s=3)
    async with running(Supervisor("top", [spec], reporter=stage.report)):
        for name in "ab":
            ref.tell(name)
        await settle()
    assert trio.current_time() == 3
    assert ReportKind.STUCK not in {report.kind for report in stage.reports}


async def test_actors_of_dynamic_and_keyed_supervisors_have_children_too() -> None:
    stage, log = Stage(), list[str]()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    desks: KeyedSupervisor[str | Names] = KeyedSupervisor(
        "desks", lambda key: Boss(log, {}), idle_s=100, reporter=stage.report
    )
    spec, ref = actor_child("j", lambda: Boss(log, {}, restart=Restart.TEMPORARY))
    async with running(jobs), running(desks):
        await jobs.start_child(spec)
        ref.tell("a")
        desks.ref("ada").tell("b")
        await settle()
        assert jobs.tree().children[0].children[0].name == "a"
        assert desks.tree().children[0].children[0].name == "b"
        await jobs.terminate_child("j")
        assert sorted(log[:2]) == ["a+", "b+"]
        assert log[2:] == ["a- shutdown", "boss- shutdown"]


async def test_an_actor_that_marks_itself_healthy_is_waited_for_no_longer_than_after_the_first_crash(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Moody(Actor[str]):
        async def receive(self, message: str) -> None:
            if message == "well":
                self.context.mark_healthy()
            else:
                raise ValueError(message)

    spec, ref = actor_child("a", Moody, backoff=Backoff(base_s=1, factor=10, max_s=1000, jitter=0))
    stage = Stage()
    top = Supervisor("top", [spec], intensity=Intensity(100, 1000), reporter=stage.report)
    async with running(top):
        for wait_s in (1, 10):
            ref.tell("crash")
            await settle()
            assert top.tree().children[0].restart_in_s == wait_s
            await trio.sleep(wait_s + 0.1)
        ref.tell("well")
        ref.tell("crash")
        await settle()
        assert top.tree().children[0].restart_in_s == 1


async def test_two_tasks_that_want_the_first_child_at_once_get_children_of_one_family() -> None:
    stage, log = Stage(), list[str]()

    class Family(Actor[str]):
        async def receive(self, message: str) -> None:
            async with trio.open_nursery() as nursery:
                for name in "ab":
                    nursery.start_soon(self.context.spawn, name, partial(Worker, name, log))
            log.append(" ".join(sorted(self.context.children)))
            for name in "ab":
                await self.context.stop_child(name)

    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    async with running(jobs):
        spec, ref = actor_child("family", Family)
        await jobs.start_child(spec)
        ref.tell("grow")
        await settle()
        assert sorted(log[:2]) == ["a+", "b+"]
        assert log[2:] == ["a b", "a- shutdown", "b- shutdown"]
