"""Signals: messages to a job that is admitted and has not ended, kept until it has read them.

They are numbered from 1 for each job. The row of the job counts those that were accepted (``signals``) and
those that it had read at its savepoint (``heard``): what lies between is pending, and is given to the next
attempt again. How far the attempt that runs is with them (``given``) is for those who look on.
"""

from __future__ import annotations

import enum
from typing import Protocol

import attrs


class SignalAnswer(enum.StrEnum):
    """What became of a message to a job."""

    ACCEPTED = "accepted"
    """It is durable: the job gets it, unless it ends before."""
    ALREADY_ENDED = "already_ended"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class SignalRow:
    """One message to a job; unique on (job, id)."""

    job: str
    id: str
    seq: int = 0
    """Which one of its job, from 1."""
    body: str
    """JSON."""
    sender: str | None = None
    """The user who sent it; None: a trusted caller."""
    sent_at: float = 0.0
    """Wall clock, seconds since the epoch."""


@attrs.frozen
class SignalClash:
    """The job has another message with that id."""


@attrs.frozen
class Heard:
    """What an attempt has read: the message, and how far it is with them now."""

    row: SignalRow | None
    """None: there is none, or none that can be read."""
    upto: int


@attrs.frozen
class SignalsFull:
    """As many messages are pending as may be."""

    limit: int


class SignalStore(Protocol):
    """The part of ``Store`` for messages to jobs."""

    async def signal(self, row: SignalRow, user: str | None) -> SignalAnswer | SignalClash | SignalsFull:
        """Put a message behind those of its job (its ``seq`` and ``sent_at`` are made here). One that is
        there already (by its id) is accepted again, whatever became of the job since. ``user`` None:
        trusted; else a job of another user is unknown."""
        ...

    async def signals(self, job_id: str, after: int, limit: int) -> tuple[SignalRow, ...]:
        """Those with a ``seq`` above ``after``, in order."""
        ...


class SignalRows(Protocol):
    """The rows inside one transaction."""

    def get(self, job_id: str, id: str) -> SignalRow | None: ...
    def insert(self, row: SignalRow) -> None: ...
    def after(self, job_id: str, seq: int, limit: int) -> list[SignalRow]:
        """In order. One that is damaged is left out."""
        ...

    def forget(self, job_id: str, upto: int) -> None:
        """Remove those up to that ``seq``."""
        ...


class MemorySignals:
    """``SignalRows`` in dictionaries."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, SignalRow]] = {}

    def get(self, job_id: str, id: str) -> SignalRow | None:
        return self._rows.get(job_id, {}).get(id)

    def insert(self, row: SignalRow) -> None:
        self._rows.setdefault(row.job, {})[row.id] = row

    def after(self, job_id: str, seq: int, limit: int) -> list[SignalRow]:
        return [row for row in self._rows.get(job_id, {}).values() if row.seq > seq][:limit]

    def forget(self, job_id: str, upto: int) -> None:
        rows = self._rows.get(job_id, {})
        for row in [row for row in rows.values() if row.seq <= upto]:
            del rows[row.id]

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))
