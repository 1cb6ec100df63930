"""What one child has left to fail with: its intensity, and how long it waits before the next try.

Apart from the child, because a keyed supervisor keeps it longer: an actor that crashes on every message,
and is idle in between, would else always crash for the first time. No ``await``.
"""

from __future__ import annotations

from trouper.supervisor.backoff import Backoff, Dice
from trouper.supervisor.intensity import Intensity, RestartWindow


class RestartBudget:
    """The failures of one child. ``None`` for either means no bound, and no wait."""

    __slots__ = ("_backoff", "_intensity", "_window", "failures")

    def __init__(self, intensity: Intensity | None, backoff: Backoff | None) -> None:
        self._intensity = intensity
        self._backoff = backoff
        self.forgive()

    def forgive(self) -> None:
        """Forget all failures: somebody asked for it to be started again."""
        self._window = None if self._intensity is None else RestartWindow(self._intensity)
        self.failures = 0
        """In a row: an incarnation that lived long enough ends the row."""

    def mark_healthy(self) -> None:
        """The next failure is the first in a row. Those within the intensity's period stay counted: one
        that says it is well and crashes each time is still too often."""
        self.failures = 0

    def admit(self, now: float) -> bool:
        """Whether one more restart is within the intensity; it is counted if so."""
        return self._window is None or self._window.admit(now)

    def delay_s(self, lived_s: float, dice: Dice) -> float:
        """Count a failure after ``lived_s`` seconds of life; the seconds to wait before the next try."""
        backoff = self._backoff
        if backoff is None:
            self.failures += 1
            return 0.0
        self.failures = 1 if lived_s >= backoff.reset_after_s else self.failures + 1
        return backoff.delay_s(self.failures, dice)
