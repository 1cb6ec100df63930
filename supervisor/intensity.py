"""How often is too often. No ``await``."""

from __future__ import annotations

import math
from collections import deque

import attrs

from trouper.supervisor.errors import BadSpec
from trouper.supervisor.legal import is_number


@attrs.frozen
class Intensity:
    """At most ``restarts`` within any ``period_s`` seconds; one more is too often."""

    restarts: int = 3
    period_s: float = 5.0

    def __attrs_post_init__(self) -> None:
        whole = type(self.restarts) is int and self.restarts >= 0
        if not (whole and is_number(self.period_s) and 0 < self.period_s < math.inf):
            raise BadSpec(f"intensity is 0 or more restarts in a finite period above 0 s, not {self}")


class RestartWindow:
    """The restarts within the last period. Holds at most ``restarts`` times."""

    __slots__ = ("_times", "intensity")

    def __init__(self, intensity: Intensity) -> None:
        self.intensity = intensity
        self._times: deque[float] | None = None  # made at the first restart: most children have none

    def admit(self, now: float) -> bool:
        """Whether one more restart is within the intensity; it is counted if so. ``now`` in seconds."""
        if self._times is None:
            self._times = deque()
        while self._times and self._times[0] <= now - self.intensity.period_s:
            self._times.popleft()
        if len(self._times) >= self.intensity.restarts:
            return False
        self._times.append(now)
        return True
