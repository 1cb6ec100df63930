"""The reads that need more than one table, written once over the ``Tables`` of any engine."""

from __future__ import annotations

from trouper.store.protocol import Changes, OutputHead, OutputRange, Snapshot
from trouper.store.records import ThreadSummary
from trouper.store.tables import Tables


def threads(tables: Tables, user: str, before: str | None, limit: int) -> tuple[ThreadSummary, ...]:
    summaries = []
    for row in tables.threads_of(user, before, limit):
        first, last = tables.job(row.first), tables.job(row.last)
        if first is not None and last is not None:
            summaries.append(ThreadSummary(row.thread, row.jobs, row.active, first, last))
    return tuple(summaries)


def changes_since(tables: Tables, user: str, seq: int, limit: int) -> Changes | None:
    """The rows stamped above ``seq``; None if a snapshot is due instead (N3)."""
    feed_seq, floor_seq = tables.feed(user)
    if not floor_seq <= seq <= feed_seq:
        return None
    jobs = tables.changed_jobs(user, seq, limit + 1)
    notifications = tables.changed_notifications(user, seq, limit + 1)
    if len(jobs) + len(notifications) > limit:
        return None
    return Changes(seq, feed_seq, tuple(jobs), tuple(notifications), tables.counts(user))


def snapshot(tables: Tables, user: str, notifications: int) -> Snapshot:
    return Snapshot(
        tables.feed(user)[0],
        tuple(tables.active_jobs_of(user)),
        tuple(tables.notifications_of(user, None, notifications)),
        tables.counts(user),
    )


def output_head(tables: Tables, job_id: str) -> OutputHead | None:
    job = tables.job(job_id)
    return None if job is None else OutputHead(job, job.entries)


def read_output(tables: Tables, job_id: str, start: int, max_bytes: int) -> OutputRange | None:
    job = tables.job(job_id)
    if job is None:
        return None
    start = max(0, start)
    return OutputRange(job.attempt, start, tuple(tables.read_log(job_id, start, max_bytes)))
