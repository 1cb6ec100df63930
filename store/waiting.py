"""How a job waits in the queue: from when on it is due, until when it waits, what it waits for, and what a
wall clock that is set does to it. Pure functions on rows, as ``rules``, which says what comes of them.
"""

from __future__ import annotations

import attrs

from trouper.store.records import Job

UNKNOWN_JOB = "unknown_job"
"""The reason of a row whose name is registered nowhere: it waits, and is lost in the end."""

AT_A_TIME = 500
"""Rows that one claim ends since their time in the queue is over, that it tells that their name is not known
any more, that it tells that it is again, and whose question it tells of another time-out."""

NEVER = 1e11
"""When a job is due that waits for a person without a time-out, in seconds: about the year 5138."""


def queued_row(job: Job, run_at: float, now: float) -> Job:
    """The row of a job that waits from ``now`` on, due at ``run_at``. Each of its waits is bounded by
    itself, from when it is due: the time for which it was put off, or runs, is none in the queue."""
    limit_s = job.options.queue_timeout_s
    expires_at = None if limit_s is None else max(now, run_at) + limit_s
    # What an attempt read and did not save is given to the next one again.
    return attrs.evolve(job, run_at=run_at, expires_at=expires_at, unknown_until=None, given=job.heard)


def after_jump(job: Job, by_s: float, now: float) -> Job:
    """A queued row after the wall clock has jumped by ``by_s`` seconds, to ``now``."""

    run_at, later_s = job.run_at, by_s
    if job.at is not None and run_at == job.at > now - by_s:  # it stays when it was asked for
        later_s = max(0.0, now - job.at)
    elif run_at > 0:  # what was due stays due
        run_at += by_s

    def moved(time: float | None) -> float | None:
        return None if time is None else time + later_s

    return attrs.evolve(
        job, run_at=run_at, expires_at=moved(job.expires_at), unknown_until=moved(job.unknown_until)
    )


def unknown_row(job: Job, *, now: float, unknown_job_s: float) -> Job:
    """A queued row whose name no node knows."""
    until = max(now, job.run_at) + unknown_job_s
    return attrs.evolve(job, reason=UNKNOWN_JOB, unknown_until=until)


def known_row(job: Job) -> Job:
    """A queued row whose name is known again."""
    return attrs.evolve(job, reason=None if job.asking is None else "question", unknown_until=None)


def answered_row(job: Job, now: float) -> Job:
    """The row of a job that got the answer that it waited for: due, from ``now`` on."""
    return queued_row(attrs.evolve(job, asking=None, reason="answered", began_after="answered"), 0.0, now)
