"""Significant children, and supervisors that end by themselves: the cases of OTP's documentation."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.supervisor.helpers import Stage, running
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.child import ChildState
from trouper.supervisor.errors import (
    BadSpec,
)
from trouper.supervisor.strategy import (
    AutoShutdown,
    Restart,
    Strategy,
    may_be_significant,
    shuts_down,
)
from trouper.supervisor.supervisor import Supervisor

settle = trio.testing.wait_all_tasks_blocked


@pytest.mark.parametrize(
    ("auto_shutdown", "others_active", "ends"),
    [
        (AutoShutdown.NEVER, 0, False),
        (AutoShutdown.ANY_SIGNIFICANT, 2, True),
        (AutoShutdown.ANY_SIGNIFICANT, 0, True),
        (AutoShutdown.ALL_SIGNIFICANT, 1, False),
        (AutoShutdown.ALL_SIGNIFICANT, 0, True),
    ],
)
def test_automatic_shutdown_is_a_function_of_the_significant_children_that_are_left(
    auto_shutdown: AutoShutdown, others_active: int, ends: bool
) -> None:
    assert shuts_down(auto_shutdown, others_active) is ends


@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("auto_shutdown", list(AutoShutdown))
def test_only_a_child_that_can_end_for_good_may_be_significant_and_only_where_it_matters(
    auto_shutdown: AutoShutdown, restart: Restart
) -> None:
    legal = auto_shutdown is not AutoShutdown.NEVER and restart is not Restart.PERMANENT
    assert may_be_significant(auto_shutdown, restart) is legal

    def declare() -> Supervisor:
        spec = Stage().child("a", significant=True, restart=restart)
        return Supervisor("top", [spec], auto_shutdown=auto_shutdown)

    if legal:
        declare()
    else:
        with pytest.raises(BadSpec, match="significant"):
            declare()


async def test_what_may_not_be_significant_may_not_be_added_either() -> None:
    stage = Stage()
    supervisor = Supervisor("top", reporter=stage.report)
    async with running(supervisor):
        with pytest.raises(BadSpec, match="any_significant or all_significant, and 'top' has never"):
            await supervisor.start_child(stage.child("a", significant=True, restart=Restart.TEMPORARY))


@pytest.mark.parametrize(
    ("restart", "error", "ends"),
    [
        (Restart.TRANSIENT, None, True),
        (Restart.TRANSIENT, ValueError("boom"), False),
        (Restart.TEMPORARY, None, True),
        (Restart.TEMPORARY, ValueError("boom"), True),
    ],
)
async def test_a_transient_child_is_significant_when_it_returns_and_a_temporary_one_however_it_ends(
    restart: Restart, error: Exception | None, ends: bool
) -> None:
    stage = Stage()
    specs = [stage.child("a"), stage.child("b", restart=restart, significant=True), stage.child("c")]
    supervisor = Supervisor("top", specs, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT, reporter=stage.report)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        stage.fail("b", error)
        await settle()
        assert supervisor.running is not ends
        supervisor.stop()
    if ends:
        assert stage.log[3:] == ["b-", "c-", "a-"], "in order, and run() has returned"
        assert "its significant child 'b'" in stage.reports[-1].reason


async def test_with_all_significant_the_last_one_that_was_active_ends_the_supervisor() -> None:
    stage = Stage()
    specs = [
        stage.child(name, restart=Restart.TEMPORARY, significant=name != "other")
        for name in ("a", "b", "c", "other")
    ]
    supervisor = Supervisor("top", specs, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT, reporter=stage.report)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        stage.fail("a")
        await settle()
        await supervisor.terminate_child("b")
        assert supervisor.running
        stage.fail("c", ValueError("boom"))
        await settle()
        assert not supervisor.running, "b was ended by hand: it is no longer active"


@pytest.mark.parametrize("auto_shutdown", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
async def test_significant_children_that_the_supervisor_ends_do_not_end_the_supervisor(
    auto_shutdown: AutoShutdown,
) -> None:
    stage = Stage()
    specs = [
        stage.child("a"),
        stage.child("by_hand", restart=Restart.TRANSIENT, significant=True),
        stage.child("with_its_group", restart=Restart.TEMPORARY, significant=True),
    ]
    supervisor = Supervisor(
        "top", specs, strategy=Strategy.ONE_FOR_ALL, auto_shutdown=auto_shutdown, reporter=stage.report
    )
    async with running(supervisor):
        await supervisor.terminate_child("by_hand")
        stage.fail("a", ValueError())
        await settle()
        assert supervisor.running
        assert supervisor.state_of("with_its_group") is ChildState.ENDED


@pytest.mark.parametrize(("restart", "state"), [(Restart.PERMANENT, "running"), (Restart.TRANSIENT, "ended")])
async def test_a_supervisor_that_ended_by_itself_has_returned_to_the_one_above(
    restart: Restart, state: str
) -> None:
    stage = Stage()
    inner = Supervisor(
        "inner",
        [stage.child("work", restart=Restart.TRANSIENT, significant=True)],
        auto_shutdown=AutoShutdown.ALL_SIGNIFICANT,
        reporter=stage.report,
    )
    outer = Supervisor("outer", [inner.child_spec(restart=restart)], reporter=stage.report)
    async with running(outer):
        stage.fail("work")
        await settle()
        assert outer.tree().children[0].state == state


async def test_a_job_that_is_done_ends_its_tree_and_the_tree_above() -> None:
    stage = Stage()
    inner = Supervisor(
        "inner",
        [stage.child("helper"), stage.child("work", restart=Restart.TRANSIENT, significant=True)],
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
        reporter=stage.report,
    )
    outer = Supervisor(
        "outer",
        [stage.child("base"), inner.child_spec(restart=Restart.TRANSIENT, significant=True)],
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
        reporter=stage.report,
    )
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(outer.run)
            stage.fail("work")
    assert stage.log == ["base+", "helper+", "work+", "work-", "helper-", "base-"]


@pytest.mark.clause("S1")
async def test_a_significant_child_that_waits_for_its_restart_is_still_active(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage()
    wait = Backoff(base_s=10, factor=1, max_s=10, jitter=0)
    specs = [
        stage.child("a", significant=True, restart=Restart.TRANSIENT, backoff=wait),
        stage.child("b", significant=True, restart=Restart.TRANSIENT),
    ]
    top = Supervisor("top", specs, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT, reporter=stage.report)
    async with running(top):
        stage.fail("a", ValueError())
        await settle()
        stage.fail("b")
        await trio.sleep(5)
        assert (top.running, top.state_of("a")) == (True, ChildState.BACKOFF)
        await trio.sleep(6)
        assert top.state_of("a") is ChildState.RUNNING
