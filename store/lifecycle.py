"""The job table: every state, every event, and nothing else (J1).

    queued ──claim──▶ running ──complete──▶ completed
      ▲  │               │ ╰──fail───────▶ failed
      │  │               │ ╰──cancel─────▶ cancelled
      │  │               │ ╰──time_out───▶ timed_out
      │  │               │ ╰──lose───────▶ lost
      ╰──┼─retry,release─╯ ╰──claim──────▶ running   (its process died: claimed anew)
         │  and ask
         ╰──cancel, time_out, lose: ended without running

A terminal state knows no event: a job that has ended stays as it ended.
"""

from __future__ import annotations

import enum

from trouper.store.errors import IllegalEvent
from trouper.store.records import JobState


class JobEvent(enum.StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    TIME_OUT = "time_out"
    LOSE = "lose"
    RETRY = "retry"
    """The attempt crashed and another is to follow."""
    RELEASE = "release"
    """The attempt was given back by a node that stops."""
    ASK = "ask"
    """The attempt ended with a question to a person: the job waits for the answer."""


TABLE: dict[JobState, dict[JobEvent, JobState]] = {
    JobState.QUEUED: {
        JobEvent.CLAIM: JobState.RUNNING,
        JobEvent.CANCEL: JobState.CANCELLED,
        JobEvent.TIME_OUT: JobState.TIMED_OUT,
        JobEvent.LOSE: JobState.LOST,
    },
    JobState.RUNNING: {
        JobEvent.CLAIM: JobState.RUNNING,
        JobEvent.COMPLETE: JobState.COMPLETED,
        JobEvent.FAIL: JobState.FAILED,
        JobEvent.CANCEL: JobState.CANCELLED,
        JobEvent.TIME_OUT: JobState.TIMED_OUT,
        JobEvent.LOSE: JobState.LOST,
        JobEvent.RETRY: JobState.QUEUED,
        JobEvent.RELEASE: JobState.QUEUED,
        JobEvent.ASK: JobState.QUEUED,
    },
    JobState.COMPLETED: {},
    JobState.FAILED: {},
    JobState.CANCELLED: {},
    JobState.TIMED_OUT: {},
    JobState.LOST: {},
}


def after(state: JobState, event: JobEvent) -> JobState:
    """The state after ``event``.

    Raises ``IllegalEvent``, naming the state, the event and the events that are legal there.
    """
    try:
        return TABLE[state][event]
    except KeyError:
        legal = ", ".join(TABLE[state]) or "none: it is terminal"
        raise IllegalEvent(f"a {state} job cannot {event} (legal there: {legal})") from None
