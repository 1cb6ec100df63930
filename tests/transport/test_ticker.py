"""The ticker and the alarms on a virtual clock: at once after silence, then once per tick."""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from trouper.transport.alarms import Alarms
from trouper.transport.options import GatewayOptions
from trouper.transport.ticker import NEVER, Ticker

TICK = GatewayOptions().tick_s


class Member:
    """Sends what is due, and notes when."""

    def __init__(self, coalesce_s: float | None = None) -> None:
        self.at: list[float] = []
        self.looks: list[float] = []
        self.due = False
        self.due_tick = NEVER
        self.flushed_at = -math.inf
        self.asked = coalesce_s

    @property
    def coalesce_s(self) -> float | None:
        return self.asked

    @property
    def window_s(self) -> float | None:
        return self.asked

    def mark(self, ticker: Ticker, *, urgent: bool = False) -> None:
        self.due = True
        ticker.mark(self, urgent=urgent)

    def flush(self) -> bool:
        self.looks.append(trio.current_time())
        if not self.due:
            return False
        self.due = False
        self.at.append(trio.current_time())
        return True


async def running(ticker: Ticker, script: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ticker.run)
        await script()
        nursery.cancel_scope.cancel()


@pytest.mark.clause("O5")
async def test_the_first_after_silence_goes_at_once_then_once_per_tick(autojump_clock: MockClock) -> None:
    ticker, member = Ticker(TICK, 0.1), Member()

    async def script() -> None:
        await trio.sleep(0.010)
        began = trio.current_time()
        for _ in range(50):  # something is due every 2 ms, for 100 ms
            member.mark(ticker)
            await trio.sleep(0.002)
        await trio.sleep(1)
        assert member.at[0] == began
        assert 4 <= len(member.at) - 1 <= 5
        gaps = [after - before for before, after in zip(member.at[1:], member.at[2:], strict=False)]
        assert gaps == pytest.approx([0.025] * len(gaps))
        member.mark(ticker)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert member.at[-1] == trio.current_time()  # silence again: at once

    await running(ticker, script)


@pytest.mark.clause("O5")
async def test_sessions_that_are_busy_go_in_the_same_tick(autojump_clock: MockClock) -> None:
    ticker = Ticker(TICK, 0.1)
    members = [Member() for _ in range(200)]

    async def script() -> None:
        for index, member in enumerate(members):
            member.mark(ticker)
            if index % 20 == 0:
                await trio.sleep(0.001)
        await trio.sleep(0.001)
        for member in members:
            member.mark(ticker)
        await trio.sleep(1)
        assert len({member.at[1] for member in members}) == 1
        assert ticker.statistics().ticks == 1

    await running(ticker, script)


@pytest.mark.clause("O5")
@pytest.mark.parametrize(("asked", "after_s"), [(None, 0.015), (0.1, 0.09), (0.0, 0.0)])
async def test_who_was_sent_something_is_looked_at_once_more_when_its_window_ends(
    autojump_clock: MockClock, asked: float | None, after_s: float
) -> None:
    ticker, member = Ticker(TICK, 0.1), Member(asked)

    async def script() -> None:
        await trio.sleep(0.01 - trio.current_time() % 0.1)
        member.mark(ticker)
        await trio.sleep(1)
        assert len(member.at) == 1
        assert member.looks == [member.at[0], pytest.approx(member.at[0] + after_s)]
        assert ticker.statistics().waiting == 0

    await running(ticker, script)


@pytest.mark.clause("O5")
async def test_who_grows_without_a_word_is_sent_it_once_per_tick(autojump_clock: MockClock) -> None:
    ticker, member = Ticker(TICK, 0.1), Member()

    async def script() -> None:
        member.mark(ticker)
        for _ in range(50):  # something comes every 2 ms, for 100 ms, and nobody says so
            await trio.sleep(0.002)
            member.due = True
        assert 4 <= len(member.at) <= 5
        await trio.sleep(1)
        assert len(member.looks) == len(member.at) + 1

    await running(ticker, script)


