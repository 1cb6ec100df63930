"""What a store's answers and rows amount to: the part of them that the model speaks of."""

from __future__ import annotations

from trouper.store.contract.model import Key
from trouper.store.protocol import (
    Admitted,
    Appended,
    CancelResult,
    Claims,
    Conflict,
    Finished,
    Notified,
    QueueFull,
    Refused,
    Saved,
    ThreadBusy,
)
from trouper.store.records import Job, Notification


def gist(answer: object) -> object:
    """What a store's answer amounts to."""
    match answer:
        case Admitted(job=job, created=created):
            return "admitted", job.id, created
        case Conflict(job_id=job_id):
            return "conflict", job_id
        case ThreadBusy(job_id=job_id):
            return "busy", job_id
        case QueueFull(of_user=of_user):
            return "full", of_user
        case Claims(started=started, ended=ended, next_due_at=due):
            return [(job.id, job.attempt) for job in started], [(job.id, job.state) for job in ended], due
        case Appended(entries=entries):
            return "appended", entries
        case Refused(reason=reason, entries=entries):
            return str(reason), entries
        case Finished(job=job):
            return "finished", job.state
        case Saved():
            return "saved"
        case CancelResult(answer=told):
            return str(told)
        case Notified(created=created):
            return "notified", created
    return answer


def row_of(job: Job) -> tuple[object, ...]:
    """What the model speaks of in a store's row, as its own ``row``."""
    stops = (job.cancel_requested, job.superseded, job.stuck, job.unsafe)
    claims = (job.attempt, job.attempts_used, job.fence, job.boot, job.run_at)
    return job.id, job.state, claims, stops, job.savepoint, job.saved


def note_of(row: Notification) -> tuple[Key, bool, bool]:
    return (row.job, row.kind, row.key), row.seen_at is not None, row.read_at is not None
