"""Whether the processors were ours alone meanwhile.

Of a figure that is processor time the clock tells nothing of others: a server that waits has nothing to do.
What disturbs such a figure is what everybody else did on the same cores, since it leaves cold caches behind
and holds up who wants to run. The kernel (Linux) counts it: what a core was busy for, less what ours had.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

STAT = Path("/proc/stat")
_USER, _NICE, _SYSTEM, _STEAL = 1, 2, 3, 8  # columns of a core's line


def read_stat() -> str | None:
    """The kernel's counts, or None where there are none."""
    return STAT.read_text(encoding="ascii") if STAT.exists() else None


def busy_s(stat: str, cores: Collection[int]) -> float:
    """Seconds that these cores were at work since the machine started, or taken away by its host.

    Interrupts are left out: on loopback they are what ours caused.
    """
    names = {f"cpu{core}" for core in cores}
    lines = [line.split() for line in stat.splitlines()]
    ticks = (sum(int(line[n]) for n in (_USER, _NICE, _SYSTEM, _STEAL)) for line in lines if line[0] in names)
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


def own_s() -> float:
    """Processor time of this process and of its children that have ended, in seconds."""
    return sum(os.times()[:4])


class Others:
    """What everybody else has of some cores, from its making on.

    ``ours``: the processor time that is not theirs, in seconds.
    """

    def __init__(
        self,
        cores: Collection[int],
        ours: Callable[[], float],
        stat: Callable[[], str | None] = read_stat,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cores, self._ours, self._stat, self._clock = cores, ours, stat, clock
        self._before = stat()
        self._began, self._ours_before = clock(), ours()

    def share(self) -> float | None:
        """Which part of the cores' time, 0 to 1. None where it cannot be told."""
        now = self._stat()
        if self._before is None or now is None:
            return None
        busy = busy_s(now, self._cores) - busy_s(self._before, self._cores)
        there = len(self._cores) * (self._clock() - self._began)
        return min(1.0, max(0.0, busy - (self._ours() - self._ours_before)) / there)
