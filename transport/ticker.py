"""One task that flushes every session of a gateway.

What comes after silence is flushed at once; what follows goes once per window: the gateway's tick, or
what the session asked for. The alternative, a timer for each session, costs a wake-up of 28 to 46 µs for
each of them; here one wake-up serves all that are due, since windows are multiples of the tick on one
grid. Sessions only *mark* themselves, so what changes in one step goes out in one message.
"""

from __future__ import annotations

import math
from typing import Protocol

import attrs
import trio

_MEMBERS_PER_CHECKPOINT = 64


class Flushable(Protocol):
    """A session as the ticker sees it."""

    @property
    def coalesce_s(self) -> float | None:
        """Its window in seconds, 0 for none; None: the gateway's tick."""
        ...

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
    """``tick_s``: the window of a busy session that asked for none; ``max_tick_s``: the longest that it
    is stretched to when flushing takes more than a quarter of it."""

    def __init__(self, tick_s: float, max_tick_s: float) -> None:
        self._base_s = tick_s
        self._max_s = max(tick_s, max_tick_s)
        self._tick_s = tick_s
        self._now: dict[Flushable, None] = {}
        self._later: dict[Flushable, int] = {}
        """Member → the tick that it waits for, counted in ``_base_s`` from the clock's zero."""
        self._waiting: dict[int, dict[Flushable, None]] = {}
        """The same by tick: a few keys, since windows end together."""
        self._flushed_at: dict[Flushable, float] = {}
        self._wake = trio.Event()
        self._ticks = 0
        self._flushes = 0

    def mark(self, member: Flushable, *, urgent: bool = False) -> None:
        """``member`` has something to send: now if it was silent for its window or is ``urgent`` (the
        rest of what did not fit into its last message), else when its window ends. Marked again, it
        goes at the earlier of the two times."""
        if member in self._now:
            return
        window = self._window(member)
        now = trio.current_time()
        if not urgent and now - self._flushed_at.get(member, -math.inf) < window:
            self._wait(member, window, now)
            return
        self._leave(member)
        self._now[member] = None
        self._wake.set()

    def _window(self, member: Flushable) -> float:
        asked = member.coalesce_s
        if asked is None:
            return self._tick_s
        # When flushing takes its time, nobody is served more often than that allows.
        return max(asked, self._tick_s) if self._tick_s > self._base_s else asked

    def _wait(self, member: Flushable, window: float, now: float) -> None:
        ticks = max(1, math.ceil(window / self._base_s))
        tick = (math.floor(now / self._base_s / ticks) + 1) * ticks
        if tick >= self._later.get(member, math.inf):
            return
        self._leave(member)
        if not self._waiting or tick < min(self._waiting):
            self._wake.set()
        self._later[member] = tick
        self._waiting.setdefault(tick, {})[member] = None

    def _leave(self, member: Flushable) -> None:
        tick = self._later.pop(member, None)
        if tick is not None:
            del self._waiting[tick][member]
            if not self._waiting[tick]:
                del self._waiting[tick]

    def forget(self, member: Flushable) -> None:
        """``member`` is at its end."""
        self._now.pop(member, None)
        self._leave(member)
        self._flushed_at.pop(member, None)

    async def run(self) -> None:
        """Flush for ever. **Cancellation**: between two flushes; nothing is lost, nothing more goes."""
        while True:
            if not self._now:
                deadline = min(self._waiting) * self._base_s if self._waiting else math.inf
                with trio.CancelScope(deadline=deadline):
                    await self._wake.wait()
                self._wake = trio.Event()
            await self._flush_all(tick=self._take_due())

    def _take_due(self) -> bool:
        """Whether a window has ended; its members are to go now."""
        now = trio.current_time()
        due = [tick for tick in self._waiting if tick * self._base_s <= now]
        for tick in due:
            members = self._waiting.pop(tick)
            self._now.update(members)
            for member in members:
                del self._later[member]
        self._ticks += bool(due)
        return bool(due)

    async def _flush_all(self, *, tick: bool) -> None:
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
