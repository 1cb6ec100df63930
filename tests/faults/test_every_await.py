"""Each await of each task of a runtime is ended, by a crash or by a cancellation: one run for each."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults import dealings
from tests.faults.faulty import Disk
from tests.faults.scenarios import JOBS, SCENARIOS, Scenario
from tests.faults.stage import Stage, insist
from trouper.simulation import CancelAll, Crash, Report, World, simulate, sweep

VIRTUAL_S_MAX = 400.0
"""Nothing that ends once may hold anything up for longer."""
ROOT = "trouper.supervisor.runtime_tree.RuntimeTree._run_root"
"""Above it there is nobody in the runtime: what ends it comes out of ``open_runtime``."""

pytestmark = pytest.mark.slow
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)


def of_the_runtime(site: str) -> bool:
    """Children of its supervisors, and the tasks that these have of their own."""
    return site.startswith(("runtime/", "trouper.")) and site != ROOT


def check(report: Report) -> None:
    assert report.left == ()
    assert report.virtual_s < VIRTUAL_S_MAX


@pytest.mark.clause("J1", "J2", "J6", "J7", "J8", "N1", "O2", "S1", "S5")
@each_scenario
def test_whatever_task_of_the_runtime_ends_at_any_await_every_job_ends_as_it_had_to(
    scenario: Scenario,
) -> None:
    async def whole(world: World) -> None:
        disk = Disk()
        await scenario(Stage(world, disk.open, disk.hooks_left))

    swept = sweep(whole, check=check, sites=of_the_runtime, seed=scenario.__name__)
    assert swept.fired > 50
    assert not swept.escaped
    assert not swept.missed


@pytest.mark.clause("J1", "J2", "J6", "J7", "J8", "N1", "S1", "S5")
@each_scenario
def test_a_runtime_that_is_cancelled_or_loses_its_root_at_any_await_leaves_nothing_but_rows_that_end(
    scenario: Scenario,
) -> None:
    disks: list[Disk] = []

    async def whole(world: World) -> None:
        disks.append(Disk())
        await scenario(Stage(world, disks[-1].open, disks[-1].hooks_left))

    def restart(report: Report) -> None:
        check(report)

        async def next_boot(world: World) -> None:
            await see_to_the_end(Stage(world, disks[-1].open, disks[-1].hooks_left))

        check(simulate(next_boot, seed="the next boot"))

    swept = sweep(whole, check=restart, sites=lambda _: True, faults=[CancelAll], seed=scenario.__name__)
    assert swept.fired > 25
    swept = sweep(whole, check=restart, sites=ROOT.__eq__, faults=[Crash], seed=scenario.__name__)
    assert len(swept.escaped) == swept.fired


async def see_to_the_end(stage: Stage) -> None:
    """Every job that is there ends, and each end that is told of is told of once."""
    async with stage.runtime(*JOBS) as runtime:
        jobs = await insist(lambda: runtime.jobs("ada"))
        for job in jobs:
            await dealings.see_to(runtime, job)
        ended = [await runtime.wait(job.id) for job in jobs]
        await dealings.hooks_to_end(stage)
        told = Counter(row.job for row in await runtime.inbox("ada") if row.kind == "ended")
    wanted = Counter(job.id for job in ended if job.state.value in job.options.notify_on)
    assert told == wanted
    assert all(job.state.value in ("completed", "cancelled") for job in ended if job.name != "charge")
    dealings.check_dealings(ended)
