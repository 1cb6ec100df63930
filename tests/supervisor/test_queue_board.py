"""Sessions see the places of their waiting jobs in the queue, the latest only."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.supervisor.support import Open, echo, forever, slow_seams
from trouper.actors.channel import SubscriberChannel
from trouper.actors.channel_items import PlacesItem

pytestmark = pytest.mark.clause("J4", "N3")

ONE = trouper.RuntimeOptions(max_running=1)


def taken(channel: SubscriberChannel) -> list[dict[str, int]]:
    """What it was told of places since the last time."""
    return [dict(item.places) for item in channel.take(1 << 16) if isinstance(item, PlacesItem)]


async def test_a_session_hears_of_its_jobs_moving_up_and_of_the_end(
    opened: Open, autojump_clock: MockClock
) -> None:
    async with (
        opened(forever, options=ONE, seams=slow_seams()) as runtime,
        runtime.open_session("ada") as ada,
        runtime.open_session("eve") as eve,
    ):
        running = [await runtime.submit(forever.call(), user="bob") for _ in range(2)]
        jobs = [await runtime.submit(forever.call(), user="ada") for _ in range(2)]
        await trio.sleep(3)
        first, second = (job.id for job in jobs)
        assert taken(ada)[-1:] == [{first: 1, second: 3}]
        await runtime.cancel(running[1].id)
        await trio.sleep(2)
        assert taken(ada) == [{first: 1, second: 2}]
        await runtime.cancel(running[0].id)
        await trio.sleep(8)
        assert taken(ada) == [{second: 1}]
        await runtime.cancel(second)
        await trio.sleep(2)
        assert taken(ada) == [{}]
        await trio.sleep(30)
        assert taken(ada) == []
        assert taken(eve) == [], "of others nobody hears, and who waits for nothing hears nothing"


async def test_a_session_that_comes_later_hears_of_the_places_without_a_commit(
    opened: Open, autojump_clock: MockClock
) -> None:
    async with opened(forever, options=ONE, seams=slow_seams()) as runtime:
        jobs = [await runtime.submit(forever.call(), user="ada") for _ in range(2)]
        await trio.sleep(30)
        async with runtime.open_session("ada") as channel:
            assert taken(channel) == []
            await trio.sleep(2)
            assert taken(channel) == [{jobs[1].id: 1}]


async def test_places_that_nobody_took_are_told_as_one(opened: Open, autojump_clock: MockClock) -> None:
    async with (
        opened(forever, options=ONE, seams=slow_seams()) as runtime,
        runtime.open_session("ada") as channel,
    ):
        woken: list[float] = []
        channel.on_ready = lambda: woken.append(trio.current_time())
        jobs = []
        for _ in range(30):
            jobs.append(await runtime.submit(forever.call(), user="ada"))
            await trio.sleep(0.2)
        await trio.sleep(2)
        assert channel.pending
        (places,) = taken(channel)
        assert places == {job.id: place for place, job in enumerate(jobs[1:21], 1)}, "20 of them"


class Counting:
    """The store, counting how often it is asked for places."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.asked = 0
        self.down = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def queue_places(self, *args: Any, **bounds: Any) -> Any:
        self.asked += 1
        if self.down:
            raise trouper.StoreUnavailable("the disk is full")
        return await self._store.queue_places(*args, **bounds)


async def test_places_are_read_at_most_once_in_their_interval_and_not_while_nothing_moves(
    opened: Open, autojump_clock: MockClock
) -> None:
    async with opened(echo, options=ONE, seams=slow_seams()) as runtime:
        board = runtime._tree.audience.board
        counting: Any = Counting(board._store)
        board._store = counting
        for _ in range(200):
            await runtime.submit(echo.call(text="a"), user="ada")
            await trio.sleep(0.05)
        assert 5 <= counting.asked <= 12
        await trio.sleep(5)
        asked = counting.asked
        await trio.sleep(600)
        assert counting.asked == asked


@pytest.mark.clause("E1")
async def test_places_are_told_again_when_the_store_is_up_again(
    opened: Open, autojump_clock: MockClock
) -> None:
    async with (
        opened(forever, options=ONE, seams=slow_seams()) as runtime,
        runtime.open_session("ada") as channel,
    ):
        board = runtime._tree.audience.board
        counting: Any = Counting(board._store)
        board._store = counting
        counting.down = True
        jobs = [await runtime.submit(forever.call(), user="ada") for _ in range(2)]
        await trio.sleep(5)
        assert taken(channel) == []
        counting.down = False
        await trio.sleep(2)
        assert taken(channel) == [{jobs[1].id: 1}]
