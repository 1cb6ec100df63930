"""The smallest plan that still fails."""

from __future__ import annotations

import pytest
import trio

from trouper.simulation import Crash, Fault, SimulatedCrash, SimulationFailed, World, shrink, simulate


async def fails_of_two(world: World) -> None:
    """Twelve tasks that take every crash; two crashes together are one too many, and a third is another."""
    crashed: set[str] = set()

    async def child(name: str) -> None:
        for _ in range(2):
            try:
                await trio.sleep(1)
            except SimulatedCrash:
                crashed.add(name)

    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(child, f"c{number}", name=f"c{number}")
    if {"c1"} == crashed:
        raise LookupError("something else")
    assert not {"c3", "c8"} <= crashed


def failure_of(*plan: Fault) -> SimulationFailed:
    with pytest.raises(SimulationFailed) as failed:
        simulate(fails_of_two, seed=1, plan=plan)
    return failed.value


def test_a_plan_of_many_faults_becomes_the_two_that_matter() -> None:
    plan = [Crash(f"c{number}", nth) for number in range(12) for nth in (1, 2)]
    smallest = shrink(fails_of_two, failure_of(*plan))
    assert [fault.site for fault in smallest.report.plan] == ["c3", "c8"]
    assert "AssertionError" in str(smallest)
    assert "plan=load_plan(" in str(smallest)


def test_what_fails_in_another_way_is_not_what_is_looked_for() -> None:
    # c1 alone fails as well, of something else: it must not be what is found.
    smallest = shrink(fails_of_two, failure_of(Crash("c1", 1), Crash("c3", 1), Crash("c8", 1)))
    assert [fault.site for fault in smallest.report.plan] == ["c3", "c8"]


def test_shrinking_has_a_bound_and_gives_the_best_so_far() -> None:
    plan = [Crash(f"c{number}", 1) for number in range(12)]
    failure = failure_of(*plan)
    assert shrink(fails_of_two, failure, runs_max=0) is failure
    assert len(shrink(fails_of_two, failure, runs_max=3).report.plan) <= 12


def test_a_failure_of_a_recorded_schedule_cannot_be_shrunk() -> None:
    failure = failure_of(Crash("c3", 1), Crash("c8", 1))
    with pytest.raises(SimulationFailed) as again:
        simulate(fails_of_two, seed=1, plan=failure.report.plan, schedule=failure.report.schedule)
    with pytest.raises(ValueError, match="cannot be shrunk"):
        shrink(fails_of_two, again.value)
