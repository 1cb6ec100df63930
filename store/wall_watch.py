"""Telling a jump of the wall clock from time that has passed. No ``await``.

What is kept over a restart can only be told in wall-clock time, and a wall clock is set: by hand, by a
time server, by a machine that slept. While a store runs it has a second clock, which never jumps. Where
the two disagree, the store moves along what was to happen *after* some time, in the commit that first
sees it (``Tables.clock_jumped``): so nothing ends early, and nothing waits for an hour to come again.

The alternative, to keep all times as of a clock of our own, would be wrong for ever by every correction
that was made while the process ran. A jump while no process runs cannot be told from time that passes.
"""

from __future__ import annotations

from trouper.store.seams import Seams


class WallWatch:
    """The two clocks of a store that runs, side by side."""

    def __init__(self, seams: Seams, least_s: float) -> None:
        self._seams = seams
        self._least_s = least_s
        self._wall, self._now = seams.wall(), seams.now()
        self.jumped_s = 0.0
        """How far the wall clock has jumped since this was last set to 0: ahead if positive."""

    def read(self) -> float:
        """The wall clock now. What it is off by less than ``least_s`` is slewing, and no jump."""
        wall, now = self._seams.wall(), self._seams.now()
        off_s = (wall - self._wall) - (now - self._now)
        if abs(off_s) >= self._least_s:
            self.jumped_s += off_s
        self._wall, self._now = wall, now
        return wall
