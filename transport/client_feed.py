"""The client's copy of the feed: versioned rows under a cursor (no ``await``)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from trouper.store.records import Counts
from trouper.transport.client_options import ClientOptions
from trouper.transport.client_views import (
    JobView,
    NotificationView,
    WireItem,
    counts,
    integer,
    rows,
    string,
)


@attrs.frozen
class FeedChange:
    """What changed since a reader looked last: the latest state of each changed row.

    ``replaced``: everything was replaced (the first snapshot, or one after a long absence): drop
    what you hold; the rows are then all that there are.
    """

    epoch: str
    seq: int
    jobs: tuple[JobView, ...]
    notifications: tuple[NotificationView, ...]
    counts: Counts
    replaced: bool
    places: Mapping[str, int]
    """See ``FeedState.places``."""


class FeedState:
    """Jobs, notifications and counts of the user, as of ``seq``. Read-only for applications."""

    def __init__(self, options: ClientOptions, *, rows_kept: bool = True) -> None:
        self.epoch: str | None = None
        self.seq = 0
        self.counts = Counts()
        self.snapshots = 0
        """Snapshots applied; whoever saw fewer holds rows that may be gone."""
        self._options = options
        self._rows_kept = rows_kept
        self._jobs: dict[str, JobView] = {}
        self._notifications: dict[str, NotificationView] = {}
        self._resyncing = False
        self.places: Mapping[str, int] = MappingProxyType({})
        """Job id → place in the queue, 1 for the next to start; of those that were told one."""

    @property
    def jobs(self) -> Mapping[str, JobView]:
        """By id: every active job, and the latest ended ones that were heard of."""
        return MappingProxyType(self._jobs)

    @property
    def notifications(self) -> tuple[NotificationView, ...]:
        """Those that are not archived, newest first."""
        shown = [row for row in self._notifications.values() if not row.archived]
        return tuple(sorted(shown, key=lambda row: (row.created_at, row.seq), reverse=True))

    def holder(self, job: JobView) -> JobView | None:
        """The job of its thread that a queued one waits for, if it does: one that runs, asks a person
        (``asking``) or waits for another attempt, or else the next of the thread to start. It has no place in
        the queue as long as that one has not ended."""
        if job.state != "queued" or job.attempt > 0 or job.thread is None or job.id in self.places:
            return None
        others = [row for row in self._jobs.values() if row.thread == job.thread and not row.ended]
        begun = [row for row in others if row.attempt > 0]
        return next(iter(begun or [row for row in others if row.id in self.places]), None)

    @property
    def cursor(self) -> dict[str, object] | None:
        """What ``hello`` and ``resync`` tell; None while nothing is held."""
        return None if self.epoch is None else {"epoch": self.epoch, "seq": self.seq}

    def changes_since(
        self, seq: int, snapshots: int, places: Mapping[str, int] | None = None
    ) -> FeedChange | None:
        """The rows changed after ``seq``, for a reader that saw ``snapshots`` of them and these ``places``
        (None: to whom they do not matter); None: nothing has changed."""
        seen = seq == self.seq and snapshots == self.snapshots and places in (None, self.places)
        if self.epoch is None or seen:
            return None
        replaced = snapshots != self.snapshots
        if replaced:
            seq = -1
        return FeedChange(
            epoch=self.epoch,
            seq=self.seq,
            jobs=tuple(row for row in self._jobs.values() if row.seq > seq),
            notifications=tuple(row for row in self._notifications.values() if row.seq > seq),
            counts=self.counts,
            replaced=replaced,
            places=self.places,
        )

    # --- what the server sends ------------------------------------------------------------------

    def connection_opened(self) -> None:
        """A resync that was asked for on the last connection is answered by none."""
        self._resyncing = False
        if self.places:
            self.places = MappingProxyType({})

    def queue(self, item: WireItem) -> None:
        """Replace the places in the queue."""
        given = {string(row, "job"): integer(row, "place") for row in rows(item, "places")}
        self.places = MappingProxyType(given)

    def snapshot(self, item: WireItem) -> bool:
        """Replace everything. True if it brought notifications."""
        jobs, notifications, now = _parse(item)
        self.epoch, self.seq, self.counts = string(item, "epoch"), integer(item, "seq"), now
        self.snapshots += 1
        self._resyncing = False
        self._jobs.clear()
        self._notifications.clear()
        self._merge(jobs, notifications)
        return bool(notifications)

    def feed(self, item: WireItem) -> tuple[bool, bool]:
        """Apply changes if they follow the cursor.

        Returns (applied with notifications, a resync must be asked for).
        """
        epoch, prev, seq = string(item, "epoch"), integer(item, "prev"), integer(item, "seq")
        jobs, notifications, now = _parse(item)
        if epoch != self.epoch or prev != self.seq:
            ask = not self._resyncing
            self._resyncing = True
            return False, ask
        self._resyncing = False
        self.seq, self.counts = seq, now
        self._merge(jobs, notifications)
        return bool(notifications), False

    def _merge(self, jobs: list[JobView], notifications: list[NotificationView]) -> None:
        if not self._rows_kept:
            return
        for job in jobs:
            self._jobs[job.id] = job
        for notification in notifications:
            self._notifications[notification.id] = notification
        ended = [job for job in self._jobs.values() if job.ended]
        if len(ended) > self._options.feed_ended_jobs:
            ended.sort(key=lambda job: job.seq)
            for job in ended[: -self._options.feed_ended_jobs]:
                del self._jobs[job.id]
        if len(self._notifications) > self._options.feed_notifications:
            oldest = sorted(self._notifications.values(), key=lambda row: row.seq)
            for row in oldest[: -self._options.feed_notifications]:
                del self._notifications[row.id]


def _parse(item: WireItem) -> tuple[list[JobView], list[NotificationView], Counts]:
    """The rows of a feed item, all of them read before any is applied."""
    return (
        [JobView.from_wire(row) for row in rows(item, "jobs")],
        [NotificationView.from_wire(row) for row in rows(item, "notifications")],
        counts(item),
    )
