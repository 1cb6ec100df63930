"""Messages to a job that runs: what ``ctx.messages`` gives, and how it hears of a new one.

What is committed is counted by the job's row. The step after each commit rings the job's bell, so the job
wakes at once, without polling; the messages themselves are read from the store.
"""

from __future__ import annotations

from typing import Any

import attrs
import orjson
import trio

from trouper.store.records import Job
from trouper.store.signals import SignalRow


@attrs.frozen(kw_only=True)
class Message:
    """One message to a job."""

    data: Any
    """What was sent, decoded from JSON."""
    id: str
    """The sender's, or one that was made."""
    seq: int
    """Which one of its job, from 1."""
    sender: str | None
    """The user who sent it; None: a trusted caller."""
    sent_at: float
    """Wall clock, seconds since the epoch."""

    @classmethod
    def of(cls, row: SignalRow) -> Message:
        """The message of a stored row."""
        return cls(
            data=orjson.loads(row.body), id=row.id, seq=row.seq, sender=row.sender, sent_at=row.sent_at
        )


class Bell:
    """How many messages to one attempt's job are committed; rings when there are more."""

    def __init__(self, signals: int) -> None:
        self.signals = signals
        self._rung = trio.Event()

    def ring(self, signals: int) -> None:
        if signals > self.signals:
            self.signals = signals
            self._rung.set()
            self._rung = trio.Event()

    async def more_than(self, seq: int) -> None:
        """Wait until more than ``seq`` are committed."""
        while self.signals <= seq:
            await self._rung.wait()


class Bells:
    """The bells of the attempts that run here, by job id."""

    def __init__(self) -> None:
        self._bells: dict[str, Bell] = {}

    def open(self, job: Job) -> Bell:
        """The bell of an attempt that begins. **Resources**: it is kept until ``close``."""
        bell = self._bells[job.id] = Bell(job.signals)
        return bell

    def close(self, job: Job, bell: Bell) -> None:
        """The attempt is over; that of a later one stays."""
        if self._bells.get(job.id) is bell:
            del self._bells[job.id]

    def ring(self, job: Job) -> None:
        """A row of this job was committed."""
        bell = self._bells.get(job.id)
        if bell is not None:
            bell.ring(job.signals)

    def __len__(self) -> int:
        return len(self._bells)
