"""What is done for dynamic and keyed children in the task that asks for it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.supervisor.helpers import Stage, running
from trouper.supervisor.child_spec import ChildContext, ChildExit, ChildSpec, Restart
from trouper.supervisor.dynamic import DynamicSupervisor


@pytest.mark.clause("S1")
async def test_what_is_killed_is_not_started_again_in_the_step_before_its_supervisor_sees_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It would say that it has started, be shielded, and never be stopped. trio has either run first."""

    async def live(context: ChildContext) -> None:
        starts.append(context.incarnation)
        context.started()
        await trio.sleep_forever()

    for _ in range(30):
        starts = list[int]()
        jobs = DynamicSupervisor("jobs", reporter=Stage().report)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                await nursery.start(jobs.run)
                await jobs.start_child(ChildSpec("a", live))
                jobs.kill()
        assert starts == [1]


async def test_a_callback_that_raises_is_the_supervisors_failure_in_whatever_task_it_is_called() -> None:
    def broken(_exit: ChildExit | None) -> None:
        raise ValueError("broken")

    stage = Stage()
    jobs = DynamicSupervisor("jobs", reporter=stage.report)
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="broken"), flatten_subgroups=True):
        async with running(jobs):
            await jobs.start_child(stage.child("other"))
            await jobs.start_child(stage.child("a", restart=Restart.TEMPORARY, on_ended=broken))
            stage.fail("a")
            await trio.sleep_forever()
    assert stage.log[-1] == "other-", "it was stopped in order"
