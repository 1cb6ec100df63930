"""One run: its time, its order, its faults, its bounds."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest
import trio
import trio.testing

from trouper.simulation import (
    BadPlan,
    Cancel,
    CancelAll,
    Crash,
    Deadlock,
    FailAt,
    Hang,
    InstrumentLost,
    ReplayDiverged,
    SimulatedCrash,
    SimulationFailed,
    StepLimit,
    World,
    load_plan,
    simulate,
)


async def three_names(world: World) -> str:
    """Who is first of three tasks that can run at once, four times."""
    ran: list[str] = []

    async def note(name: str) -> None:
        for _ in range(4):
            await trio.sleep(1)
            ran.append(name)

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(note, name)
    return "".join(ran)


def test_time_is_virtual_and_the_seams_are_on_it() -> None:
    async def scenario(world: World) -> tuple[float, float]:
        began = world.seams.wall()
        await trio.sleep(3600 * 24)
        return world.seams.now(), world.seams.wall() - began

    real = time.monotonic()
    report = simulate(scenario, seed=1)
    assert time.monotonic() - real < 3600
    assert report.result == (86400, 86400)
    assert report.virtual_s == 86400


def test_the_same_seed_is_the_same_run_and_another_seed_is_another() -> None:
    for kind in ("uniform", "priority", "starve"):
        runs = [simulate(three_names, seed=seed, schedule=kind) for seed in (1, 1, 2)]
        assert runs[0] == runs[1]
        assert runs[0].trace_hash != runs[2].trace_hash
    assert len({simulate(three_names, seed=seed).result for seed in range(10)}) > 5


def test_a_recorded_schedule_has_the_run_again_whatever_the_seed() -> None:
    for kind in ("uniform", "priority", "starve"):
        first = simulate(three_names, seed=1, schedule=kind)
        again = simulate(three_names, seed=2, schedule=first.schedule)
        assert (again.result, again.trace_hash) == (first.result, first.trace_hash)
        assert again.schedule == first.schedule


def test_a_schedule_of_another_program_fails_and_says_so() -> None:
    recorded = simulate(three_names, seed=1).schedule

    async def shorter(world: World) -> None:
        await trio.sleep(1)

    async def wider(world: World) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(trio.sleep, 1)

    async def longer(world: World) -> None:
        for _ in range(2):
            await three_names(world)

    for scenario, why in (
        (shorter, "the run is over, and the schedule has"),
        (wider, "of the schedule has 3 tasks, but 5 can run"),
        (longer, "and the run goes on"),
    ):
        with pytest.raises(SimulationFailed, match=why) as failed:
            simulate(scenario, seed=1, schedule=recorded)
        assert isinstance(failed.value.__cause__, ReplayDiverged)


def test_ids_and_dice_are_made_of_the_seed() -> None:
    async def scenario(world: World) -> list[object]:
        await trio.lowlevel.checkpoint()
        return [
            world.seams.new_id(),
            world.seams.new_id(),
            world.seams.random.random(),
            world.random.random(),
        ]

    one, same, other = (simulate(scenario, seed=seed).result for seed in (1, 1, 2))
    assert one == same
    assert not set(one) & set(other)
    assert len(set(one)) == 4


def test_blocking_work_is_done_in_the_task_that_asks_for_it() -> None:
    async def scenario(world: World) -> bool:
        thread = world.seams.open_thread("disk")
        with trio.move_on_after(1):
            task = await thread.run(trio.lowlevel.current_task)
            await thread.aclose()
            return task is trio.lowlevel.current_task()
        return False

    assert simulate(scenario, seed=1).result


# -- faults ---------------------------------------------------------------------------------------


async def a_child_that_sleeps(world: World) -> list[str]:
    """A task named ``child`` sleeps four times; tells how that went."""
    told: list[str] = []

    async def child() -> None:
        for _ in range(4):
            began = trio.current_time()
            try:
                await trio.sleep(1)
            except SimulatedCrash as crash:
                told.append(str(crash))
            except trio.Cancelled:
                told.append("cancelled")
                raise
            else:
                told.append(f"{trio.current_time() - began:g} s")

    async with trio.open_nursery() as nursery:  # noqa: ASYNC112  # a task of its own
        nursery.start_soon(child, name="child")
    return told


def test_a_crash_comes_out_of_the_await_that_was_named() -> None:
    report = simulate(a_child_that_sleeps, seed=1, plan=[Crash("child", 2)])
    assert report.result == ["1 s", "on purpose: Crash(site='child', nth=2)", "1 s", "1 s"]
    assert report.fired == report.plan == (Crash("child", 2),)
    assert report.missed == ()
    assert report.awaits == {"scenario": 1, "child": 4}


def test_a_fault_whose_await_does_not_come_is_told_as_missed() -> None:
    report = simulate(a_child_that_sleeps, seed=1, plan=[Crash("child", 5), Crash("nobody", 1)])
    assert report.fired == ()
    assert report.missed == report.plan
    assert not report.escaped


def test_a_supervisors_child_is_cancelled_alone_and_another_task_with_its_nursery() -> None:
    told: list[str] = []

    async def scenario(world: World) -> None:
        async def child(name: str) -> None:
            with trio.CancelScope() as own:
                await trio.sleep(1)
                await trio.sleep(1)
            told.append(f"{name} {own.cancelled_caught}")

        async with trio.open_nursery() as nursery:
            for name in ("top/a#1", "other"):
                nursery.start_soon(child, name, name=name)

    assert not simulate(scenario, seed=1, plan=[Cancel("top/a#1", 2)]).escaped
    assert sorted(told) == ["other False", "top/a#1 True"]
    told.clear()
    assert not simulate(scenario, seed=1, plan=[Cancel("other", 2)]).escaped
    assert told == []


def test_the_whole_scenario_is_cancelled_from_outside_at_an_await() -> None:
    for plan in ([CancelAll("child", 3)], [Cancel("scenario", 1)]):
        report = simulate(a_child_that_sleeps, seed=1, plan=plan)
        assert report.escaped
        assert report.result is None
        assert report.fired == tuple(plan)


def test_a_hanging_task_goes_on_when_its_time_is_over_and_no_cancellation_reaches_it() -> None:
    report = simulate(a_child_that_sleeps, seed=1, plan=[Hang("child", 2, 60.0)])
    assert report.result == ["1 s", "60 s", "1 s", "1 s"]

    async def scenario(world: World) -> float:
        with trio.move_on_after(5):
            await a_child_that_sleeps(world)
        return trio.current_time()

    assert simulate(scenario, seed=1, plan=[Hang("child", 2, 60.0)]).result == 61
    both = simulate(a_child_that_sleeps, seed=1, plan=[Hang("child", 2, 60.0), Hang("child", 2, 7.0)])
    assert (both.result, both.left) == (["1 s", "60 s", "1 s", "1 s"], ())


def test_a_named_place_of_the_seams_fails_at_the_call_that_was_named() -> None:
    async def scenario(world: World) -> list[str]:
        told = []
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            try:
                world.seams.fault("store.commit")
                told.append("ok")
            except SimulatedCrash as crash:
                told.append(str(crash))
        return told

    report = simulate(scenario, seed=1, plan=[FailAt("store.commit", 2), Crash("store.commit", 1)])
    assert report.result == ["ok", "on purpose: FailAt(site='store.commit', nth=2)", "ok"]
    assert report.fired == (FailAt("store.commit", 2),)


def test_an_injected_crash_that_comes_out_is_no_failure_but_what_comes_with_it_is() -> None:
    async def scenario(world: World) -> None:
        try:
            await trio.sleep(1)
        except SimulatedCrash as crash:
            if world.seed == 2:
                raise ExceptionGroup("both", [crash, ValueError("of its own")]) from None
            raise

    assert simulate(scenario, seed=1, plan=[Crash("scenario", 1)]).escaped
    with pytest.raises(SimulationFailed, match="of its own") as failed:
        simulate(scenario, seed=2, plan=[Crash("scenario", 1)])
    assert isinstance(failed.value.__cause__, ExceptionGroup)


# -- failures -------------------------------------------------------------------------------------


async def fails_after_a_crash(world: World) -> None:
    told = await a_child_that_sleeps(world)
    assert told == ["1 s"] * 4


def test_a_failure_says_how_to_have_it_again_and_that_does() -> None:
    plan = [Crash("child", 3)]
    with pytest.raises(SimulationFailed) as failed:
        simulate(fails_after_a_crash, seed="0x7f", plan=plan, schedule="priority")
    text = str(failed.value)
    assert text.startswith("AssertionError: ")
    assert "faults that had happened: Crash(site='child', nth=3)" in text
    assert "    3 " in text  # the time of the last steps
    again = text.rpartition("again: ")[2]
    with pytest.raises(SimulationFailed) as once_more:
        eval(
            again, {"simulate": simulate, "load_plan": load_plan, "fails_after_a_crash": fails_after_a_crash}
        )
    assert str(once_more.value) == text
    assert failed.value.report.fired == tuple(plan)


def test_a_deadlock_fails_with_the_tree_of_the_tasks_instead_of_hanging() -> None:
    async def scenario(world: World) -> None:
        left, right = trio.Lock(), trio.Lock()

        async def take(one: trio.Lock, other: trio.Lock) -> None:
            async with one:
                await trio.sleep(1)
                async with other:
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, left, right, name="first")
            nursery.start_soon(take, right, left, name="second")

    with pytest.raises(SimulationFailed) as failed:
        simulate(scenario, seed=1)
    assert isinstance(failed.value.__cause__, Deadlock)
    tree = str(failed.value.__cause__).splitlines()
    assert tree[0] == "no task can run, and no timer will change that:"
    assert tree[1].startswith("scenario: ")
    assert [line.split(":")[0] for line in tree[2:]] == ["    first", "    second"]
    assert f"take, {__file__}:" in tree[2]


def test_a_deadlock_behind_a_shield_fails_as_well() -> None:
    async def scenario(world: World) -> None:
        with trio.CancelScope(shield=True):
            await trio.Event().wait()

    with pytest.raises(SimulationFailed, match="no task can run"):
        simulate(scenario, seed=1)


def test_waiting_until_all_is_quiet_is_no_deadlock() -> None:
    async def scenario(world: World) -> str:
        event = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(event.wait)
            await trio.testing.wait_all_tasks_blocked(0.01)
            event.set()
        return "quiet"

    assert simulate(scenario, seed=1).result == "quiet"


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_run_that_takes_too_many_steps_fails_also_if_it_refuses_to_end(stubborn: bool) -> None:
    async def scenario(world: World) -> None:
        with trio.CancelScope(shield=True):
            while True:
                try:
                    await trio.lowlevel.checkpoint()
                except Exception:
                    if not stubborn:
                        raise

    with pytest.raises(SimulationFailed, match="100 steps were not enough") as failed:
        simulate(scenario, seed=1, steps_max=100)
    assert isinstance(failed.value.__cause__, StepLimit)
    assert simulate(a_child_that_sleeps, seed=1).result == ["1 s"] * 4  # nothing of it is left


def test_what_takes_too_many_steps_is_cancelled_first_and_has_room_for_its_clean_up() -> None:
    tidied: list[float] = []

    async def scenario(world: World) -> None:
        try:
            while True:  # noqa: ASYNC110  # steps without end are what is tested
                await trio.lowlevel.checkpoint()
        finally:
            with trio.CancelScope(shield=True):
                for _ in range(20):
                    await trio.sleep(1)
                tidied.append(trio.current_time())

    with pytest.raises(SimulationFailed, match="100 steps were not enough"):
        simulate(scenario, seed=1, steps_max=100)
    assert tidied == [20]


def test_no_garbage_is_collected_in_a_run_at_a_moment_that_no_seed_knows() -> None:
    async def scenario(world: World) -> bool:
        await trio.lowlevel.checkpoint()
        return gc.isenabled()

    assert gc.isenabled()
    assert simulate(scenario, seed=1).result is False
    assert gc.isenabled()


def test_an_instrument_that_was_taken_out_fails_the_run() -> None:
    async def scenario(world: World) -> None:
        from trouper.simulation.instruments import Watchdog

        await trio.sleep(1)
        runner: Any = trio.lowlevel.current_task()._runner
        for instrument in list(runner.instruments["_all"]):
            if isinstance(instrument, Watchdog):
                trio.lowlevel.remove_instrument(instrument)

    with pytest.raises(SimulationFailed, match="Watchdog raised") as failed:
        simulate(scenario, seed=1)
    assert isinstance(failed.value.__cause__, InstrumentLost)


def test_what_is_left_of_system_tasks_is_told() -> None:
    async def scenario(world: World) -> None:
        trio.lowlevel.spawn_system_task(trio.sleep_forever, name="left behind")
        await trio.sleep(1)

    assert simulate(scenario, seed=1).left == ("left behind",)
    assert simulate(a_child_that_sleeps, seed=1).left == ()


def test_an_interrupt_passes_through_a_simulation() -> None:
    async def scenario(world: World) -> None:
        await trio.sleep(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(scenario, seed=1)


def test_what_is_no_plan_is_refused_before_anything_runs() -> None:
    with pytest.raises(BadPlan, match="a plan has faults"):
        simulate(three_names, seed=1, plan=["crash"])  # type: ignore[list-item]
    with pytest.raises(BadPlan, match="steps_max=0"):
        simulate(three_names, seed=1, steps_max=0)
