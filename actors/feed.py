"""A user's recent feed in memory: the latest state of each row that changed, by seq. No ``await``.

The notifier reads each change from the store once; every session of the user takes its delta from
here. What is older than the window is the store's to answer.
"""

from __future__ import annotations

import attrs

from trouper.store.protocol import Changes
from trouper.store.records import Counts, Job, Notification


def feed_row(job: Job) -> Job:
    """A job as the feed has it: what may be large (arguments, state, result) comes by command only."""
    return attrs.evolve(job, arguments="{}", saved=None, result=None)


class FeedWindow:
    """Changes after ``floor`` up to ``seq``, at most ``rows_max`` rows."""

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._rows: dict[tuple[type, str], Job | Notification] = {}
        self._counts = Counts()
        self.floor = 0
        self.seq: int | None = None
        """None until it was started."""

    def start(self, seq: int, counts: Counts) -> None:
        """Begin at ``seq``, with nothing remembered before."""
        self._rows.clear()
        self.floor = self.seq = seq
        self._counts = counts

    def merge(self, changes: Changes) -> None:
        """Take over what the store said of the feed after ``self.seq``."""
        if changes.prev != self.seq:
            raise ValueError(f"changes after {changes.prev}, but the window is at {self.seq}")
        rows: list[Job | Notification] = [*map(feed_row, changes.jobs), *changes.notifications]
        for row in sorted(rows, key=lambda row: row.feed_seq):
            key = (type(row), row.id)
            self._rows.pop(key, None)  # so that the dict stays in the order of seq
            self._rows[key] = row
        self.seq = changes.seq
        self._counts = changes.counts
        while len(self._rows) > self._rows_max:
            oldest = next(iter(self._rows))
            self.floor = self._rows.pop(oldest).feed_seq

    def since(self, seq: int) -> Changes | None:
        """The feed after ``seq``; None if the window does not reach back so far."""
        if self.seq is None or seq < self.floor or seq > self.seq:
            return None
        jobs: list[Job] = []
        notifications: list[Notification] = []
        for row in reversed(self._rows.values()):
            if row.feed_seq <= seq:
                break
            if isinstance(row, Job):
                jobs.append(row)
            else:
                notifications.append(row)
        return Changes(seq, self.seq, tuple(reversed(jobs)), tuple(reversed(notifications)), self._counts)
