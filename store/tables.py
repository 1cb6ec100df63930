"""The rows as a transaction sees them: what an engine must be able to do.

Two kinds of things lie here. *Rows* (jobs, notifications, feeds) are read and written whole. *Logs*
grow entry by entry on the hot path, so a running job's log has a ``Head``: enough to judge an
append by without reading a row. A head exists for exactly the jobs that run under this boot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import attrs
import orjson

from trouper.store.completions import CompletionRows
from trouper.store.nodes import NodeRows
from trouper.store.protocol import Mark
from trouper.store.questions import QuestionRows
from trouper.store.records import Counts, Entry, Job, JobState, Notification
from trouper.store.signals import SignalRows
from trouper.store.usage import StoreUsage

T = TypeVar("T")


@attrs.define
class Head:
    """Where the log of a running attempt stands."""

    job_id: str
    attempt: int
    fence: int
    entries: int
    used_ms: int


Turn = tuple[int, int]
"""A user's place in the order of turns: (when a job of the user was started last, counted in starts;
when the present wait began, counted in jobs)."""

FIRST_TURN: Turn = (-(2**63), 0)


@attrs.frozen
class Candidate:
    """A row that may be claimed."""

    job: Job
    place: int
    """Its place in the order of age, above 0."""


@attrs.frozen
class ThreadRow:
    """A thread as the tables know it; the jobs are given by their ids."""

    thread: str
    jobs: int
    active: int
    first: str
    last: str


class Tables(Protocol):
    """The rows of one store, inside one transaction. No method checks what ``rules`` decides."""

    @property
    def completions(self) -> CompletionRows: ...
    @property
    def nodes(self) -> NodeRows: ...
    @property
    def questions(self) -> QuestionRows: ...
    @property
    def signals(self) -> SignalRows: ...

    # feeds
    def feed(self, user: str) -> tuple[int, int]:
        """(feed_seq, floor_seq) of ``user``; (0, 0) of one who was never heard of."""
        ...

    def set_feed_seq(self, user: str, seq: int) -> None: ...
    def set_floor_seq(self, user: str, seq: int) -> None: ...

    # jobs; what runs is given with the entries and the running time of its head
    def job(self, job_id: str) -> Job | None: ...
    def job_by_key(self, user: str, key: str) -> Job | None: ...
    def insert_job(self, job: Job) -> None: ...
    def update_job(self, job: Job) -> None: ...
    def queued_up_to(self, limit: int) -> int:
        """How many rows are queued, counted no further than ``limit``."""
        ...

    def queued_of(self, user: str) -> int:
        """How many rows of ``user`` are queued."""
        ...

    def active_in(self, user: str, thread: str, now: float) -> list[Job]:
        """The jobs that run or wait in the thread, oldest first. One that has not begun and is put off
        beyond ``now`` is not in it yet."""
        ...

    def next_orphan(self, boot: int, after: int) -> Candidate | None:
        """The oldest running row of a dead boot (without leases: of any but ``boot``), of those above the
        place ``after``."""
        ...

    def next_due(
        self,
        now: float,
        per_user: int | None,
        turn: Turn,
        passed: Mapping[str, int],
        names: Collection[str] | None,
    ) -> tuple[Candidate, Turn] | None:
        """Of the users from ``turn`` on who have fewer than ``per_user`` running rows: the first with
        a queued row of one of ``names`` with ``run_at`` ≤ ``now`` whose thread is free, with the oldest
        such row above the user's place in ``passed``. A thread is free if no job of it runs and none waits
        for another attempt (that one itself may be given)."""
        ...

    def alone(
        self, candidate: Candidate, now: float, call: Callable[[], T], stamp: Callable[[str], int]
    ) -> T | None:
        """Carry out ``call``, which claims or ends ``candidate``. If the row is damaged so that
        neither can be done, what it did is undone, the row is set aside with the ``stamp`` of its user's
        feed, and this is None."""
        ...

    def waiting_users(self, limit: int) -> list[str]:
        """``limit`` users with queued rows, in the order of their turns."""
        ...

    def starts_of(self, user: str, now: float, limit: int) -> list[str]:
        """The ids of queued rows of ``user`` that need nothing but a place to start, oldest first: due by
        ``now``, of a known name, and of each free thread (see ``next_due``) the first."""
        ...

    def served(self, user: str) -> None:
        """A job of ``user`` is started: everybody else's turn comes before the next one of this user."""
        ...

    def next_due_at(self, now: float) -> float | None:
        """The earliest ``run_at`` above ``now``, ``expires_at`` or ``unknown_until`` of a queued row."""
        ...

    def next_expired(self, now: float) -> Candidate | None:
        """A queued row with ``expires_at`` or ``unknown_until`` ≤ ``now``."""
        ...

    def unmarked(self, names: Collection[str], limit: int) -> list[Candidate]:
        """Queued rows without an ``unknown_until`` whose name is not one of ``names``."""
        ...

    def marked(self, names: Collection[str], limit: int) -> list[Candidate]:
        """Queued rows with an ``unknown_until`` whose name is one of ``names``."""
        ...

    def misdated(self, limit: int) -> list[Candidate]:
        """Queued rows whose question shows another time-out than their ``run_at``. (Only a jump of the clock
        makes some: to ask costs nothing without one.)"""
        ...

    def clock_jumped(self, by_s: float, now: float) -> None:
        """The wall clock has jumped to ``now``: what was to happen after some time moves along. What is
        to happen *at* a time (``at``) and lay ahead stays; if it is due by the jump, its time in the queue
        begins now."""
        ...

    # notifications
    def notification(self, user: str, job: str, kind: str, key: str) -> Notification | None: ...
    def insert_notification(self, notification: Notification) -> None: ...
    def remove_notifications(self, user: str, job_id: str) -> int:
        """Remove those of a job; how many there were."""
        ...

    def mark(
        self,
        user: str,
        mark: Mark,
        *,
        ids: Sequence[str],
        job_id: str | None,
        upto_seq: int | None,
        at: float,
        seq: int,
    ) -> int:
        """Mark what is not marked yet, stamp it with ``seq``, and give the number of rows changed."""
        ...

    def counts(self, user: str) -> Counts: ...

    # keys that were cancelled before their job came
    def tombstone(self, user: str, key: str) -> float | None:
        """When it expires; None if there is none."""
        ...

    def put_tombstone(self, user: str, key: str, expires_at: float, *, now: float, most: int) -> None:
        """Put one, or move its end; what has expired goes, and of the user's those beyond ``most`` that
        expire first."""
        ...

    def remove_tombstone(self, user: str, key: str) -> None: ...

    # logs
    def head(self, job_id: str, /) -> Head | None: ...
    def append(self, head: Any, entries: Sequence[Entry], payload: int, used_ms: int, /) -> None:
        """Put ``entries`` (of ``payload`` bytes) at the end of a running job's log; ``head`` is one of these
        tables' own."""
        ...

    def begin_log(self, job: Job) -> None:
        """An attempt was claimed: cut its log to ``job.entries`` and open a head.

        Raises ``StoreCorrupt``, having changed nothing, if what is to be kept cannot be read."""
        ...

    def settle_log(self, job: Job) -> None:
        """The attempt has ended: close its head."""
        ...

    def empty_log(self, job_id: str) -> None:
        """Take all out of a log that has no head."""
        ...

    def read_log(self, job_id: str, start: int, max_bytes: int) -> list[Entry]:
        """Entries from ``start``: at least one if there is one, else up to ``max_bytes`` of payload."""
        ...

    def hash_log(self, job_id: str) -> tuple[int, str]:
        """(entries, SHA-256) of a log that has no head, cut before the first that cannot be read."""
        ...

    # lists
    def jobs_of(self, user: str, thread: str | None, before: str | None, limit: int) -> list[Job]: ...
    def threads_of(self, user: str, before: str | None, limit: int) -> list[ThreadRow]: ...
    def notifications_of(self, user: str, before: str | None, limit: int) -> list[Notification]: ...
    def active_jobs_of(self, user: str) -> list[Job]:
        """Oldest first."""
        ...

    def changed_jobs(self, user: str, seq: int, limit: int) -> list[Job]:
        """Those stamped above ``seq``, in the order of their stamps, at most ``limit``."""
        ...

    def changed_notifications(self, user: str, seq: int, limit: int) -> list[Notification]: ...
    def running(self, boot: int) -> list[Candidate]:
        """The rows that run under ``boot``, oldest first."""
        ...

    def count_state(self, state: JobState) -> int: ...
    def usage(self, now: float, users: int) -> StoreUsage:
        """With the ``users`` that have the most active rows."""
        ...


