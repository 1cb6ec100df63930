"""What may be asked of a static supervisor: start, terminate, restart, delete; OTP's cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from tests.supervisor.helpers import Stage, running
from trouper.supervisor.child import ChildState
from trouper.supervisor.errors import (
    BadSpec,
    ChildExists,
    NoSuchChild,
    StartFailed,
    SupervisorStopped,
    TooManyChildren,
)
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.strategy import (
    Strategy,
)
from trouper.supervisor.supervisor import Supervisor

settle = trio.testing.wait_all_tasks_blocked


def refuse(_incarnation: int) -> None:
    raise ValueError("no such disk")


async def test_a_child_that_is_added_comes_last_and_is_stopped_first() -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child("a"), stage.child("b")], reporter=stage.report)
    async with running(supervisor):
        await supervisor.start_child(stage.child("c"))
        assert [node.name for node in supervisor.tree().children] == ["a", "b", "c"]
        with pytest.raises(ChildExists, match="'top' has a child 'c' already; it is running"):
            await supervisor.start_child(stage.child("c"))
    assert stage.log == ["a+", "b+", "c+", "c-", "b-", "a-"]


async def test_a_child_that_was_added_belongs_to_the_group_of_its_strategy() -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child("a")], strategy=Strategy.REST_FOR_ONE, reporter=stage.report)
    async with running(supervisor):
        await supervisor.start_child(stage.child("b"))
        stage.fail("a", ValueError())
        await settle()
        assert stage.log == ["a+", "b+", "a-", "b-", "a+", "b+"]


async def test_a_child_that_was_added_and_fails_to_start_is_not_kept() -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child("a")], reporter=stage.report)
    async with running(supervisor):
        with pytest.raises(StartFailed, match="no such disk"):
            await supervisor.start_child(stage.child("b", on_start=refuse))
        assert supervisor.state_of("b") is None
        assert supervisor.state_of("a") is ChildState.RUNNING
        await supervisor.start_child(stage.child("b"))


async def test_a_terminated_child_is_kept_restarted_by_hand_and_deleted() -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child("a"), stage.child("b")], reporter=stage.report)
    async with running(supervisor):
        for name in "ab":
            with pytest.raises(NoSuchChild, match=f"no child '{name}' that has ended: it is running"):
                await supervisor.restart_child(name)
        assert await supervisor.terminate_child("a")
        assert await supervisor.terminate_child("a"), "it is known, and has ended already"
        await supervisor.restart_child("a")
        assert stage.log[2:] == ["a-", "a+"]
        assert [node.name for node in supervisor.tree().children] == ["a", "b"], "in its old place"
        with pytest.raises(NoSuchChild, match="it is running"):
            await supervisor.delete_child("a")
        await supervisor.terminate_child("a")
        await supervisor.delete_child("a")
        assert not await supervisor.terminate_child("a")
        for ask in (supervisor.restart_child, supervisor.delete_child):
            with pytest.raises(NoSuchChild, match="there is none"):
                await ask("a")


@pytest.mark.clause("S2")
async def test_a_child_that_is_restarted_by_hand_has_its_whole_budget_again() -> None:
    stage = Stage()
    spec = stage.child("a", intensity=Intensity(1, 1_000.0))
    top = Supervisor("top", [spec], intensity=Intensity(9, 1_000.0), reporter=stage.report)
    async with running(top):
        for _ in range(3):
            stage.fail("a", ValueError())
            await settle()
            assert top.state_of("a") is ChildState.RUNNING
            await top.terminate_child("a")
            await top.restart_child("a")


async def test_a_restart_by_hand_that_fails_leaves_the_child_ended() -> None:
    stage = Stage()

    def second_time_not(incarnation: int) -> None:
        if incarnation == 2:
            raise ValueError("not now")

    supervisor = Supervisor("top", [stage.child("a", on_start=second_time_not)], reporter=stage.report)
    async with running(supervisor):
        await supervisor.terminate_child("a")
        with pytest.raises(StartFailed, match="not now"):
            await supervisor.restart_child("a")
        assert supervisor.state_of("a") is ChildState.ENDED
        await supervisor.restart_child("a")
        assert supervisor.state_of("a") is ChildState.RUNNING


async def test_what_was_added_is_gone_and_what_was_deleted_is_back_when_the_supervisor_is_restarted() -> None:
    stage = Stage()
    inner = Supervisor(
        "inner", [stage.child("a"), stage.child("b")], intensity=Intensity(0, 1), reporter=stage.report
    )
    async with running(Supervisor("outer", [inner.child_spec()], reporter=stage.report)):
        await inner.start_child(stage.child("c"))
        await inner.terminate_child("b")
        await inner.delete_child("b")
        stage.fail("a", ValueError())
        await settle()
        assert [node.name for node in inner.tree().children] == ["a", "b"]


async def test_a_supervisor_that_does_not_run_does_nothing_that_is_asked() -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child("a")], reporter=stage.report)
    asked: list[Callable[[], object]] = [
        lambda: supervisor.start_child(stage.child("b")),
        lambda: supervisor.restart_child("a"),
        lambda: supervisor.delete_child("a"),
    ]
    for ask in asked:
        with pytest.raises(SupervisorStopped, match="'top' is not running"):
            await ask()  # type: ignore[misc]  # each gives a coroutine
    assert not await supervisor.terminate_child("a")


async def test_there_is_a_maximum_of_children_also_of_a_static_supervisor() -> None:
    stage = Stage()
    supervisor = Supervisor("top", [stage.child("a")], max_children=2, reporter=stage.report)
    async with running(supervisor):
        await supervisor.start_child(stage.child("b"))
        with pytest.raises(TooManyChildren, match="has 2 children, which is its max_children"):
            await supervisor.start_child(stage.child("c"))
        assert supervisor.statistics().max_children == 2
    with pytest.raises(BadSpec, match="2 children, but max_children=1"):
        Supervisor("top", [stage.child("a"), stage.child("b")], max_children=1)