@pytest.mark.clause("O5")
async def test_what_comes_at_the_very_moment_that_a_window_ends_goes_with_it(
    autojump_clock: MockClock,
) -> None:
    ticker, member = Ticker(TICK, 0.1), Member()

    async def script() -> None:
        member.mark(ticker)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(30):  # whoever of the two wakes first: that is chance
            await trio.sleep_until(member.due_tick * TICK)
            member.due = True
            came = trio.current_time()
            await trio.testing.wait_all_tasks_blocked()
            assert member.at[-1] == came

    await running(ticker, script)


@pytest.mark.clause("O5")
async def test_who_is_marked_while_others_have_their_turn_has_one_turn(autojump_clock: MockClock) -> None:
    ticker, first, last = Ticker(TICK, 0.1), Member(), Member()

    def flush() -> bool:
        if len(last.at) == 1:  # its turn has come with this one's, and is not over
            last.mark(ticker)
        return Member.flush(first)

    first.flush = flush  # type: ignore[method-assign]

    async def script() -> None:
        first.mark(ticker)
        last.mark(ticker)
        await trio.sleep(1)
        assert len(last.at) == 2
        assert len(last.looks) == 3
        assert ticker.statistics().waiting == 0

    await running(ticker, script)


async def test_what_changes_in_one_step_goes_in_one_flush(autojump_clock: MockClock) -> None:
    ticker, member = Ticker(TICK, 0.1), Member()

    async def script() -> None:
        for _ in range(10):
            member.mark(ticker)
        await trio.sleep(1)
        assert len(member.at) == 1

    await running(ticker, script)


async def test_the_rest_of_a_full_message_does_not_wait_for_the_tick(autojump_clock: MockClock) -> None:
    ticker, member = Ticker(TICK, 0.1), Member()

    async def script() -> None:
        member.mark(ticker)
        await trio.sleep(0.001)
        member.mark(ticker)
        member.mark(ticker, urgent=True)
        await trio.sleep(1)
        assert len(member.at) == 2
        assert member.at[1] - member.at[0] == pytest.approx(0.001)

    await running(ticker, script)


async def test_a_member_that_is_forgotten_is_not_flushed_and_leaves_nothing(
    autojump_clock: MockClock,
) -> None:
    ticker, member, other = Ticker(TICK, 0.1), Member(), Member()

    async def script() -> None:
        other.mark(ticker)
        member.mark(ticker)
        ticker.forget(member)
        await trio.sleep(1)
        assert not member.at
        assert len(other.at) == 1
        assert ticker.statistics().waiting == 0

    await running(ticker, script)


async def test_a_flush_that_had_nothing_to_send_starts_no_tick(autojump_clock: MockClock) -> None:
    ticker, member = Ticker(TICK, 0.1), Member()

    async def script() -> None:
        ticker.mark(member)
        await trio.sleep(0.001)
        marked = trio.current_time()
        member.mark(ticker)
        await trio.sleep(1)
        assert member.at == [marked]

    await running(ticker, script)


class Slow(Member):
    """A flush that takes its time, on the virtual clock."""

    def __init__(self, clock: MockClock, takes_s: float) -> None:
        super().__init__()
        self._clock = clock
        self._takes_s = takes_s

    def flush(self) -> bool:
        if self.due:
            self._clock.jump(self._takes_s)
        return super().flush()


@pytest.mark.parametrize(("takes_s", "tick_s"), [(0.001, TICK), (0.015, 0.06), (0.5, 0.1)])
async def test_a_tick_is_stretched_when_flushing_takes_more_than_a_quarter(
    mock_clock: MockClock, takes_s: float, tick_s: float
) -> None:
    ticker = Ticker(TICK, 0.1)
    slow = Slow(mock_clock, takes_s)

    async def script() -> None:
        slow.mark(ticker)
        await trio.testing.wait_all_tasks_blocked()
        assert ticker.statistics().tick_s == pytest.approx(tick_s)

    await running(ticker, script)


async def test_what_others_take_while_sessions_are_flushed_stretches_no_tick(mock_clock: MockClock) -> None:
    ticker, members = Ticker(TICK, 0.1), [Member() for _ in range(1000)]

    async def script() -> None:
        for member in members:
            member.mark(ticker)
        while not all(member.at for member in members):
            mock_clock.jump(0.05)
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert ticker.statistics().flushes == len(members)
        assert ticker.statistics().tick_s == TICK

    await running(ticker, script)


