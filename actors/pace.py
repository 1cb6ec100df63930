"""When a ``write`` must give way: one count for all jobs of a runtime. No ``await``.

What matters is how long the *loop* has not come round, not how long ago one job gave way: a job that writes
once in 50 ms has awaited something meanwhile, and a checkpoint of its own for each write costs more than the
write. So a task that runs on meets the bound by itself, since nobody else can reset it before it gives way;
and of tasks that do give way one in a while has a checkpoint too many.
"""

from __future__ import annotations


class Pace:
    """``writes`` since somebody gave way at ``at`` (seconds on the clock of the seams)."""

    def __init__(self) -> None:
        self._writes = 0
        self._at = 0.0

    def wrote(self, now: float, writes_max: int, longest_s: float) -> bool:
        """Count a write; whether it must be a checkpoint now, after which ``gave_way`` is called.

        Once one is told so, the others are not: the loop is about to come round, and when it is late, most
        of what it runs then are writes, each of which would have given way.
        """
        self._writes += 1
        if self._writes < writes_max and now - self._at < longest_s:
            return False
        self.gave_way(now)
        return True

    def gave_way(self, now: float) -> None:
        """The loop has come round, or is about to."""
        self._writes = 0
        self._at = now
