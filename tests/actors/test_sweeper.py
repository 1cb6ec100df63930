"""The deadlines of asks: kept by one task, which is gone when nobody needs it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trouper.actors.ask import ReplySlot
from trouper.actors.errors import AskTimeout
from trouper.actors.sweeper import Sweeper, sweeper


async def outcome_of(slot: ReplySlot[str], log: list[tuple[float, str]]) -> None:
    began = trio.current_time()
    try:
        said = await slot.wait()
    except AskTimeout:
        said = "timed out"
    log.append((trio.current_time() - began, said))


async def test_each_slot_is_told_at_its_own_deadline_also_if_a_later_ask_has_an_earlier_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log: list[tuple[float, str]] = []
    async with trio.open_nursery() as nursery:
        for after_s in (5.0, 1.0, 3.0):
            slot: ReplySlot[str] = ReplySlot()
            nursery.start_soon(outcome_of, slot, log)
            sweeper().add(slot, trio.current_time() + after_s)
            await trio.testing.wait_all_tasks_blocked()
    assert log == [(1.0, "timed out"), (3.0, "timed out"), (5.0, "timed out")]


async def test_an_answer_in_time_wins_and_one_that_is_late_is_not_wanted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    in_time: ReplySlot[str] = ReplySlot()
    late: ReplySlot[str] = ReplySlot()
    sweeper().add(in_time, trio.current_time() + 1)
    sweeper().add(late, trio.current_time() + 1)
    assert in_time.succeed("here")
    await trio.sleep(2)
    assert not late.succeed("too late")
    assert await in_time.wait() == "here"
    with pytest.raises(AskTimeout):
        await late.wait()


async def test_a_deadline_that_has_passed_already_is_kept_in_the_next_step(
    autojump_clock: trio.testing.MockClock,
) -> None:
    await trio.sleep(10)
    slot: ReplySlot[str] = ReplySlot()
    sweeper().add(slot, 1.0)
    with trio.fail_after(0.5), pytest.raises(AskTimeout):
        await slot.wait()


async def test_answered_asks_are_thrown_out_long_before_their_deadline() -> None:
    each = Sweeper()
    for _ in range(10_000):
        slot: ReplySlot[str] = ReplySlot()
        each.add(slot, trio.current_time() + 3600)
        slot.succeed("at once")
    assert len(each._heap) <= 100
    await each.rest()


async def test_no_task_is_left_once_nothing_is_open(autojump_clock: trio.testing.MockClock) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    open_one: ReplySlot[str] = ReplySlot()
    sweeper().add(open_one, trio.current_time() + 10)
    await sweeper().rest()
    assert trio.lowlevel.current_statistics().tasks_living == before + 1, "one ask is still open"
    open_one.succeed("now")
    await sweeper().rest()
    assert trio.lowlevel.current_statistics().tasks_living == before
    again: ReplySlot[str] = ReplySlot()
    sweeper().add(again, trio.current_time() + 10)
    with pytest.raises(AskTimeout):
        await again.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before, "it ends by itself as well"
