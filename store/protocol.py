"""The ``Store``: about fifteen coarse transactions, their requests and their results.

Every engine passes one contract suite. A *refusal* (an old fence, a key used with other content) is
a value and leaves nothing changed. ``StoreUnavailable`` is raised to the caller of the operation
that could not be done, and to nobody else; nothing of it was committed, or, if the outcome is not
known, repeating it is safe: append carries its expected start, finish compares the fence, admission
goes by id and key.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import attrs
import trio

from trouper.store.admissions import Admission as Admission
from trouper.store.admissions import Admitted as Admitted
from trouper.store.admissions import Conflict as Conflict
from trouper.store.admissions import OnBusy as OnBusy
from trouper.store.admissions import QueueFull as QueueFull
from trouper.store.admissions import ThreadBusy as ThreadBusy
from trouper.store.completions import CompletionStore
from trouper.store.leases import Begun, LeasedStore
from trouper.store.people import CancelAnswer as CancelAnswer
from trouper.store.people import CancelResult as CancelResult
from trouper.store.people import Mark as Mark
from trouper.store.people import Notified as Notified
from trouper.store.people import Notify as Notify
from trouper.store.questions import Ask, QuestionStore
from trouper.store.records import Counts, Entry, Job, JobState, Notification, ThreadSummary
from trouper.store.signals import Heard, SignalStore
from trouper.store.usage import StoreUsage
from trouper.store.views import ANY_NAME as ANY_NAME
from trouper.store.views import Changes as Changes
from trouper.store.views import Names as Names
from trouper.store.views import OutputHead as OutputHead
from trouper.store.views import OutputRange as OutputRange
from trouper.store.views import QueuePlaces as QueuePlaces
from trouper.store.views import QueueStore
from trouper.store.views import Snapshot as Snapshot

# --- running ------------------------------------------------------------------------------------


@attrs.frozen
class Claims:
    """What one claim did.

    ``started``: rows that are now running under this boot and that the caller must run.
    ``ended``: rows that were claimed only to be ended (intent to cancel, out of attempts, …).
    ``next_due_at``: when to claim again at the latest: the earliest queued row that is not yet due falls
    due then, or one reaches its end; None if there is none.
    ``now``: what the store's clock showed, by which it is: a shared store has a clock of its own, and a
    node that asked its own how long to wait would claim in vain, again and again.
    ``queued``: how many rows are queued, over all users.
    """

    started: tuple[Job, ...]
    ended: tuple[Job, ...]
    next_due_at: float | None
    now: float
    queued: int = 0


class RefusalReason(enum.StrEnum):
    FENCED = "fenced"
    """The attempt is no longer the caller's: stop, and write nothing."""
    GAP = "gap"
    """The log does not end where the request expects; ``Refused.entries`` tells where it does."""
    POISONED = "poisoned"
    """This one operation cannot be carried out (its data was not accepted)."""


@attrs.frozen
class Refused:
    reason: RefusalReason
    entries: int = 0
    detail: str = ""


named_tuple = tuple.__new__
"""Makes a named tuple of all its fields: for those of which every commit needs one. (What ``NamedTuple``
writes itself takes three times as long.)"""


@attrs.define
class Append:
    """Entries ``start … start+len(entries)`` of an attempt's log.

    It belongs to its source, with its entries, and may be used again as soon as the source was told what
    became of it: who commits later than that copies what it needs. (Every commit has one for each streaming
    job. A new object for each, and what Python's garbage collector does with it, cost more than the append.)
    """

    job_id: str
    fence: int
    start: int
    entries: Sequence[Entry]
    used_ms: int


@attrs.frozen
class Appended:
    """All of the append is in the log."""

    asks_again: bool = attrs.field(default=False, eq=False)
    """The store takes once more by itself: who goes on producing need not say so for each commit."""


APPENDED = Appended()
APPENDED_ASKS_AGAIN = Appended(asks_again=True)


@attrs.frozen
class AppendFailed:
    """The store is down; what was taken must be offered again."""

    error: str


class OutputSource(Protocol):
    """Who produces output: the store *pulls* from it when it builds a batch.

    So any number of writes between two commits become one append, and a commit that happens for
    another reason (a submit, a savepoint, a finish) takes all pending output along.
    """

    def take(self) -> Append | None:
        """All that is to be committed next, or None. Called in trio's thread, once after ``dirty`` was told
        of it (however often) and once more after what ``settled`` says; until ``settled`` is called for what
        was taken, ``take`` is not called again."""
        ...

    def settled(self, result: Appended | Refused | AppendFailed) -> None:
        """What became of the append; called in trio's thread, after the commit and before the
        listeners. After ``AppendFailed`` the store asks again by itself when it is up again, and after
        ``Appended`` with ``asks_again`` at its next commit of output; else, and after it has given None, a
        source that has more says so itself (``dirty``). Never called of what was under way when a store was
        left with its disk (``StoreAbandoned``): that may still be read."""
        ...


