"""How anything reaches a supervisor's loop: a queue with one consumer, and its timers.

The loop alone changes the supervisor's state, one step after the other; the rest of the program only
puts steps in here. There is no bound of its own: a child puts in its end once, and whoever asks for
something waits for the answer.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

import trio

T = TypeVar("T")

_STALE_MIN: Final = 64  # below this, dead entries of the heap are not worth a rebuild


class Latch:
    """As ``trio.Event``, whose inside is made when somebody first waits: of most nobody ever does, and a
    supervisor has several for each of very many children."""

    __slots__ = ("_event", "_set")

    def __init__(self) -> None:
        self._set = False
        self._event: trio.Event | None = None

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._set

    def set(self) -> None:
        """Let go all who wait, now and later."""
        self._set = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        """Wait until it is set. **Cancellation**: changes nothing. Always a checkpoint."""
        if self._set:
            await trio.lowlevel.checkpoint()
            return
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()


class Lane(Generic[T]):
    """A queue that one task waits at, up to a time."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._arrival: trio.Event | None = None

    def __bool__(self) -> bool:
        """Whether something is in line."""
        return bool(self._items)

    @trio.lowlevel.enable_ki_protection
    def put(self, item: T) -> None:
        """Put something in. Never waits."""
        self._items.append(item)
        if self._arrival is not None:
            self._arrival.set()

    async def get(self, until: float = math.inf) -> T | None:
        """The next item, or ``None`` at ``until`` on trio's clock.

        **Cancellation**: nothing was taken. Always a checkpoint.
        """
        if self._items:
            await trio.lowlevel.checkpoint()
        elif until == math.inf:
            await self.arrival()
        else:
            with trio.move_on_at(until):
                await self.arrival()
        return self.take_now()

    async def arrival(self) -> None:
        """Wait until there is an item. **Cancellation**: nothing was taken. Always a checkpoint."""
        self._arrival = trio.Event()
        if self._items:
            self._arrival.set()
        try:
            await self._arrival.wait()
        finally:
            self._arrival = None

    def take_now(self) -> T | None:
        """The next item, or ``None`` if there is none. Never waits."""
        return self._items.popleft() if self._items else None


class Timers:
    """Calls to make at a time, at most one for each key: setting another replaces it."""

    def __init__(self) -> None:
        self._set: dict[Hashable, tuple[int, Callable[[], None]]] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._set)

    def set(self, key: Hashable, at: float, call: Callable[[], None]) -> None:
        """Call ``call`` at ``at`` on trio's clock instead of what was set for ``key``. At ``inf``: never."""
        self._set.pop(key, None)
        if at == math.inf:
            return
        self._number += 1
        self._set[key] = (self._number, call)
        heapq.heappush(self._heap, (at, self._number, key))
        if len(self._heap) > _STALE_MIN + 2 * len(self._set):
            self._heap = [entry for entry in self._heap if self._is_set(entry)]
            heapq.heapify(self._heap)

    def clear(self, key: Hashable) -> None:
        """Forget what was set for ``key``, if anything."""
        self._set.pop(key, None)

    def next_at(self) -> float:
        """When the next call is due; ``inf`` if none is set."""
        while self._heap and not self._is_set(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def fire(self, now: float) -> None:
        """Make the calls that are due at ``now``, in the order of their times. What they set is for a later
        time, or for the next round."""
        last = self._number
        while self.next_at() <= now and self._heap[0][1] <= last:
            _, _, key = heapq.heappop(self._heap)
            _, call = self._set.pop(key)
            call()

    def _is_set(self, entry: tuple[float, int, Hashable]) -> bool:
        _, number, key = entry
        return key in self._set and self._set[key][0] == number
