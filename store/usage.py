"""How far the bounds of each user and of each job are used: what only the rows can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import attrs

from trouper.store.records import Job, JobState


@attrs.frozen
class UserUsage:
    """How many jobs of one user are queued and running."""

    user: str
    queued: int
    running: int


@attrs.frozen
class StoreUsage:
    """The most that any user, or any job, uses."""

    users: tuple[UserUsage, ...]
    """Those with the most active jobs, the largest first; of those that are equal, by name."""
    signals_pending: int
    """Messages to one active job that it has not read at a savepoint."""
    tombstones: int
    """Keys of one user that were cancelled before their job came."""
    questions: int = 0
    """Questions that one active job has asked, over all its attempts."""


def usage_of(
    active: Iterable[Job], tombstones: Iterable[tuple[str, str]], users: int, asked: Callable[[str], int]
) -> StoreUsage:
    """That of rows in memory: all active jobs, (user, key) of each tombstone, and how much a job asked."""
    jobs = list(active)
    queued = Counter(job.user for job in jobs if job.state is JobState.QUEUED)
    running = Counter(job.user for job in jobs if job.state is JobState.RUNNING)
    largest = sorted((queued + running).items(), key=lambda of: (-of[1], of[0]))[:users]
    return StoreUsage(
        tuple(UserUsage(user, queued[user], running[user]) for user, _ in largest),
        max((job.signals - job.heard for job in jobs), default=0),
        max(Counter(user for user, _ in tombstones).values(), default=0),
        max((asked(job.id) for job in jobs), default=0),
    )
