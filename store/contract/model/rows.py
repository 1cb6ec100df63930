"""The rows; how a job waits, how it ends, and what a clock that is set does to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import attrs

from trouper.store.leases import Begun
from trouper.store.options import StoreOptions
from trouper.store.protocol import Admission
from trouper.store.records import Entry

Key = tuple[str, str, str]
"""(job, kind, key) of a notification."""

NEVER = math.inf
FENCED = ("fenced", 0)
NO_ANSWER = (None, None)


@attrs.define
class Row:
    """A job. Its fields are called as those of ``records.Job`` are, for they are compared by name."""

    id: str
    spec: Admission
    place: int
    state: str = "queued"
    reason: str | None = None
    attempt: int = 0
    attempts_used: int = 0
    fence: int = 0
    boot: int | None = None
    run_at: float = 0.0
    expires_at: float | None = None
    unknown_until: float | None = None
    used_ms: int = 0
    cancel_requested: bool = False
    superseded: str | None = None
    stuck: bool = False
    unsafe: str | None = None
    savepoint: int = 0
    saved: str | None = None
    signals: int = 0
    heard: int = 0
    given: int = 0
    began_after: str | None = None
    asking: str | None = None
    """The key of its open question."""
    asking_until: float | None = None
    """The end that is shown with it."""
    keeps: tuple[int, ...] = ()
    result: str | None = None
    log: list[Entry] = attrs.field(factory=list)

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def held(self) -> bool:
        """It waits for another attempt, and holds its thread meanwhile."""
        return self.state == "queued" and self.attempt > 0


@attrs.define
class Note:
    user: str
    seen: bool = False
    read: bool = False
    archived: bool = False
    seq: int = 0
    """The feed seq of its last change, as the store told it."""


@attrs.define
class Hook:
    tries: int = 0
    run_at: float = 0.0
    claimed_by: int | None = None
    """The boot that is about it."""
    dead: bool = False
    error: str | None = None

    @property
    def waits(self) -> bool:
        return self.claimed_by is None and not self.dead


def lost(begun: Begun | None, boot: int | None, id: str, number: int) -> bool:
    """Whether what is claimed under ``boot`` was never begun by the process that claims now."""
    return begun is not None and boot in begun.boots and (id, number) not in begun.of


@attrs.define(slots=False)
class Rows:
    """What is remembered; each dictionary in the order in which things came."""

    clock: Callable[[], float]
    options: StoreOptions
    lease_s: float = math.inf
    boot: int = 1
    """That of the node which acts."""
    names_of: dict[int, Collection[str] | None] = attrs.field(factory=dict)
    """Live boot → what its node can run."""
    live_until: dict[int, float] = attrs.field(factory=dict)
    """Live boot → when its lease ends."""
    jobs: dict[str, Row] = attrs.field(factory=dict)
    notes: dict[Key, Note] = attrs.field(factory=dict)
    hooks: dict[str, Hook] = attrs.field(factory=dict)
    tombstones: dict[tuple[str, str], float] = attrs.field(factory=dict)
    questions: dict[tuple[str, str], tuple[str | None, str | None]] = attrs.field(factory=dict)
    """(job, key) → the answer and who gave it."""
    messages: dict[tuple[str, str], tuple[int, str]] = attrs.field(factory=dict)
    """(job, id) → number and body."""
    starts: int = 0
    served: dict[str, int] = attrs.field(factory=dict)
    """User → the start that was this user's last."""
    since: dict[str, int] = attrs.field(factory=dict)
    """User → the job with which the present wait began."""

    # --- boots ---

    def begin(self, boot: int, instead: int | None = None) -> None:
        """A node acts under ``boot`` from now on, and nobody under ``instead``."""
        self.names_of.pop(instead or 0, None)
        self.boot, self.names_of[boot] = boot, ()
        self.live_until[boot] = self.clock() + self.lease_s

    def renew(self) -> bool:
        """Prolong the lease of the node which acts; False: it has run out."""
        self.bury()
        if self.live:
            self.live_until[self.boot] = self.clock() + self.lease_s
        return self.live

    def bury(self) -> None:
        """Forget the boots whose lease has run out."""
        for boot in [boot for boot in self.names_of if self.live_until[boot] <= self.clock()]:
            del self.names_of[boot]

    @property
    def live(self) -> bool:
        """Whether the node which acts may claim, and write into what it claimed."""
        return self.boot in self.names_of

    # --- which rows ---

    def active(self, user: str | None = None) -> list[Row]:
        return [row for row in self.jobs.values() if row.active and user in (None, row.spec.user)]

    def queued(self, user: str | None = None) -> list[Row]:
        return [row for row in self.active(user) if row.state == "queued"]

    def seen_by(self, job_id: str, user: str | None) -> Row | None:
        """The job, if it is one of ``user`` (None: of anybody)."""
        row = self.jobs.get(job_id)
        return row if row is not None and user in (None, row.spec.user) else None

    def held_by(self, job_id: str, fence: int) -> Row | None:
        """The job, if ``fence`` is that of an attempt that runs here."""
        row = self.jobs.get(job_id)
        here = row is not None and (row.state, row.fence, row.boot) == ("running", fence, self.boot)
        return row if here and self.live else None

    # --- what several transactions do to a row ---

    def wait(self, row: Row, run_at: float) -> None:
        """It is in the queue from now on, due at ``run_at``."""
        limit_s = row.spec.options.queue_timeout_s
        row.state, row.boot, row.run_at, row.unknown_until = "queued", None, run_at, None
        row.given = row.heard
        row.expires_at = None if limit_s is None else max(self.clock(), run_at) + limit_s

    def close_question(self, row: Row) -> None:
        """It asks no more, for whatever reason: nobody need read of it."""
        if row.asking is not None:
            note = self.notes[row.id, "question", row.asking]
            note.seen = note.read = True
            row.asking = row.asking_until = None

    def end(self, row: Row, state: str, reason: str | None) -> None:
        self.close_question(row)
        row.state, row.reason, row.boot = state, reason, None
        if row.spec.options.on_ended:
            self.hooks[row.id] = Hook()
        if (state, row.superseded) == ("cancelled", "rollback"):
            if row.log:  # to those who hold some of it, as a further attempt that keeps nothing
                row.attempt, row.keeps = row.attempt + 1, (*row.keeps, 0)
            row.log, row.savepoint, row.saved = [], 0, None
            for key in [key for key in self.notes if key[0] == row.id]:
                del self.notes[key]
        elif state in row.spec.options.notify_on:
            self.notes[row.id, "ended", ""] = Note(row.spec.user)

    def end_queued(self, row: Row) -> None:
        row.cancel_requested = True
        self.end(row, "cancelled", "superseded" if row.superseded else "user")

    def jumped(self, by_s: float) -> None:
        """The wall clock was set. What is to happen after a time moves along; what is to happen at a time
        stays, but for its bounds, if by the jump it is late."""
        for row in self.queued():
            at = row.spec.at
            if at is not None and row.run_at == at > self.clock() - by_s:
                by = max(0.0, self.clock() - at)
            else:
                by = by_s
                row.run_at += by if row.run_at > 0 else 0.0
            row.expires_at = None if row.expires_at is None else row.expires_at + by
            row.unknown_until = None if row.unknown_until is None else row.unknown_until + by
            row.asking_until = None if row.asking_until is None else row.asking_until + by_s
        for hook in self.hooks.values():
            hook.run_at += by_s if hook.waits and hook.run_at > 0 else 0.0
        self.tombstones = {key: end + by_s for key, end in self.tombstones.items()}
