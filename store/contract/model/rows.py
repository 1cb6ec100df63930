"""What is remembered of a job, of a notification, of a hook."""

from __future__ import annotations

import math

import attrs

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
