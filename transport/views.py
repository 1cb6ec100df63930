"""The store's rows and the channel's items as items of the wire."""

from __future__ import annotations

from typing import Any

import orjson

from trouper.actors.channel_items import (
    EndItem,
    FeedChanges,
    FeedSnapshot,
    GoneItem,
    OtherItem,
    PlacesItem,
    ProgressItem,
    RewindItem,
)
from trouper.store.records import Counts, Job, Notification, ThreadSummary
from trouper.store.signals import SignalRow
from trouper.transport import messages
from trouper.transport.codec import finite


def channel_item(item: OtherItem) -> messages.Item:
    """A channel's item as the wire has it. (Output has a way of its own: ``codec.encode_output``.)"""
    match item:
        case FeedChanges(epoch, changes):
            return messages.Feed(
                epoch,
                changes.prev,
                changes.seq,
                tuple(map(job_row, changes.jobs)),
                tuple(map(notification_row, changes.notifications)),
                counts(changes.counts),
            )
        case FeedSnapshot(epoch, snapshot):
            return messages.Snapshot(
                epoch,
                snapshot.seq,
                tuple(map(job_row, snapshot.jobs)),
                tuple(map(notification_row, snapshot.notifications)),
                counts(snapshot.counts),
            )
        case PlacesItem(places):
            return messages.Queue(tuple(messages.Place(job, place) for job, place in places))
        case ProgressItem():
            return messages.Progress(
                item.job_id, item.attempt, finite(item.done) or 0, finite(item.total), item.note
            )
        case RewindItem():
            return messages.Rewind(item.job_id, item.attempt, item.keep)
        case EndItem():
            return messages.OutputEnd(item.job_id, item.attempt, item.entries, item.sha256 or "", item.sent)
        case GoneItem():
            return messages.Gone(item.job_id, item.reason)


def counts(value: Counts) -> messages.Counts:
    return messages.Counts(value.unseen, value.unread)


def _row_fields(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "thread": job.thread,
        "state": str(job.state),
        "reason": job.reason,
        "attempt": job.attempt,
        "entries": job.entries,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "error": job.error,
        "cancel_requested": job.cancel_requested,
        "seq": job.feed_seq,
        "saved_entries": job.savepoint,
        "asking": _json(job.asking),
        "attempts_used": job.attempts_used,
        "began_after": job.began_after,
        "messages": job.signals,
        "messages_read": min(job.given, job.signals),
    }


def job_row(job: Job) -> messages.JobRow:
    """A job as the feed shows it: without arguments and result, which may be large."""
    return messages.JobRow(**_row_fields(job))


def job_detail(job: Job) -> messages.JobDetail:
    """A job as replies show it."""
    return messages.JobDetail(**_row_fields(job), arguments=_json(job.arguments), result=_json(job.result))


def _json(text: str | None) -> orjson.Fragment | None:
    """JSON of a row, as it is: it may be nested as deeply as can be read, which is deeper than orjson
    writes. A row that was damaged shows null there and spoils nothing beside it."""
    if text is None:
        return None
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return orjson.Fragment(text)


def notification_row(row: Notification) -> messages.NotificationRow:
    return messages.NotificationRow(
        id=row.id,
        job=row.job,
        thread=row.thread,
        kind=row.kind,
        key=row.key,
        title=row.title,
        body=row.body,
        created_at=row.created_at,
        seen=row.seen_at is not None,
        read=row.read_at is not None,
        archived=row.archived_at is not None,
        seq=row.feed_seq,
    )


def message_row(row: SignalRow) -> messages.MessageRow:
    return messages.MessageRow(row.seq, row.id, _json(row.body), row.sender, row.sent_at)


def thread_row(summary: ThreadSummary) -> messages.ThreadRow:
    return messages.ThreadRow(
        summary.thread,
        summary.jobs,
        summary.active,
        job_detail(summary.first),
        job_detail(summary.last),
    )
