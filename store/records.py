"""The rows: jobs, notifications and output entries, as every floor sees them.

Times called ``*_at`` are wall-clock seconds since the epoch; durations name their unit.
"""

from __future__ import annotations

import enum

import attrs

Entry = str | tuple[str, str]
"""One entry of a job's output: a piece of text, or an event as (name, JSON text).

A plain string and a plain tuple, not classes: entries are the hot path. A job's output is the list
of them; a *cursor* counts them.
"""


def entry_bytes(entry: Entry) -> int:
    """The payload of an entry in UTF-8 bytes, before any escaping."""
    if isinstance(entry, str):
        return len(entry) if entry.isascii() else len(entry.encode())
    return len(entry[0].encode()) + len(entry[1].encode())


class JobState(enum.StrEnum):
    """Where a job stands. ``QUEUED`` and ``RUNNING`` are active, the rest terminal."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"

    @property
    def terminal(self) -> bool:
        """Whether it has ended: no state follows."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@attrs.frozen
class JobOptions:
    """What a job's declaration said when it was submitted: kept with the row.

    A job that is retried after a redeploy keeps the terms it was admitted on.
    """

    attempts: int = 1
    """How many attempts may be used up by crashes and process deaths."""
    backoff_base_s: float = 1.0
    backoff_factor: float = 2.0
    backoff_max_s: float = 60.0
    """Before retry k (from 1): a uniform draw from [0, min(max, base × factor^(k-1))] (full jitter)."""
    timeout_s: float | None = None
    """Running time over all attempts, in seconds."""
    idle_timeout_s: float | None = None
    """How long an attempt may go on without an entry, in seconds of running time."""
    queue_timeout_s: float | None = None
    """How long it may wait in the queue, each time, from when it is due, in seconds by the wall clock."""
    on_process_death: str = "retry"
    """``retry`` or ``end``."""
    notify_on: tuple[str, ...] = ("completed", "failed", "timed_out", "lost")
    """The terminal states that leave a notification."""
    on_ended: bool = False
    """Whether something is to be done when it has ended: a completion is written with its end."""


@attrs.frozen(kw_only=True)
class Job:
    """One row of the job table."""

    id: str
    user: str
    name: str
    """The registered job function."""
    thread: str | None = None
    """The conversation or page that it belongs to: jobs of one thread run one after the other."""
    arguments: str = "{}"
    """Canonical JSON of the keyword arguments."""
    idempotency_key: str | None = None
    fingerprint: str = ""
    """SHA-256 (hex) of the canonical JSON of [name, thread, arguments]."""
    options: JobOptions = JobOptions()
    state: JobState = JobState.QUEUED
    reason: str | None = None
    """Why it stands where it stands: ``user`` (cancelled by one), ``superseded`` (by a later job of its
    thread), ``crash``, ``process_death``, ``timeout``, ``idle_timeout``, ``queue_timeout``, ``released``,
    ``unsafe:<step>``, ``attempts``, ``question`` (it waits for a person), ``answered``, ``unknown_job`` (no
    live node has a job of its name) …; None for a plain
    completion."""
    attempt: int = 0
    """0 while it has never been claimed; rises at every claim."""
    attempts_used: int = 0
    """Attempts that ended by a crash, an idle time-out or a process death; releases do not count."""
    began_after: str | None = None
    """What its present attempt (while it is queued: the next) goes on after: ``crash``, ``idle_timeout``,
    ``process_death``, ``released``, ``question`` (it waits for a person), ``answered``, ``unanswered`` (its
    question's time was over); None for the first."""
    fence: int = 0
    """Proves the right to write the current attempt; rises at every claim and at a forced end."""
    boot: int | None = None
    """The boot of the store that claimed the current attempt; None unless running."""
    run_at: float = 0.0
    """Not claimed before this."""
    at: float | None = None
    """The time by the wall clock that it was submitted for; None: as soon as may be, or after a delay."""
    expires_at: float | None = None
    """While it is queued: it ends ``timed_out`` if it has not been claimed by then."""
    unknown_until: float | None = None
    """While no job of its name is registered: it ends ``lost`` if none has been by then."""
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    used_ms: int = 0
    """Running time used so far, as of the last commit."""
    cancel_requested: bool = False
    superseded: str | None = None
    """``interrupt`` or ``rollback``: a later job of its thread asked that this one ends, however."""
    stuck: bool = False
    unsafe: str | None = None
    """The step declared unsafe that is under way, or over without a savepoint behind it."""
    savepoint: int = 0
    """Entries that the log held when the state was saved; 0 if never."""
    saved: str | None = None
    """The state saved, as JSON."""
    signals: int = 0
    """Messages to it that were accepted; they are numbered from 1."""
    heard: int = 0
    """How many of them it had read at its savepoint."""
    given: int = 0
    """How many of them its present attempt has read; what it read behind the savepoint waits again when that
    attempt is over."""
    asking: str | None = None
    """While it waits for a person: its question, as JSON {key, question, schema, asked_at, expires_at}."""
    keeps: tuple[int, ...] = ()
    """keeps[m-1]: the entries that the claim of attempt m left in the log."""
    entries: int = 0
    """Entries in the committed log. For a running job this is the count at the row's last write:
    ask ``Store.output_head`` for the present one."""
    sha256: str | None = None
    """Hash of the whole log, once terminal."""
    result: str | None = None
    """What the job returned, as JSON, once completed."""
    error: str | None = None
    feed_seq: int = 0
    """The user's feed seq of the row's last change."""


@attrs.frozen(kw_only=True)
class Notification:
    """One row of a user's inbox; unique on (user, job, kind, key)."""

    id: str
    user: str
    job: str
    thread: str | None = None
    """The job's thread, so that a notification leads there without a look at the job."""
    kind: str
    """``ended`` (made by the finishing transaction), ``message`` (by ``ctx.notify``) or ``question`` (by
    ``ctx.ask_user``)."""
    key: str = ""
    title: str = ""
    body: str = ""
    created_at: float = 0.0
    seen_at: float | None = None
    read_at: float | None = None
    archived_at: float | None = None
    feed_seq: int = 0


@attrs.frozen
class Counts:
    """Absolute counts over a user's notifications that are not archived."""

    unseen: int = 0
    unread: int = 0


@attrs.frozen
class ThreadSummary:
    """One line of a list of threads."""

    thread: str
    jobs: int
    active: int
    first: Job
    last: Job


def keep_after(keeps: tuple[int, ...], attempt: int, entries: int) -> int:
    """What a reader at cursor (``attempt``, ``entries``) may keep under the latest attempt (O3).

    ``min(entries, keep of every later attempt)``; 0 for an attempt that never was.
    """
    if not 0 <= attempt <= len(keeps):
        return 0
    return min([entries, *keeps[attempt:]])
