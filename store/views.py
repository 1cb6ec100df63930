"""What the reads of a store give that is more than rows: a user's feed, and a job's output; and what a
claim may take."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import Protocol

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


QueuePlaces = tuple[tuple[str, int], ...]
"""A user's next jobs to start, as (job id, place), 1 for the next of all."""


class QueueStore(Protocol):
    """The part of ``Store`` for what waits."""

    async def queue_places(
        self, wanted: Container[str], *, per_user: int = 20, users: int = 1000
    ) -> Mapping[str, QueuePlaces]:
        """The places of the next ``per_user`` jobs to start of each waiting user that is ``wanted``, looking
        at no more than ``users`` users: as if each start needed nothing but a free place, and no job more
        came. A job that another one of its thread holds up (one that runs, waits for another attempt or for a
        person, or starts before it) has none, nor has one whose name is not known."""
        ...


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


@attrs.frozen
class Names:
    """The jobs that a node can run, and so may claim. A row whose name no live node has registered waits for
    ``unknown_job_s`` seconds by the store's clock and is lost then."""

    known: Collection[str] | None
    """None: all."""
    unknown_job_s: float = 3600.0

    def __contains__(self, name: str) -> bool:
        return self.known is None or name in self.known


ANY_NAME = Names(None)
