"""What a simulation does not have is refused by name, instead of being passed by in virtual time."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import pytest
import trio

from trouper.simulation import (
    BadPlan,
    NotSimulated,
    ReplayDiverged,
    SimulationFailed,
    World,
    simulate,
)


async def a_thread(_world: World) -> None:
    """Under a time-out that virtual time would come to at once."""
    with trio.move_on_after(60):
        await trio.to_thread.run_sync(threading.Event().wait, 0.05, abandon_on_cancel=True)


async def a_socket(_world: World) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        with trio.move_on_after(60):
            await listener.accept()


@pytest.mark.parametrize("scenario", [a_thread, a_socket])
def test_who_waits_for_what_is_outside_is_told_so_and_where(
    scenario: Callable[[World], Awaitable[None]],
) -> None:
    what = "a thread" if scenario is a_thread else "a socket, a pipe or a process"
    with pytest.raises(SimulationFailed, match=f"a task waits for {what}") as failed:
        simulate(scenario, seed=1)
    assert isinstance(failed.value.__cause__, NotSimulated)
    assert f"scenario: {scenario.__name__}, {__file__}" in str(failed.value)


def test_another_run_of_trio_in_a_thread_changes_nothing_of_a_simulation() -> None:
    async def steps() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(trio.sleep, 0)

    async def scenario(_world: World) -> None:
        if beside:
            other = threading.Thread(target=trio.run, args=(steps,))
            other.start()
            other.join()
        await steps()

    beside = False
    alone = simulate(scenario, seed=1)
    beside = True
    assert simulate(scenario, seed=1).trace_hash == alone.trace_hash


def test_a_simulation_inside_of_a_run_of_trio_is_refused_before_anything_runs() -> None:
    async def scenario(_world: World) -> None:
        raise AssertionError("it must not run")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="trio runs here already"):
            simulate(scenario, seed=1)

    trio.run(main)


def test_a_program_whose_batches_have_the_same_sizes_is_not_taken_for_the_recorded_one() -> None:
    def sleeps(factor: int) -> Callable[[World], Awaitable[None]]:
        async def scenario(_world: World) -> None:
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(trio.sleep, number * factor)

        return scenario

    schedule = simulate(sleeps(1), seed=1).schedule
    simulate(sleeps(1), seed=2, schedule=schedule)
    with pytest.raises(SimulationFailed, match="the run took other steps than the recorded one") as failed:
        simulate(sleeps(2), seed=1, schedule=schedule)
    assert isinstance(failed.value.__cause__, ReplayDiverged)


async def one_that_a_thread_wakes(_world: World) -> None:
    heard: list[str] = []
    token = trio.lowlevel.current_trio_token()

    def send() -> None:
        with pytest.raises(NotSimulated, match="thread 'stranger' sent something into the run"):
            token.run_sync_soon(heard.append, "from outside")

    stranger = threading.Thread(target=send, name="stranger")
    stranger.start()
    stranger.join()
    token.run_sync_soon(heard.append, "from inside")
    await trio.sleep(1)
    assert heard == ["from inside"]


def test_what_another_thread_sends_into_a_run_is_refused_there_and_fails_the_run() -> None:
    with pytest.raises(SimulationFailed, match="thread 'stranger' sent something") as failed:
        simulate(one_that_a_thread_wakes, seed=1)
    assert isinstance(failed.value.__cause__, NotSimulated)
    assert failed.value.report.virtual_s == 1


def test_a_seed_that_no_other_process_has_again_is_refused() -> None:
    for seed in (object(), [lambda: 1], one_that_a_thread_wakes):
        with pytest.raises(BadPlan, match=r"seed=.* at 0x.*: legal is what has the same repr"):
            simulate(one_that_a_thread_wakes, seed=seed)
