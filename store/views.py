"""What the reads of a store give that is more than rows: a user's feed, and a job's output."""

from __future__ import annotations

import attrs

from trouper.store.records import Counts, Entry, Job, Notification


@attrs.frozen
class Changes:
    """The feed of a user after ``prev``, up to and including ``seq``: latest state of each row."""

    prev: int
    seq: int
    jobs: tuple[Job, ...]
    notifications: tuple[Notification, ...]
    counts: Counts


@attrs.frozen
class Snapshot:
    """The feed from nothing: active jobs, the newest notifications (not archived), counts."""

    seq: int
    jobs: tuple[Job, ...]
    notifications: tuple[Notification, ...]
    counts: Counts


@attrs.frozen
class OutputHead:
    """Where a job's committed log stands now."""

    job: Job
    entries: int


@attrs.frozen
class OutputRange:
    """Committed entries ``start … start+len(entries)`` of the log of ``attempt``."""

    attempt: int
    start: int
    entries: tuple[Entry, ...]
