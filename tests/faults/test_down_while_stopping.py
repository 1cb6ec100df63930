"""The store is down while a runtime stops: what was found once, by name."""

from __future__ import annotations

import pytest
import trio

from tests.faults.faulty import OUTAGE_S, Disk
from tests.faults.scenarios import WORDS, tale
from tests.faults.stage import Stage, check, submit
from trouper.actors.reports import ReportKind
from trouper.simulation import World, simulate
from trouper.store.protocol import CommitNotice
from trouper.store.records import JobState


@pytest.mark.clause("E1", "E3", "S5")
@pytest.mark.parametrize("after_s", [0.0, 0.15])
def test_a_job_that_waits_for_a_store_that_is_down_at_a_stop_neither_crashes_nor_seems_stuck(
    after_s: float,
) -> None:
    """``after_s`` of its claim: 0 before its function is called, later while it makes a savepoint."""

    async def scenario(world: World) -> None:
        disk = Disk()
        stage = Stage(world, disk.open, disk.hooks_left)
        claimed = trio.Event()

        def listener(notice: CommitNotice) -> None:
            if any(job.state is JobState.RUNNING for job in notice.jobs) and not claimed.is_set():
                claimed.set()
                disk.down_until = trio.current_time() + OUTAGE_S if after_s == 0.0 else -1.0

        async with stage.runtime(tale) as runtime:
            runtime.store.listen(listener)
            job = await submit(runtime, tale.call(), "a")
            await claimed.wait()
            await trio.sleep(after_s)
            disk.down_until = trio.current_time() + OUTAGE_S
            await trio.sleep(0.5)
        assert stage.of_ours(stuck=True) == []
        unrecorded = [report for report in stage.reports if report.kind is ReportKind.UNRECORDED]
        assert [report.child for report in unrecorded] == [job]
        assert "was not recorded" in unrecorded[0].reason
        await trio.sleep(OUTAGE_S)
        async with stage.runtime(tale) as runtime:
            await check(runtime, job, state="completed", text="".join(WORDS))

    simulate(scenario, seed="down while stopping")
