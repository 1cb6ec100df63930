"""One task for the beats and silences of every connection of a gateway.

A heap of (when, alarm), because a task with a timer for each connection would cost a wake-up and
some kilobytes each. A callback says when it wants to be called next, so nothing is ever rescheduled
for a message that arrives: who is judged at an alarm looks at the clock then.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

import trio

Callback = Callable[[], float | None]
"""Called when due; gives the next time (trio's clock, seconds), or None for never. Never raises."""

_GRAIN_S = 1 / 64
"""Calls are made up to so much later, many in one wake-up: when thousands connect, each would else have one
of its own, which costs more than the call."""
_CALLS_PER_CHECKPOINT = 64
_CANCELLED_MIN = 64
"""Fewer that were cancelled are not worth a look at the whole heap."""


class Alarm:
    """A call that is to come; ``callback`` is None when it was made for the last time, or cancelled."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback


class Alarms:
    """Bounded by the connections of the gateway: each has one at most, and cancels it at its end. Left to
    itself it would hold a connection that is gone until it is due, and many come and go meanwhile."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        self._serial = itertools.count()
        self._cancelled = 0
        self._wake = trio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, when: float, callback: Callback) -> Alarm:
        """Call ``callback`` at ``when`` on trio's clock, or a little later."""
        alarm = Alarm(callback)
        earliest = self._heap[0][0] if self._heap else math.inf
        if self._push(when, alarm) < earliest:
            self._wake.set()
        return alarm

    def _push(self, when: float, alarm: Alarm) -> float:
        when = math.ceil(when / _GRAIN_S) * _GRAIN_S
        heapq.heappush(self._heap, (when, next(self._serial), alarm))
        return when

    def cancel(self, alarm: Alarm) -> None:
        """Do not call it any more, and let go of whom it would have called. Any number of times."""
        if alarm.callback is None:
            return
        alarm.callback = None
        self._cancelled += 1
        if self._cancelled > _CANCELLED_MIN + len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    async def run(self) -> None:
        """Call what is due, for ever. **Cancellation**: at once; no callback is called any more."""
        while True:
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else math.inf):
                await self._wake.wait()
            self._wake = trio.Event()
            calls = 0
            while self._heap and self._heap[0][0] <= trio.current_time():
                self._call(heapq.heappop(self._heap)[2])
                calls += 1
                if calls % _CALLS_PER_CHECKPOINT == 0:
                    await trio.lowlevel.checkpoint()

    def _call(self, alarm: Alarm) -> None:
        callback, alarm.callback = alarm.callback, None
        if callback is None:
            self._cancelled -= 1
            return
        again = callback()
        if again is not None:
            alarm.callback = callback
            self._push(again, alarm)
