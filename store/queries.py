"""The reads that need more than one table, written once over the ``Tables`` of any engine."""

from __future__ import annotations

from collections.abc import Container
from itertools import accumulate

from trouper.store.protocol import Changes, OutputHead, OutputRange, QueuePlaces, Snapshot
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


def queue_places(
    tables: Tables, now: float, wanted: Container[str], *, per_user: int, users: int
) -> dict[str, QueuePlaces]:
    """See ``Store.queue_places``.

    What another job of its thread holds up has none: no place tells when that one ends. The k-th job of a
    user starts in round k of the turns: after k jobs of each who comes before the user in a round and k-1
    of each who comes after, as far as they have so many.
    """
    waiting = {user: tables.starts_of(user, now, per_user) for user in tables.waiting_users(users)}
    counts = list(map(len, waiting.values()))
    # sums[k][n]: how many of the first n users' jobs start in the first k rounds.
    sums = [list(accumulate((min(k, count) for count in counts), initial=0)) for k in range(per_user + 1)]
    return {
        user: tuple(
            (job_id, sums[k][turn] + sums[k - 1][-1] - sums[k - 1][turn + 1] + k)
            for k, job_id in enumerate(starts, 1)
        )
        for turn, (user, starts) in enumerate(waiting.items())
        if user in wanted
    }


def output_head(tables: Tables, job_id: str) -> OutputHead | None:
    job = tables.job(job_id)
    return None if job is None else OutputHead(job, job.entries)


def read_output(tables: Tables, job_id: str, start: int, max_bytes: int) -> OutputRange | None:
    job = tables.job(job_id)
    if job is None:
        return None
    start = max(0, start)
    return OutputRange(job.attempt, start, tuple(tables.read_log(job_id, start, max_bytes)))
