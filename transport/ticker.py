"""One task that flushes every session of a gateway.

What comes after silence is flushed at once; what follows goes once per tick. The alternative, a timer
for each session, costs a wake-up of 28 to 46 µs for each of them; here one wake-up serves all that are
due. Sessions only *mark* themselves, so what changes in one step goes out in one message.
"""

from __future__ import annotations

import math
from typing import Protocol

import attrs
import trio

_MEMBERS_PER_CHECKPOINT = 64


class Flushable(Protocol):
    """A session as the ticker sees it."""

    def flush(self) -> bool:
        """Send what is due, without waiting. Whether anything was. Never raises."""
        ...


@attrs.frozen
class TickerStatistics:
    """Flushes and ticks so far, sessions that wait now, and the present tick in seconds."""

    flushes: int
    ticks: int
    waiting: int
    tick_s: float


class Ticker:
    """``tick_s``: the window of a busy session; ``max_tick_s``: the longest that it is stretched to."""

    def __init__(self, tick_s: float, max_tick_s: float) -> None:
        self._base_s = tick_s
        self._max_s = max(tick_s, max_tick_s)
        self._tick_s = tick_s
        self._next_tick = 0.0
        self._now: dict[Flushable, None] = {}
        self._later: dict[Flushable, None] = {}
        self._flushed_at: dict[Flushable, float] = {}
        self._wake = trio.Event()
        self._ticks = 0
        self._flushes = 0

    def mark(self, member: Flushable, *, urgent: bool = False) -> None:
        """``member`` has something to send: now if it was silent for a tick or is ``urgent`` (the
        rest of what did not fit into its last message), else at the next tick."""
        if member in self._now:
            return
        if not urgent and trio.current_time() - self._flushed_at.get(member, -math.inf) < self._tick_s:
            if not self._later:
                # The grid is the clock's, so all sessions that are busy go in one wake-up.
                self._next_tick = (math.floor(trio.current_time() / self._tick_s) + 1) * self._tick_s
                self._wake.set()
            self._later[member] = None
            return
        self._later.pop(member, None)
        self._now[member] = None
        self._wake.set()

    def forget(self, member: Flushable) -> None:
        """``member`` is at its end."""
        self._now.pop(member, None)
        self._later.pop(member, None)
        self._flushed_at.pop(member, None)

    async def run(self) -> None:
        """Flush for ever. **Cancellation**: between two flushes; nothing is lost, nothing more goes."""
        while True:
            if not self._now:
                with trio.CancelScope(deadline=self._next_tick if self._later else math.inf):
                    await self._wake.wait()
                self._wake = trio.Event()
            tick = bool(self._later) and trio.current_time() >= self._next_tick
            if tick:
                self._now.update(self._later)
                self._later.clear()
                self._ticks += 1
            await self._flush_all(tick)

    async def _flush_all(self, tick: bool) -> None:
        started = trio.current_time()
        batch, self._now = self._now, {}
        for index, member in enumerate(batch, 1):
            if member.flush():
                self._flushes += 1
                self._flushed_at[member] = started
            if index % _MEMBERS_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
        took = trio.current_time() - started
        # A few that go at once say little of what a tick costs: they stretch it, and never shorten it.
        self._tick_s = min(self._max_s, max(self._base_s if tick else self._tick_s, 4 * took))
        await trio.lowlevel.checkpoint()

    def statistics(self) -> TickerStatistics:
        return TickerStatistics(self._flushes, self._ticks, len(self._now) + len(self._later), self._tick_s)
