"""One task for the clocks of all connections."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from trouper.transport.alarms import Alarms


async def test_alarms_are_called_in_time_and_many_in_one_wake_up(autojump_clock: MockClock) -> None:
    called: list[tuple[float, float]] = []
    alarms = Alarms()

    def noting(due: float) -> None:
        called.append((due, trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        for number in range(1000):
            due = 1 + number / 1000
            alarms.at(due, lambda due=due: noting(due))  # type: ignore[misc]
        await trio.sleep(3)
        nursery.cancel_scope.cancel()
    assert [due for due, _ in called] == sorted(due for due, _ in called)
    assert len(called) == 1000
    assert all(0 <= at - due < 0.02 for due, at in called)
    assert len({at for _, at in called}) <= 65


async def test_an_alarm_that_is_cancelled_is_not_called_and_one_that_says_when_comes_again(
    autojump_clock: MockClock,
) -> None:
    times: list[float] = []
    alarms = Alarms()

    def again() -> float | None:
        times.append(trio.current_time())
        return trio.current_time() + 1 if len(times) < 3 else None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        began = trio.current_time()
        alarms.at(began + 1, again)
        gone = alarms.at(began + 1, lambda: times.append(-1.0))
        alarms.cancel(gone)
        alarms.cancel(gone)
        await trio.sleep(10)
        assert len(alarms) == 0
        nursery.cancel_scope.cancel()
    assert [round(time - began) for time in times] == [1, 2, 3]