@pytest.mark.parametrize(("theirs_s", "rounds", "most"), [(0.0, range(14, 20), 128), (1.0, range(2, 9), 768)])
async def test_who_shares_the_loop_with_others_has_a_quarter_of_the_time(
    mock_clock: MockClock, theirs_s: float, rounds: range, most: int
) -> None:
    ticker, members = Ticker(TICK, 0.1), [Slow(mock_clock, 0.001) for _ in range(1000)]
    flushed: list[int] = []

    async def script() -> None:
        for member in members:
            member.mark(ticker)
        while not flushed or flushed[-1] < len(members):
            mock_clock.jump(theirs_s)
            await trio.lowlevel.checkpoint()
            flushed.append(sum(bool(member.at) for member in members))
        # (In a round it is chance who is first: so one may have two turns before the other has its next.)
        assert len(flushed) in rounds
        assert max(after - before for before, after in itertools.pairwise([0, *flushed])) <= most

    await running(ticker, script)


@pytest.mark.clause("O5")
@pytest.mark.parametrize(("coalesce_s", "times"), [(0.0, 50), (0.1, 6), (0.5, 2)])
async def test_a_member_that_asked_for_a_window_of_its_own_gets_it(
    autojump_clock: MockClock, coalesce_s: float, times: int
) -> None:
    ticker, member, other = Ticker(TICK, 0.1), Member(coalesce_s), Member()

    async def script() -> None:
        began = trio.current_time()
        for _ in range(50):  # something is due every 10 ms, for half a second
            member.mark(ticker)
            other.mark(ticker)
            await trio.sleep(0.010)
        await trio.sleep(1)
        assert member.at[0] == began
        assert abs(len(member.at) - times) <= 1
        assert len(other.at) == pytest.approx(21, abs=2)
        assert len(set(member.at) - set(other.at)) <= (0 if coalesce_s else 50)  # one grid: no more wake-ups

    await running(ticker, script)


@pytest.mark.clause("O5")
async def test_a_window_that_is_made_shorter_ends_what_waits_sooner(autojump_clock: MockClock) -> None:
    ticker, member = Ticker(TICK, 0.1), Member(0.5)

    async def script() -> None:
        began = trio.current_time()
        member.mark(ticker)
        await trio.sleep(0.001)
        member.mark(ticker)
        await trio.sleep(0.001)
        member.asked = None
        member.mark(ticker)
        await trio.sleep(1)
        assert len(member.at) == 2
        assert member.at[1] - began <= TICK

    await running(ticker, script)


async def test_a_stretched_tick_holds_for_who_asked_for_none_too(mock_clock: MockClock) -> None:
    ticker, slow, eager = Ticker(TICK, 0.1), Slow(mock_clock, 0.05), Member(0.0)

    async def script() -> None:
        slow.mark(ticker)
        eager.mark(ticker)
        await trio.testing.wait_all_tasks_blocked()
        eager.mark(ticker)
        await trio.testing.wait_all_tasks_blocked()
        assert len(eager.at) == 1
        mock_clock.jump(0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert len(eager.at) == 2

    await running(ticker, script)


async def test_alarms_ring_in_order_and_again_when_they_say_so(autojump_clock: MockClock) -> None:
    alarms = Alarms()
    rang: list[tuple[str, float]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        began = trio.current_time()

        def twice() -> float | None:
            rang.append(("twice", trio.current_time() - began))
            return trio.current_time() + 10 if len(rang) < 3 else None

        def once() -> None:
            rang.append(("once", trio.current_time() - began))

        alarms.at(began + 25, twice)
        await trio.sleep(1)
        alarms.at(began + 5, once)  # earlier than the one that is waited for
        unwanted = [alarms.at(began + 7 + number / 10, once) for number in range(500)]
        for alarm in [*unwanted, *unwanted]:
            alarms.cancel(alarm)
        assert len(alarms) < 100, "what is cancelled goes soon"
        await trio.sleep(100)
        assert rang == [("once", 5), ("twice", 25), ("twice", 35)]
        assert len(alarms) == 0
        nursery.cancel_scope.cancel()
