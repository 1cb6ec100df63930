"""A bound on how many may run at a time, and those who wait for a place. No ``await``."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Places(Generic[T]):
    """``limit`` places. Who finds none waits, first come first served, up to ``limit`` of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: dict[str, T] = {}
        self._waiting: dict[str, T] = {}

    @property
    def held(self) -> int:
        """How many have a place."""
        return len(self._held)

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiting)

    @property
    def free(self) -> bool:
        """Whether who asks now gets one."""
        return len(self._held) < self.limit

    @property
    def crowded(self) -> bool:
        """Whether even those who wait are as many as may."""
        return len(self._waiting) >= self.limit

    def ask(self, key: str, who: T) -> bool:
        """Whether ``who`` has a place now; otherwise ``who`` waits for one."""
        if self.free:
            self._held[key] = who
            return True
        self._waiting[key] = who
        return False

    def leave(self, key: str) -> T | None:
        """Who had ``key`` is gone, or waits no longer. Gives who has the place now, if somebody got it."""
        self._waiting.pop(key, None)
        if self._held.pop(key, None) is None or not self._waiting:
            return None
        first = next(iter(self._waiting))
        who = self._held[first] = self._waiting.pop(first)
        return who

    def clear(self) -> None:
        """Everybody is gone."""
        self._held.clear()
        self._waiting.clear()
