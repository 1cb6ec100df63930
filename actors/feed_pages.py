"""A large piece of the feed, cut so that each part fits a message. No ``await``.

Rows carry the seq of their last change, so the rows up to a seq are the feed as of that seq, but for what has
changed since, which comes after it anyway. So a snapshot is cut into a snapshot of an earlier seq and the
changes since: a session that is cut in between goes on from there, and to a client they are a snapshot
and a change like any other.
"""

from __future__ import annotations

from itertools import pairwise

import attrs

from trouper.actors.channel_items import FeedChanges, FeedSnapshot
from trouper.store.protocol import Changes
from trouper.store.records import Job, Notification

_ROW_BYTES = 500
"""Of a row on the wire, besides its longer texts."""


def row_bytes(row: Job | Notification) -> int:
    """About how large a row is on the wire, in bytes."""
    texts: tuple[str | None, ...] = (
        (row.thread, row.title, row.body)
        if isinstance(row, Notification)
        else (row.name, row.thread, row.error, row.asking)
    )
    return _ROW_BYTES + sum(len(text.encode(errors="replace")) for text in texts if text)


def first_part(
    item: FeedSnapshot | FeedChanges, max_bytes: int
) -> tuple[FeedSnapshot | FeedChanges, FeedChanges | None]:
    """As much of ``item`` as fits ``max_bytes``, and the rest. What one transaction changed is not divided:
    so much is in one part, however large it is."""
    whole = item.snapshot if isinstance(item, FeedSnapshot) else item.changes
    rows: list[Job | Notification] = [*whole.jobs, *whole.notifications]
    if sum(map(row_bytes, rows)) <= max_bytes:
        return item, None
    rows.sort(key=lambda row: row.feed_seq)
    size = row_bytes(rows[0])
    for before, row in pairwise(rows):
        size += row_bytes(row)
        if size > max_bytes and row.feed_seq > before.feed_seq:
            return _cut(item, before.feed_seq)
    return item, None


def _cut(item: FeedSnapshot | FeedChanges, seq: int) -> tuple[FeedSnapshot | FeedChanges, FeedChanges]:
    whole = item.snapshot if isinstance(item, FeedSnapshot) else item.changes
    jobs = [tuple(row for row in whole.jobs if (row.feed_seq > seq) == later) for later in (False, True)]
    notes = [
        tuple(row for row in whole.notifications if (row.feed_seq > seq) == later) for later in (False, True)
    ]
    rest = FeedChanges(item.epoch, Changes(seq, whole.seq, jobs[1], notes[1], whole.counts))
    if isinstance(item, FeedSnapshot):
        part = attrs.evolve(item.snapshot, seq=seq, jobs=jobs[0], notifications=notes[0])
        return FeedSnapshot(item.epoch, part), rest
    changes = attrs.evolve(item.changes, seq=seq, jobs=jobs[0], notifications=notes[0])
    return FeedChanges(item.epoch, changes), rest
