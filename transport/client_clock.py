"""What time it is by the server's clock, as far as a client was told. No ``await``."""

from __future__ import annotations

from collections.abc import Callable

from trouper.transport.client_views import WireItem, optional_number


class ServerClock:
    """By the last time that was told, and what has passed since: this machine's own clock may be wrong.

    ``passed()``: a monotonic clock, in seconds. ``wall()``: asked until the first time is told, in seconds
    since the epoch.
    """

    def __init__(self, passed: Callable[[], float], wall: Callable[[], float]) -> None:
        self._passed = passed
        self._wall = wall
        self._told: float | None = None
        self._told_at = 0.0

    def told(self, item: WireItem) -> None:
        """A ``welcome`` or a ``beat`` has come. (A server of an earlier version tells no time.)"""
        now = optional_number(item, "now")
        if now is not None:
            self._told, self._told_at = now, self._passed()

    def now(self) -> float:
        """In seconds since the epoch. How long the item was under way is missing: as a rule milliseconds."""
        return self._wall() if self._told is None else self._told + self._passed() - self._told_at
