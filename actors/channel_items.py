"""What a channel gives its session: items in wire order, each a value."""

from __future__ import annotations

import attrs

from trouper.store.protocol import Changes, QueuePlaces, Snapshot
from trouper.store.records import JobState

END_BYTES = 64
"""What an ``EndItem`` counts in ``sent``: its hash. So the ack of an end differs from any before."""

Part = str | tuple[str, str]


@attrs.frozen
class FeedSnapshot:
    epoch: str
    snapshot: Snapshot


@attrs.frozen
class FeedChanges:
    epoch: str
    changes: Changes


@attrs.frozen
class PlacesItem:
    """The places in the queue of all the user's jobs that have one."""

    places: QueuePlaces


@attrs.frozen
class ProgressItem:
    job_id: str
    attempt: int
    done: float
    total: float | None
    note: str | None


@attrs.frozen
class RewindItem:
    job_id: str
    attempt: int
    keep: int


@attrs.define
class OutputItem:
    """(Not frozen: that would cost a microsecond for each message.)"""

    job_id: str
    attempt: int
    start: int
    end: int
    parts: list[Part]
    """Neighbouring texts joined into one, events as (name, JSON text)."""
    sent: int
    encoded: list[bytes] = attrs.field(factory=list, eq=False, repr=False)
    """Shared by the sessions that are given the same range: whoever encodes it first leaves that here."""
    message: bytes | None = attrs.field(default=None, eq=False, repr=False)
    """The same of a message of nothing but this, which those share that have been sent as much."""

    def for_sent(self, sent: int) -> OutputItem:
        """The same range for a session that has been sent ``sent`` bytes with it."""
        return OutputItem(self.job_id, self.attempt, self.start, self.end, self.parts, sent, self.encoded)


@attrs.frozen
class EndItem:
    job_id: str
    attempt: int
    entries: int
    sha256: str | None
    state: JobState
    sent: int


@attrs.frozen
class GoneItem:
    job_id: str
    reason: str


OtherItem = FeedSnapshot | FeedChanges | PlacesItem | ProgressItem | RewindItem | EndItem | GoneItem
ChannelItem = OutputItem | OtherItem
