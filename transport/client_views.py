"""Rows as a client sees them, and the strict reading of fields (no ``await``).

Unknown fields are passed over, as the protocol asks; a known field of another type is a fault of
the server's and is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from trouper.store.records import Counts
from trouper.transport.client_errors import ServerFault

MAX_INTEGER = 2**53 - 1
WireItem = Mapping[str, Any]


def _wrong(item: WireItem, field: str, legal: str) -> ServerFault:
    what = item.get("t", "a row")
    return ServerFault(f"{what}: the field {field!r} must be {legal}, not {item.get(field)!r:.80}")


def integer(item: WireItem, field: str) -> int:
    value = item.get(field)
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:  # bool is an int, and 7.0 is none
        raise _wrong(item, field, "an integer from 0 to 2^53 - 1")
    return value


def string(item: WireItem, field: str) -> str:
    value = item.get(field)
    if not isinstance(value, str):
        raise _wrong(item, field, "a string")
    return value


def optional_string(item: WireItem, field: str) -> str | None:
    return None if item.get(field) is None else string(item, field)


def number(item: WireItem, field: str) -> float:
    value = item.get(field)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(item, field, "a number")
    return value


def optional_number(item: WireItem, field: str) -> float | None:
    return None if item.get(field) is None else number(item, field)


def boolean(item: WireItem, field: str) -> bool:
    value = item.get(field)
    if not isinstance(value, bool):
        raise _wrong(item, field, "true or false")
    return value


def mapping(item: WireItem, field: str) -> WireItem:
    value = item.get(field)
    if not isinstance(value, dict):
        raise _wrong(item, field, "an object")
    return value


def rows(item: WireItem, field: str) -> list[WireItem]:
    value = item.get(field)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise _wrong(item, field, "an array of objects")
    return value


def counts(item: WireItem, field: str = "counts") -> Counts:
    row = mapping(item, field)
    return Counts(unseen=integer(row, "unseen"), unread=integer(row, "unread"))


def _count(row: WireItem, field: str) -> int:
    """0 from a server of an earlier version, which does not tell it."""
    return integer(row, field) if field in row else 0


@attrs.frozen(kw_only=True)
class JobView:
    """A job, as its user may see it. Of two versions the one with the larger ``seq`` is newer."""

    id: str
    name: str
    thread: str | None
    state: str
    """``queued``, ``running``, ``completed``, ``failed``, ``cancelled``, ``timed_out``, ``lost``."""
    reason: str | None
    attempt: int
    entries: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    error: str | None
    cancel_requested: bool
    seq: int
    saved_entries: int
    asking: Mapping[str, Any] | None = None
    """While it waits for a person: ``key``, ``question``, ``schema`` (of the answer, JSON Schema),
    ``asked_at``, ``expires_at`` (None: it waits for as long as it takes)."""
    arguments: Any = None
    """None on the feed: replies have it."""
    result: Any = None
    """None on the feed: replies have it."""
    attempts_used: int = 0
    """How many of its attempts have failed."""
    began_after: str | None = None
    """What its present attempt (while it is queued: the next) goes on after: ``crash``, ``idle_timeout``,
    ``process_death``, ``released``, ``question``, ``answered``, ``unanswered`` …; None for the first."""
    messages: int = 0
    """Messages that it was sent; ``Client.messages`` gives them."""
    messages_read: int = 0
    """Those of them that it has read."""

    @property
    def ended(self) -> bool:
        return self.state not in ("queued", "running")

    @classmethod
    def from_wire(cls, row: WireItem) -> JobView:
        return cls(
            id=string(row, "id"),
            name=string(row, "name"),
            thread=optional_string(row, "thread"),
            state=string(row, "state"),
            reason=optional_string(row, "reason"),
            attempt=integer(row, "attempt"),
            entries=integer(row, "entries"),
            created_at=number(row, "created_at"),
            started_at=optional_number(row, "started_at"),
            ended_at=optional_number(row, "ended_at"),
            error=optional_string(row, "error"),
            cancel_requested=boolean(row, "cancel_requested"),
            seq=integer(row, "seq"),
            asking=None if row.get("asking") is None else mapping(row, "asking"),
            saved_entries=_count(row, "saved_entries"),
            arguments=row.get("arguments"),
            result=row.get("result"),
            attempts_used=_count(row, "attempts_used"),
            began_after=optional_string(row, "began_after"),
            messages=_count(row, "messages"),
            messages_read=_count(row, "messages_read"),
        )


@attrs.frozen(kw_only=True)
class MessageView:
    """A message that a job was sent. ``seq`` counts from 1 in each job; those above its ``messages_read``
    wait to be read, or were not when it ended."""

    seq: int
    key: str
    message: Any
    """Any JSON."""
    sender: str | None
    """None: the application itself."""
    sent_at: float

    @classmethod
    def from_wire(cls, row: WireItem) -> MessageView:
        return cls(
            seq=integer(row, "seq"),
            key=string(row, "key"),
            message=row.get("message"),
            sender=optional_string(row, "sender"),
            sent_at=number(row, "sent_at"),
        )


@attrs.frozen(kw_only=True)
class NotificationView:
    """One line of the user's inbox."""

    id: str
    job: str
    thread: str | None
    kind: str
    """``ended``, ``message`` or ``question``."""
    key: str
    title: str
    body: str
    created_at: float
    seen: bool
    read: bool
    archived: bool
    seq: int

    @classmethod
    def from_wire(cls, row: WireItem) -> NotificationView:
        return cls(
            id=string(row, "id"),
            job=string(row, "job"),
            thread=optional_string(row, "thread"),
            kind=string(row, "kind"),
            key=string(row, "key"),
            title=string(row, "title"),
            body=string(row, "body"),
            created_at=number(row, "created_at"),
            seen=boolean(row, "seen"),
            read=boolean(row, "read"),
            archived=boolean(row, "archived"),
            seq=integer(row, "seq"),
        )


@attrs.frozen(kw_only=True)
class ThreadView:
    """One line of a list of threads."""

    thread: str
    jobs: int
    active: int
    first: JobView
    last: JobView

    @classmethod
    def from_wire(cls, row: WireItem) -> ThreadView:
        return cls(
            thread=string(row, "thread"),
            jobs=integer(row, "jobs"),
            active=integer(row, "active"),
            first=JobView.from_wire(mapping(row, "first")),
            last=JobView.from_wire(mapping(row, "last")),
        )


@attrs.frozen
class CancelView:
    """The answer to a cancel: ``accepted``, ``already_ended`` or ``unknown``, and the row as it is."""

    answer: str
    job: JobView | None
