"""What people ask of the store besides submitting: to cancel, to be notified, to mark what they saw."""

from __future__ import annotations

import enum
from typing import Literal

import attrs

from trouper.store.records import Job, Notification


class CancelAnswer(enum.StrEnum):
    """What became of the wish to cancel a job."""

    ACCEPTED = "accepted"
    ALREADY_ENDED = "already_ended"
    UNKNOWN = "unknown"


@attrs.frozen
class CancelResult:
    """The answer to a cancel, and the job that it is about."""

    answer: CancelAnswer
    job: Job | None = None
    """The row as it is now; None when unknown, and while a cancelled key has no job yet."""


@attrs.frozen(kw_only=True)
class Notify:
    """A notification by the job itself; idempotent on (user, job, ``message``, key)."""

    id: str
    job_id: str
    fence: int
    key: str
    title: str
    body: str
    used_ms: int = 0


@attrs.frozen
class Notified:
    notification: Notification
    created: bool


Mark = Literal["seen", "read", "archived"]
"""``read`` and ``archived`` imply ``seen``; marks are set once and never taken back."""
