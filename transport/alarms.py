"""One task for the beats and silences of every connection of a gateway.

A heap of (when, callback), because a task with a timer for each connection would cost a wake-up and
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

_CALLS_PER_CHECKPOINT = 64


class Alarms:
    """Bounded by the connections of the gateway: each has three at most, which end when they return None."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callback]] = []
        self._serial = itertools.count()
        self._wake = trio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, when: float, callback: Callback) -> None:
        """Call ``callback`` at ``when`` on trio's clock."""
        if not self._heap or when < self._heap[0][0]:
            self._wake.set()
        heapq.heappush(self._heap, (when, next(self._serial), callback))

    async def run(self) -> None:
        """Call what is due, for ever. **Cancellation**: at once; no callback is called any more."""
        while True:
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else math.inf):
                await self._wake.wait()
            self._wake = trio.Event()
            calls = 0
            while self._heap and self._heap[0][0] <= trio.current_time():
                _, _, callback = heapq.heappop(self._heap)
                again = callback()
                if again is not None:
                    heapq.heappush(self._heap, (again, next(self._serial), callback))
                calls += 1
                if calls % _CALLS_PER_CHECKPOINT == 0:
                    await trio.lowlevel.checkpoint()