@attrs.frozen
class Savepoint:
    """The state ``saved`` (JSON) holds at entry ``entries``, which the log must have. (It may have more
    by now: another task of the job may write on while this one waits.)"""

    job_id: str
    fence: int
    entries: int
    saved: str
    used_ms: int
    heard: int = 0
    """How many messages to the job the state has taken in."""


class EndingKind(enum.StrEnum):
    RETURNED = "returned"
    FAILED = "failed"
    """For good: ``raise trouper.Fail``."""
    CRASHED = "crashed"
    """An exception: retried while attempts remain. With ``retry_after_s``, not before that."""
    IDLE = "idle"
    """No entry came for too long: retried as a crash is, and ``timed_out`` when no attempt remains."""
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    RELEASED = "released"
    """Given back by a node that stops: queued again, due at once, no attempt used."""
    ASKED = "asked"
    """It asks a person: queued until there is an answer or it is too late for one; no attempt used."""


@attrs.frozen(kw_only=True)
class Finish:
    """How an attempt ended. Whether the job ends with it is the rules' to say."""

    job_id: str
    fence: int
    kind: EndingKind
    entries: int
    """The length that the log must have (pending output is committed along with this)."""
    sha256: str
    """Hash over the whole log of ``entries`` entries (O6); stored when the job ends."""
    used_ms: int
    result: str | None = None
    error: str | None = None
    reason: str | None = None
    retry_after_s: float | None = None
    stuck: bool = False
    question: Ask | None = None
    """What it asks, with ``ASKED``."""
    jitter: float = 1.0
    """A draw from [0, 1) that the back-off of a retry is multiplied with."""


@attrs.frozen
class Finished:
    job: Job
    notification: Notification | None = None
    """The row that the same transaction wrote, if it did."""


@attrs.frozen
class Saved:
    job: Job


# --- told after a commit --------------------------------------------------------------------------


class CommitNotice(NamedTuple):
    """What one commit changed, told to listeners in trio's thread before any waiter wakes.

    ``outputs``: job id → (attempt, committed entries) of logs that grew.
    ``jobs``: rows as they are now. ``feeds``: user → ``feed_seq`` now.
    ``due``: there may be something to claim (a submit, a retry, an end that frees a thread).
    """

    outputs: Mapping[str, tuple[int, int]]
    jobs: tuple[Job, ...]
    feeds: Mapping[str, int]
    due: bool


