"""Why a submit or a session is refused. Each has a ``code`` for the wire and says if trying again helps.

TrouperError
└── Refusal
    ├── UnknownJob      no such name, or clients may not submit it
    ├── ThreadIsBusy    on_busy="reject", and the thread has an active job
    ├── KeyConflict     the idempotency key was used with other content
    ├── QueueIsFull     as many jobs are queued as may be          (retryable)
    ├── UserQueueIsFull as many jobs of this user are queued as may be (retryable)
    ├── SignalsAreFull  as many messages to this job are pending as may be (retryable)
    ├── TooManySessions as many sessions are open as may be        (retryable)
    └── Draining        the runtime is stopping                    (retryable)
"""

from __future__ import annotations

from typing import ClassVar

from trouper.store.errors import TrouperError


class GatewayFailed(TrouperError):
    """A gateway crashed too often and is not started again."""


class Refusal(TrouperError):
    """Something asked for was refused; nothing was changed."""

    code: ClassVar[str] = "refused"
    retryable: ClassVar[bool] = False


class UnknownJob(Refusal):
    """No job of that name or id, or not for this caller."""

    code = "unknown_job"


class _ByAJob(Refusal):
    """Another job is why."""

    def __init__(self, message: str, job_id: str) -> None:
        super().__init__(message)
        self.job_id = job_id
        """That job."""


class ThreadIsBusy(_ByAJob):
    """``on_busy="reject"``, and the thread has an active job."""

    code = "thread_busy"


class KeyConflict(_ByAJob):
    """The idempotency key, or the id of the message, was used with other content."""

    code = "conflict"


class QueueIsFull(Refusal):
    """``max_queued`` jobs are queued, over all users."""

    code = "queue_full"
    retryable = True


class UserQueueIsFull(Refusal):
    """``max_queued_per_user`` jobs of this user are queued."""

    code = "user_queue_full"
    retryable = True


class SignalsAreFull(Refusal):
    """``signals_pending_max`` messages to this job wait to be read."""

    code = "signals_full"
    retryable = True


class TooManySessions(Refusal):
    """``max_sessions`` sessions are open."""

    code = "too_many_sessions"
    retryable = True


class Draining(Refusal):
    """The runtime is stopping, or has ended: the next one takes it."""

    code = "draining"
    retryable = True
