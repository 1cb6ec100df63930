"""One task that flushes every session of a gateway.

What comes after silence is flushed at once; what follows goes once per window: the gateway's tick, or
what the session asked for. The alternative, a timer for each session, costs a wake-up of 28 to 46 µs for
each of them; here one wake-up serves all that are due, since windows are multiples of the tick on one
grid. Sessions only *mark* themselves, so what changes in one step goes out in one message.

Who was sent something is looked at again when its window ends, without having marked itself: what is written
goes on being written, and to mark a session for each entry costs more than to look in vain once.
"""

from __future__ import annotations

import math
import sys
from typing import Protocol

import attrs
import trio

_MEMBERS_PER_CHECKPOINT = 64
_NOW = -1
NEVER = sys.maxsize


class Flushable(Protocol):
    """A session as the ticker sees it, and what the ticker notes on it."""

    due_tick: int
    """The tick that it waits for, counted from the clock's zero; at first ``NEVER``."""
    flushed_at: float
    """When it was last sent something; at first minus infinity."""

    @property
    def coalesce_s(self) -> float | None:
        """For how many seconds what is due now may wait for more, 0: not at all; None: the gateway's tick."""
        ...

    @property
    def window_s(self) -> float | None:
        """The same of output that is still to come."""
        ...

    def flush(self) -> bool:
        """Send what is due, without waiting. Whether anything was. Never raises."""
        ...


@attrs.frozen
class TickerStatistics:
    """Flushes so far, ticks in which there were some, sessions that wait now, and the present tick in
    seconds."""

    flushes: int
    ticks: int
    waiting: int
    tick_s: float


class Ticker:
    """``tick_s``: the window of a busy session that asked for none; ``max_tick_s``: the longest that it
    is stretched to when flushing takes more than a quarter of it."""

    def __init__(self, tick_s: float, max_tick_s: float) -> None:
        self._base_s = tick_s
        self._max_s = max(tick_s, max_tick_s)
        self._tick_s = tick_s
        self._now: dict[Flushable, None] = {}
        self._waiting: dict[int, dict[Flushable, None]] = {}
        """Who waits, by tick: a few keys, since windows end together."""
        self._wake = trio.Event()
        self._ticks = 0
        self._flushes = 0

    def mark(self, member: Flushable, *, urgent: bool = False) -> None:
        """``member`` has something to send: now if it was silent for its window or is ``urgent`` (the
        rest of what did not fit into its last message), else when its window ends. Marked again, it
        goes at the earlier of the two times."""
        if member.due_tick == _NOW:
            return
        window = self._stretched(member.coalesce_s)
        now = trio.current_time()
        if not urgent and now - member.flushed_at < window:
            tick = self._end_of(window, now)
            if tick < member.due_tick:
                self._leave(member)
                if not self._waiting or tick < min(self._waiting):
                    self._wake.set()
                self._wait(member, tick)
            return
        self._leave(member)
        self._hurry(member)
        self._wake.set()

    def _stretched(self, asked: float | None) -> float:
        if asked is None:
            return self._tick_s
        # When flushing takes its time, nobody is served more often than that allows.
        return max(asked, self._tick_s) if self._tick_s > self._base_s else asked

    def _end_of(self, window: float, now: float) -> int:
        ticks = max(1, math.ceil(window / self._base_s))
        return (math.floor(now / self._base_s / ticks) + 1) * ticks

    def _wait(self, member: Flushable, tick: int) -> None:
        member.due_tick = tick
        waiting = self._waiting.get(tick)
        if waiting is None:
            waiting = self._waiting[tick] = {}
        waiting[member] = None

    def _hurry(self, member: Flushable) -> None:
        member.due_tick = _NOW
        self._now[member] = None

    def _leave(self, member: Flushable) -> None:
        waiting = self._waiting.get(member.due_tick)
        if waiting is not None:  # else it waits for nothing, or its tick has come
            waiting.pop(member, None)
            if not waiting:
                del self._waiting[member.due_tick]
        member.due_tick = NEVER

    def forget(self, member: Flushable) -> None:
        """``member`` is at its end."""
        self._now.pop(member, None)
        self._leave(member)

    async def run(self) -> None:
        """Flush for ever. **Cancellation**: between two flushes; nothing is lost, nothing more goes."""
        while True:
            if not self._now:
                deadline = min(self._waiting) * self._base_s if self._waiting else math.inf
                with trio.CancelScope(deadline=deadline) as sleep:
                    await self._wake.wait()
                self._wake = trio.Event()
                if sleep.cancelled_caught:  # what a commit of the same moment brings goes along
                    await trio.lowlevel.checkpoint()
            await self._flush_all(tick=self._take_due())

    def _take_due(self) -> bool:
        """Whether a window has ended; its members are to go now."""
        now = trio.current_time()
        due = [tick for tick in self._waiting if tick * self._base_s <= now]
        for tick in due:
            members = self._waiting.pop(tick)
            for member in members:
                member.due_tick = _NOW  # or who is marked before its turn would have two
            self._now.update(members)
        return bool(due)

    async def _flush_all(self, *, tick: bool) -> None:
        started = turn = trio.current_time()
        others_s = took = 0.0
        batch, self._now = self._now, {}
        flushes = self._flushes
        ends: dict[float | None, int] = {}
        for index, member in enumerate(batch, 1):
            member.due_tick = NEVER
            if member.flush():
                self._flushes += 1
                member.flushed_at = started
                if member.due_tick == NEVER:
                    window = member.window_s
                    end = ends.get(window)
                    if end is None:
                        end = ends[window] = self._next_look(window, started)
                    self._hurry(member) if end == _NOW else self._wait(member, end)
            # A quarter of the time, while others have their turns. To give way after so many flushes alone is
            # to have one turn in a thousand where a thousand jobs write, and to be late by as many rounds; to
            # take half of the time is to hold up what is written, for messages with less in them.
            if index % _MEMBERS_PER_CHECKPOINT == 0 and 3 * ((now := trio.current_time()) - turn) >= others_s:
                await trio.lowlevel.checkpoint()
                took += now - turn
                turn = trio.current_time()
                others_s = turn - now
        took += trio.current_time() - turn
        # Those that go at once, and looks in vain, say little of what a tick costs: they only stretch it.
        tick = tick and self._flushes > flushes
        self._ticks += tick
        self._tick_s = min(self._max_s, max(self._base_s if tick else self._tick_s, 4 * took))
        await trio.lowlevel.checkpoint()

    def _next_look(self, asked: float | None, flushed_at: float) -> int:
        """The tick in which who was sent something then is looked at again."""
        window = self._stretched(asked)
        # One that is shorter than the tick cannot wait for the next one of the grid.
        return _NOW if window < self._base_s else self._end_of(window, flushed_at)

    def statistics(self) -> TickerStatistics:
        waiting = len(self._now) + sum(map(len, self._waiting.values()))
        return TickerStatistics(self._flushes, self._ticks, waiting, self._tick_s)