class Store(LeasedStore, CompletionStore, SignalStore, QuestionStore, QueueStore, Protocol):
    """What is remembered. One instance is one start (*boot*) of the store.

    ``run`` is the store's task: it opens the engine, raises ``boot``, calls ``task_status.started``
    and serves until it is cancelled; then it commits what is pending and closes the engine, which it bounds
    itself, by ``StoreOptions.close_s``: a task that does not end is reported, and waited for. The other
    methods work between the two and raise ``StoreUnavailable`` outside of it.

    **Cancellation** of a transaction: it is a cancellation point only before it was handed to the
    engine; after that it is waited for, so that its caller knows the outcome, but no longer than the
    engine waits for its disk (``StoreOptions.answer_s``): what was cancelled may then have been committed.
    """

    @property
    def epoch(self) -> str:
        """An id made with the database: cursors of another epoch are void."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None: ...
    def listen(self, listener: Callable[[CommitNotice], None]) -> None:
        """``listener`` is called, in trio's thread, in the step after each commit, before waiters. On a
        shared store also after each commit of another node: in order, and none is left out, but late if
        the node was cut off."""
        ...

    async def admit(self, admission: Admission) -> Admitted | Conflict | ThreadBusy | QueueFull: ...
    async def claim(
        self,
        limit: int,
        per_user: int | None = None,
        *,
        names: Names = ANY_NAME,
        begun: Begun | None = None,
    ) -> Claims:
        """Claim up to ``limit`` rows to run: orphans of dead boots first, then of the users with
        fewer than ``per_user`` running rows the one served longest ago, and of that one the oldest
        due row whose thread is free; and so on. Rows that are only to be ended do not count, and are
        ended also if ``limit`` is 0 when their time in the queue is over.

        The claim registers ``names`` as what this node can run, in the place of what it registered before,
        for as long as its boot is live. A row that is of no live node's names waits, with the reason
        ``unknown_job``, and ends ``lost``; what a dead node left running and this one cannot run goes back
        into the queue. Raises ``DataRefused`` for more than ``job_names_max`` names.

        ``begun``: an earlier claim was not answered. What of it was never begun is *released*, due at once,
        and may be claimed by this one: it used no attempt."""
        ...

    def dirty(self, source: OutputSource, urgent: bool = False) -> None:
        """``source`` has something to commit: soon, its ``take`` is called. Never blocks.

        ``urgent``: it runs out of room, so it goes as soon as an operation would. May be told of a source
        that is dirty already."""
        ...

    async def savepoint(self, request: Savepoint) -> Saved | Refused: ...
    async def unsafe(self, job_id: str, fence: int, step: str | None, used_ms: int = 0) -> Saved | Refused:
        """An unsafe step begins (its name) or has ended (None)."""
        ...

    async def hear(self, job_id: str, fence: int, after: int) -> Heard | Refused:
        """The attempt reads its next message behind ``after``. The row of the job tells that it was read
        (``Job.given``), until that attempt is over."""
        ...

    async def finish(self, request: Finish) -> Finished | Refused:
        """End an attempt. Terminal state, pending output, notification and feed are one commit.
        Repeating a finish that has been carried out (same fence) gives ``Finished`` again."""
        ...

    async def lose(self, job_id: str, fence: int, reason: str) -> Finished | Refused:
        """End a running job ``lost`` with what can be read of its output: for one that is damaged."""
        ...

    async def cancel(self, job_id: str, user: str | None) -> CancelResult:
        """A queued job ends; for a running one the intent is recorded. ``user`` None: trusted."""
        ...

    async def cancel_key(self, user: str, key: str) -> CancelResult:
        """As ``cancel``, for the job that ``user`` submitted or will submit with ``key``. If there is none
        yet, the key is remembered (for a while, and so many of each user), and the submit that comes with
        it is cancelled from the beginning."""
        ...

    async def notify(self, request: Notify) -> Notified | Refused: ...
    async def mark(
        self,
        user: str,
        mark: Mark,
        *,
        ids: tuple[str, ...] = (),
        job_id: str | None = None,
        upto_seq: int | None = None,
    ) -> Counts:
        """Mark notifications of ``user``: those of ``ids``, of ``job_id``, or all with a feed seq
        up to ``upto_seq``. Unknown ids and those of others are passed over."""
        ...

    async def job(self, job_id: str) -> Job | None: ...
    async def jobs(
        self, user: str, *, thread: str | None = None, before: str | None = None, limit: int = 50
    ) -> tuple[Job, ...]:
        """Newest first; ``before``: a job id, exclusive (unknown: nothing)."""
        ...

    async def threads(
        self, user: str, *, before: str | None = None, limit: int = 50
    ) -> tuple[ThreadSummary, ...]:
        """By their newest job, newest first; ``before``: a thread, exclusive."""
        ...

    async def notifications(
        self, user: str, *, before: str | None = None, limit: int = 50
    ) -> tuple[Notification, ...]:
        """Not archived, newest first; ``before``: a notification id, exclusive."""
        ...

    async def changes_since(self, user: str, seq: int, limit: int) -> Changes | None:
        """None if ``seq`` is above the feed's, below its floor, or more than ``limit`` rows behind."""
        ...

    async def snapshot(self, user: str, notifications: int) -> Snapshot: ...
    async def output_head(self, job_id: str) -> OutputHead | None: ...
    async def read_output(self, job_id: str, start: int, max_bytes: int) -> OutputRange | None:
        """Committed entries from ``start``: at least one if there is one, and no more than
        ``max_bytes`` of payload unless the first alone is larger. None: no such job."""
        ...

    async def running(self) -> tuple[Job, ...]:
        """The rows that run under this boot."""
        ...

    async def active_counts(self) -> Mapping[JobState, int]:
        """How many rows are queued and running."""
        ...

    async def usage(self, users: int) -> StoreUsage:
        """How far the bounds of users and of jobs are used, with the ``users`` that have the most active
        rows. It looks at every active row: not for the hot path."""
        ...

    def statistics(self) -> Mapping[str, int]:
        """Named counters and the use of each bound."""
        ...
