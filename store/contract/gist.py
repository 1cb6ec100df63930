"""What a store's answers and rows amount to: the part of them that the model speaks of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trouper.store.completions import Completion, CompletionClaims
from trouper.store.contract.model.rows import Key, Row
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
from trouper.store.questions import AnswerOutcome, open_question
from trouper.store.records import Job, Notification
from trouper.store.signals import Heard, SignalAnswer, SignalClash, SignalsFull

FAR = 5e10
"""A time in the year 3554: what waits for a person without a time-out is due later than this."""

SEEN = (
    *("id", "state", "reason", "attempt", "attempts_used", "fence", "boot", "keeps", "savepoint", "saved"),
    *("cancel_requested", "superseded", "stuck", "unsafe", "signals", "heard", "given", "result"),
    "began_after",
)
"""The columns of a job that are compared at all times."""

TIMES = ("run_at", "expires_at", "unknown_until")
"""Those that are while it is queued."""


GISTS: dict[type, Callable[[Any], object]] = {
    Admitted: lambda told: ("admitted", told.job.id, told.created),
    Conflict: lambda told: ("conflict", told.job_id),
    ThreadBusy: lambda told: ("busy", told.job_id),
    QueueFull: lambda told: ("full", told.of_user),
    Claims: lambda told: (
        [(job.id, job.attempt) for job in told.started],
        [(job.id, job.state) for job in told.ended],
        told.next_due_at,
        told.queued,
    ),
    Appended: lambda told: "appended",
    Refused: lambda told: (str(told.reason), told.entries),
    Finished: lambda told: ("finished", told.job.state),
    Saved: lambda told: "saved",
    CancelResult: lambda told: str(told.answer),
    Notified: lambda told: ("notified", told.created),
    AnswerOutcome: str,
    SignalAnswer: str,
    Heard: lambda told: (told.row and told.row.seq, told.row and told.row.body),
    SignalClash: lambda told: "clash",
    SignalsFull: lambda told: "full",
    CompletionClaims: lambda told: (
        [(row.job, row.tries) for row, _ in told.started],
        told.next_due_at,
        told.dead,
    ),
    Completion: lambda told: (
        told.job,
        told.tries,
        told.claimed_at is not None,
        told.dead_at is not None,
        told.error,
    ),
}


def gist(answer: object) -> object:
    """What a store's answer amounts to."""
    return GISTS[type(answer)](answer) if type(answer) in GISTS else answer


def seen(job: Job | Row) -> tuple[object, ...]:
    """What is compared of a job, of the store's row and of the model's."""
    columns = (getattr(job, column) for column in SEEN)
    if isinstance(job, Row):
        return *columns, job.asking, job.asking_until
    question = open_question(job.asking)
    return *columns, question.get("key"), question.get("expires_at")


def times(job: Job | Row) -> tuple[object, ...]:
    """When what it waits for is due: compared apart, for a clock that is set moves them and no feed."""
    columns: list[Any] = [getattr(job, column) for column in TIMES]
    return tuple("never" if time is not None and time > FAR else time for time in columns)


def note_of(row: Notification) -> tuple[Key, bool, bool]:
    return (row.job, row.kind, row.key), row.seen_at is not None, row.read_at is not None
