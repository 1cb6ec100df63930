"""What a submit asks of the store, and what it meets there."""

from __future__ import annotations

from typing import Literal

import attrs

from trouper.store.records import Job, JobOptions

OnBusy = Literal["enqueue", "reject", "interrupt", "rollback"]
"""When the thread has active jobs: wait behind them; be refused; have them end ``cancelled``
(``superseded``) and start when the last has ended; or that, and their output and notifications go."""


@attrs.frozen(kw_only=True)
class Admission:
    """A job to be admitted. ``id`` is made by the caller, so that a repetition is recognised."""

    id: str
    user: str
    name: str
    arguments: str
    fingerprint: str
    thread: str | None = None
    idempotency_key: str | None = None
    options: JobOptions = JobOptions()
    on_busy: OnBusy = "enqueue"
    at: float | None = None
    """Not to run before this time by the wall clock."""
    delay_s: float = 0.0
    """Not to run before so many seconds have passed."""
    max_queued: int = 10_000
    """The most queued rows, over all users."""
    max_queued_per_user: int = 1_000
    """The most queued rows of this user."""


@attrs.frozen
class Admitted:
    job: Job
    created: bool
    """False: the key was used before, with the same content; ``job`` is that one, ended or not."""


@attrs.frozen
class Conflict:
    """The idempotency key was used with other content."""

    job_id: str


@attrs.frozen
class ThreadBusy:
    """``on_busy="reject"`` and the thread has an active job."""

    job_id: str


@attrs.frozen
class QueueFull:
    limit: int
    of_user: bool = False
    """The limit is that of one user; else it is that of all together."""
