"""The rows that items of the wire protocol hold (docs/protocol.md, 2.1 to 2.3)."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen
class Counts:
    unseen: int
    unread: int


@attrs.frozen(kw_only=True)
class JobRow:
    """A job as the feed shows it."""

    id: str
    name: str
    thread: str | None
    state: str
    reason: str | None
    attempt: int
    entries: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    error: str | None
    cancel_requested: bool
    seq: int
    saved_entries: int = 0
    asking: Any = None
    """While it waits for a person: its question."""
    attempts_used: int = 0
    began_after: str | None = None
    messages: int = 0
    messages_read: int = 0


@attrs.frozen(kw_only=True)
class JobDetail(JobRow):
    """A job as replies show it."""

    arguments: Any
    result: Any


@attrs.frozen(kw_only=True)
class NotificationRow:
    id: str
    job: str
    thread: str | None
    kind: str
    key: str
    title: str
    body: str
    created_at: float
    seen: bool
    read: bool
    archived: bool
    seq: int


@attrs.frozen
class MessageRow:
    """A message to a job (docs/protocol.md, 2.3)."""

    seq: int
    key: str
    message: Any
    sender: str | None
    sent_at: float


@attrs.frozen
class ThreadRow:
    """One line of the answer to ``threads``."""

    thread: str
    jobs: int
    active: int
    first: JobDetail
    last: JobDetail
