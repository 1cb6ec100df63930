"""Every await of the usual shapes of supervision, each with every fault.

What must hold after any one of them: no crash vanishes and none is told twice, no message is lost, no task is
left, nothing hangs, and the same fault is the same run again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

import trouper
from tests.simulation import scenarios
from trouper.simulation import (
    BadPlan,
    Cancel,
    CancelAll,
    Crash,
    FailAt,
    Fault,
    Hang,
    Report,
    SimulationFailed,
    World,
    simulate,
    sweep,
)
from trouper.simulation.run import Scenario
from trouper.simulation.schedules import Kind
from trouper.simulation.sweeping import OfAwait

KINDS: tuple[Kind, ...] = ("uniform", "priority", "starve")
SHAPES = (
    scenarios.three_children_one_for_all,
    scenarios.asks_across_a_crash,
    scenarios.keyed_actors_come_and_go,
    scenarios.a_tree_is_shut_down,
)


def hang_for_long(site: str, nth: int) -> Fault:
    """Longer than the grace of a child, and than it may take to end after it was cancelled."""
    return Hang(site, nth, 8.0)


def hang_for_a_moment(site: str, nth: int) -> Fault:
    return Hang(site, nth, 0.3)


def check_reports(report: Report) -> None:
    """Each crash that was injected is told once, where it happened; nothing is left."""
    assert report.left == ()
    if report.escaped:
        assert [type(fault) for fault in report.fired] == [CancelAll]
        return
    told: scenarios.Told = report.result
    assert told.crashes() == [f"on purpose: {fault}" for fault in report.fired if isinstance(fault, Crash)]


@pytest.mark.slow
@pytest.mark.clause("S3", "S4", "S5")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_after_a_fault_at_any_await_no_crash_no_message_and_no_task_is_lost(
    shape: Scenario, kind: Kind
) -> None:
    swept = sweep(shape, faults=(Crash, Cancel, CancelAll, hang_for_long), check=check_reports, schedule=kind)
    assert swept.missed == ()
    assert swept.runs == 4 * sum(swept.points.values()) > 40


@pytest.mark.slow
def test_the_same_fault_at_the_same_await_is_the_same_run() -> None:
    hashes: list[list[str]] = [[], []]
    for run in hashes:

        def note(report: Report, run: list[str] = run) -> None:
            run.append(report.trace_hash)

        sweep(scenarios.three_children_one_for_all, check=note)
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) > len(hashes[0]) / 2, "faults at other places are other runs"


@pytest.mark.slow
@pytest.mark.clause("J1", "J5", "N1", "E1")
@pytest.mark.parametrize("fault", [Crash, Cancel])
def test_a_job_ends_once_with_all_its_output_after_a_fault_at_any_await_of_the_runtime(
    fault: type[Crash],
) -> None:
    def check(report: Report) -> None:
        told: scenarios.Told = report.result
        # A crash of the job is told by its retry; and where the start of an attempt is waited for, whatever
        # comes out of that is an attempt that did not start.
        handled = any(each.site.startswith("job/") or "expiry" in each.site for each in report.fired)
        if told.crashes() or not handled:
            check_reports(report)
        assert report.left == ()
        if told.started:
            assert told.more == (trouper.JobState.COMPLETED, "1 2 3 4 ", 1)

    def of_the_runtime(site: str) -> bool:
        return site.startswith(("runtime/", "job/"))

    swept = sweep(scenarios.a_job_is_run, faults=[fault], sites=of_the_runtime, check=check)
    assert swept.points["job/count"] >= 4
    assert (swept.missed, swept.escaped) == ((), ())


@pytest.mark.slow
@pytest.mark.clause("J1", "N1", "E1", "O2")
@pytest.mark.parametrize("site", ["output.appended", "output.committed", "finish.begun", "finish.committed"])
def test_a_job_ends_once_whatever_commit_fails_before_or_after_it_was_made(site: str, tmp_path: Path) -> None:
    def run(nth: int) -> Report:
        async def scenario(world: World) -> scenarios.Told:
            return await scenarios.a_job_is_run(world, f"sqlite:///{tmp_path / str(nth)}.db")

        return simulate(scenario, seed=1, plan=[FailAt(site, nth)])

    nth = 1
    while (report := run(nth)).fired:
        assert report.result.more == (trouper.JobState.COMPLETED, "1 2 3 4 ", 1), report.plan
        nth += 1
        assert nth < 20
    assert nth > 1, "there is no such commit"


def some_faults(seed: int, awaits: Mapping[str, int]) -> list[Fault]:
    """Up to four faults at awaits of children; one crash at most, since a second one in the clean-up after
    the first is told as a note of that."""
    dice = random.Random(seed)
    sites = sorted(site for site in awaits if "#" in site)
    kinds: list[OfAwait] = [Crash, Cancel, CancelAll, hang_for_long, hang_for_a_moment]
    plan: list[Fault] = []
    for make in dice.sample(kinds, k=dice.randint(1, 4)):
        site = dice.choice(sites)
        name = site if dice.random() < 0.7 else site.rpartition("#")[0]
        plan.append(make(name, dice.randint(1, awaits[site])))
    return plan


@pytest.mark.slow
@pytest.mark.clause("S3", "S4", "S5")
@pytest.mark.parametrize("shape", SHAPES)
def test_after_several_faults_together_no_crash_no_message_and_no_task_is_lost(shape: Scenario) -> None:
    for seed in range(150):
        kind = KINDS[seed % 3]
        clean = simulate(shape, seed=seed, schedule=kind)
        report = simulate(shape, seed=seed, plan=some_faults(seed, clean.awaits), schedule=kind)
        assert report.left == ()
        if not report.escaped:
            crashes = [f"on purpose: {fault}" for fault in report.fired if isinstance(fault, Crash)]
            assert report.result.crashes() == crashes, report.command(shape.__name__)


# -- the sweep itself -------------------------------------------------------------------------------


async def one_child_that_cannot_take_a_crash(world: World) -> int:
    """Its third await must not crash."""
    crashed = 0

    async def child() -> None:
        nonlocal crashed
        for number in range(4):
            try:
                await trio.sleep(1)
            except Exception:
                if number == 2:
                    raise ValueError("it cannot take that") from None
                crashed += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child, name="top/child#1")
        nursery.start_soon(trio.sleep, 1, name="helper")
    return crashed


def test_a_sweep_finds_the_one_await_that_cannot_take_a_crash() -> None:
    with pytest.raises(SimulationFailed, match="it cannot take that") as failed:
        sweep(one_child_that_cannot_take_a_crash, faults=[Crash])
    assert failed.value.report.plan == (Crash("top/child#1", 3),)


def test_a_sweep_goes_to_each_await_of_the_tasks_that_were_chosen_with_each_fault() -> None:
    plans: list[tuple[Fault, ...]] = []

    def check(report: Report) -> None:
        plans.append(report.plan)

    swept = sweep(one_child_that_cannot_take_a_crash, faults=[Cancel, CancelAll], check=check)
    assert swept.points == {"top/child#1": 4}
    assert plans == [
        (),
        *((fault("top/child#1", nth),) for nth in (1, 2, 3, 4) for fault in (Cancel, CancelAll)),
    ]
    assert (swept.runs, swept.fired, swept.missed) == (8, 8, ())
    assert swept.escaped == tuple(CancelAll("top/child#1", nth) for nth in (1, 2, 3, 4))
    every = sweep(one_child_that_cannot_take_a_crash, faults=[Cancel], sites=lambda site: True)
    assert every.points == {"helper": 1, "scenario": 1, "top/child#1": 4}


def test_a_check_that_fails_says_how_to_have_that_run_again() -> None:
    def check(report: Report) -> None:
        assert report.result != 1, "a crash was swallowed"

    with pytest.raises(
        SimulationFailed, match="the check failed: AssertionError: a crash was swallowed"
    ) as failed:
        sweep(one_child_that_cannot_take_a_crash, faults=[Crash], check=check)
    assert 'again: simulate(one_child_that_cannot_take_a_crash, seed=0, plan=load_plan(\'[{"site"' in str(
        failed.value
    )


def test_an_await_that_refuses_to_be_ended_is_told_as_missed() -> None:
    async def scenario(world: World) -> None:
        async def child() -> None:
            task = trio.lowlevel.current_task()

            async def wake() -> None:
                await trio.sleep(1)
                trio.lowlevel.reschedule(task)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wake)
                await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

        async with trio.open_nursery() as nursery:  # noqa: ASYNC112  # a task of its own
            nursery.start_soon(child, name="top/child#1")

    swept = sweep(scenario, faults=[Crash])
    assert Crash("top/child#1", 1) in swept.missed


def test_a_sweep_of_nothing_and_one_without_end_are_refused() -> None:
    async def scenario(world: World) -> None:
        await trio.sleep(1)

    with pytest.raises(BadPlan, match="nothing to sweep: sites= takes none of scenario"):
        sweep(scenario)
    with pytest.raises(BadPlan, match=r"8 runs for .*more than runs_max=7; narrow it with sites="):
        sweep(one_child_that_cannot_take_a_crash, faults=[Cancel, CancelAll], runs_max=7)


def test_a_sweep_starts_with_a_run_that_has_no_fault() -> None:
    async def scenario(world: World) -> None:
        await trio.sleep(1)
        raise ValueError("always")

    with pytest.raises(SimulationFailed, match="ValueError: always") as failed:
        sweep(scenario)
    assert failed.value.report.plan == ()
    assert simulate(one_child_that_cannot_take_a_crash, seed=0).result == 0
