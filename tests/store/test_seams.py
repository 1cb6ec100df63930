"""The store's own thread: in order, waited for, and left behind when it does not come back."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from trouper.store.seams import NamedThread, ThreadAbandoned


def the_thread(name: str) -> threading.Thread | None:
    return next((thread for thread in threading.enumerate() if thread.name == name), None)


async def test_calls_run_in_order_on_a_thread_that_is_joined_at_the_end() -> None:
    thread = NamedThread("in order")
    ran: list[tuple[int, str]] = []

    async def one(number: int) -> None:
        assert await thread.run(lambda: number) == number
        await thread.run(lambda: ran.append((number, threading.current_thread().name)))

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(one, number)
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    await thread.aclose()
    assert sorted(ran) == [(number, "in order") for number in range(3)]
    assert the_thread("in order") is None
    await thread.aclose()


@pytest.mark.clause("S5")
async def test_a_thread_that_is_abandoned_lets_its_callers_go_and_ends_when_its_call_returns() -> None:
    thread, gate, entered = NamedThread("left"), threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()
    told: list[str] = []
    ran: list[str] = []

    def hang() -> None:
        token.run_sync_soon(entered.set)
        gate.wait()
        ran.append("the call")

    async def caller(what: str) -> None:
        with pytest.raises(ThreadAbandoned):
            await thread.run(hang if what == "under way" else lambda: ran.append("behind it"))
        told.append(what)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller, "under way")
        await entered.wait()
        nursery.start_soon(caller, "behind it")
        await trio.testing.wait_all_tasks_blocked()
        thread.abandon(lambda: ran.append(f"then, on {threading.current_thread().name}"))
    assert sorted(told) == ["behind it", "under way"]
    await thread.aclose()  # which waits for nothing
    await caller("afterwards")
    left = the_thread("left")
    assert left is not None
    assert left.daemon, "it keeps no process from ending"
    assert ran == []
    gate.set()
    left.join()
    assert ran == ["the call", "then, on left"]


@pytest.mark.clause("S5")
async def test_who_closes_a_thread_that_is_abandoned_meanwhile_waits_no_longer() -> None:
    """As when what hung returns just as its time is over: nothing is left then, and no error."""
    thread, gate, entered = NamedThread("closing"), threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def hang() -> None:
        token.run_sync_soon(entered.set)
        gate.wait()

    async def caller() -> None:
        with pytest.raises(ThreadAbandoned):
            await thread.run(hang)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await entered.wait()
        nursery.start_soon(thread.aclose)
        await trio.testing.wait_all_tasks_blocked()
        thread.abandon(lambda: None)
    left = the_thread("closing")
    gate.set()
    assert left is not None
    left.join()


@pytest.mark.clause("S5")
def test_a_thread_that_comes_back_when_the_loop_is_gone_still_lets_go_of_what_it_holds() -> None:
    gate = threading.Event()
    ran: list[str] = []

    async def main() -> threading.Thread:
        thread, entered = NamedThread("late"), trio.Event()
        token = trio.lowlevel.current_trio_token()

        def hang() -> None:
            token.run_sync_soon(entered.set)
            gate.wait()

        async def caller() -> None:
            with pytest.raises(ThreadAbandoned):
                await thread.run(hang)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await entered.wait()
            thread.abandon(lambda: ran.append("let go"))
        left = the_thread("late")
        assert left is not None
        return left

    left = trio.run(main)
    gate.set()
    left.join()
    assert ran == ["let go"]
