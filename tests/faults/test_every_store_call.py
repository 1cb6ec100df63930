"""Each call of the store, in each scenario, goes wrong in each way: one run for each."""

from __future__ import annotations

import pytest

from tests.faults.faulty import Disk, Wrong
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.stage import Stage
from trouper.simulation import Report, World, simulate

VIRTUAL_S_MAX = 400.0
"""Nothing that goes wrong once may hold anything up for longer."""


def play(scenario: Scenario, wrong: Wrong | None = None, at: int = 0) -> tuple[Disk, Report]:
    disk = Disk(wrong, at)

    async def whole(world: World) -> None:
        breaks_off = wrong in (Wrong.DOWN, Wrong.POISONED)
        stage = Stage(world, disk.open, disk.hooks_left, breaks_off)
        await scenario(stage)
        if wrong is not Wrong.POISONED:  # an outage is a value: nothing crashes by it (E1)
            # (What is stopped while it waits for a disk that hangs is reported: S5.)
            assert stage.of_ours(stuck=wrong is not Wrong.SLOW) == []

    return disk, simulate(whole, seed=scenario.__name__)


@pytest.mark.slow
@pytest.mark.clause("E1", "J1", "J2", "J6", "J7", "J8", "N1", "O2", "S5")
@pytest.mark.parametrize("wrong", Wrong)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_whatever_happens_at_any_call_of_the_store_every_job_ends_as_it_had_to(
    scenario: Scenario, wrong: Wrong
) -> None:
    calls = play(scenario)[0].calls
    assert calls > 5
    failures: list[str] = []
    for at in range(1, calls + 1):
        try:
            disk, report = play(scenario, wrong, at)
            assert disk.calls >= at, "it went wrong"
            assert report.left == ()
            assert report.virtual_s < VIRTUAL_S_MAX
        except Exception as error:
            failures.append(f"call {at} of {calls}: {error}")
    assert not failures, "\n".join([f"{len(failures)} of {calls}", *failures[:3]])