def payload_of(entries: Sequence[Entry]) -> int:
    """The payload of entries, in bytes of UTF-8 (the hot path: texts are looked at all at once).

    Raises ``TypeError`` naming the place of an entry that is none, or that holds a lone surrogate.
    """
    try:
        text = "".join(entries)  # type: ignore[arg-type]  # an event is no text, and says so
        return len(text) if text.isascii() else len(text.encode())
    except (TypeError, UnicodeEncodeError):
        return sum(_payload(place, entry) for place, entry in enumerate(entries))


def _payload(place: int, entry: object) -> int:
    """Of one, which may be anything: what a job was typed to give is not what it gives."""
    parts: Any = (entry,) if isinstance(entry, str) else entry
    legal = isinstance(entry, str) or (type(parts) is tuple and len(parts) == 2)
    if not legal or not all(isinstance(part, str) for part in parts):
        raise TypeError(f"entry {place} is neither a text nor a (name, JSON text) pair")
    try:
        return sum(len(part.encode()) for part in parts)
    except UnicodeEncodeError as cause:
        raise TypeError(f"entry {place} holds a lone surrogate") from cause


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """The stored form of entries, which ``payload_of`` has checked: a JSON array of strings and
    [name, JSON text] pairs."""
    return orjson.dumps(entries)


def decode_entries(body: bytes) -> list[Entry]:
    """The entries that ``encode_entries`` made ``body`` of. Raises ``ValueError`` if it is damaged."""
    entries: list[Entry] = []
    loaded = orjson.loads(body)
    if not isinstance(loaded, list):
        raise ValueError("a block of output is not an array")
    for entry in loaded:
        if isinstance(entry, str):
            entries.append(entry)
        elif isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry):
            entries.append((entry[0], entry[1]))
        else:
            raise ValueError("a block of output holds something that is no entry")
    return entries
