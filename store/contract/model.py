"""What every store does, in dictionaries: no journal, no indexes, no threads, no damage.

It is written from the protocol and docs/promises.md, not from ``rules``: it is there to disagree with them.
Each method takes what the store's method takes and gives what the answer must amount to (``gist``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from trouper.store.options import StoreOptions
from trouper.store.protocol import Admission, Append, Finish, Names, Notify, Savepoint
from trouper.store.records import Counts, Entry

Key = tuple[str, str, str]
"""(job, kind, key) of a notification."""

FENCED = ("fenced", 0)
ACTIVE = ("queued", "running")


@attrs.define
class ModelJob:
    spec: Admission
    place: int
    state: str = "queued"
    attempt: int = 0
    used: int = 0
    fence: int = 0
    boot: int | None = None
    run_at: float = 0.0
    ms: int = 0
    cancel: bool = False
    superseded: str | None = None
    stuck: bool = False
    unsafe: str | None = None
    savepoint: int = 0
    saved: str | None = None
    log: list[Entry] = attrs.field(factory=list)

    def row(self) -> tuple[object, ...]:
        """What of its row the model speaks of."""
        stops = (self.cancel, self.superseded, self.stuck, self.unsafe)
        claims = (self.attempt, self.used, self.fence, self.boot, self.run_at)
        return self.spec.id, self.state, claims, stops, self.savepoint, self.saved


@attrs.define
class ModelNote:
    user: str
    seen: bool = False
    read: bool = False
    archived: bool = False
    seq: int = 0
    """The feed seq of its last change, as the store told it."""


@attrs.define
class Model:
    clock: Callable[[], float]
    options: StoreOptions
    boot: int = 1
    jobs: dict[str, ModelJob] = attrs.field(factory=dict)
    notes: dict[Key, ModelNote] = attrs.field(factory=dict)
    tombstones: dict[tuple[str, str], float] = attrs.field(factory=dict)
    starts: int = 0
    served: dict[str, int] = attrs.field(factory=dict)
    """User → the start that was this user's last."""
    since: dict[str, int] = attrs.field(factory=dict)
    """User → the job with which the present wait began."""

    def active(self, user: str | None = None, thread: str | None = None) -> list[ModelJob]:
        of = [job for job in self.jobs.values() if job.state in ACTIVE]
        of = [job for job in of if user is None or job.spec.user == user]
        return [job for job in of if thread is None or job.spec.thread == thread]

    def queued(self, of: Iterable[ModelJob]) -> int:
        return sum(job.state == "queued" for job in of)

    def by_key(self, user: str, key: str | None) -> ModelJob | None:
        return next(
            (job for job in self.jobs.values() if key and (user, key) == _key_of(job.spec)),
            None,
        )

    # --- in ---

    def admit(self, spec: Admission) -> object:
        before = self.jobs.get(spec.id) or self.by_key(spec.user, spec.idempotency_key)
        if before is not None:
            same = (before.spec.user, before.spec.fingerprint) == (spec.user, spec.fingerprint)
            id = before.spec.id
            return ("admitted", id, id == spec.id) if same else ("conflict", id)
        if self.tombstones.get(_key_of(spec), 0.0) > self.clock():
            del self.tombstones[_key_of(spec)]
            return self._end_queued(self._insert(spec))
        in_thread = self.active(spec.user, spec.thread) if spec.thread is not None else []
        if in_thread and spec.on_busy == "reject":
            return "busy", in_thread[0].spec.id
        displaced = in_thread if spec.on_busy in ("interrupt", "rollback") else []
        leaving = self.queued(displaced)
        if self.queued(self.active()) - leaving >= spec.max_queued:
            return "full", False
        if self.queued(self.active(spec.user)) - leaving >= spec.max_queued_per_user:
            return "full", True
        for job in displaced:
            job.superseded = "rollback" if job.superseded == "rollback" else spec.on_busy
            job.cancel = True
            if job.state == "queued":
                self._end_queued(job)
        self._insert(spec)
        return "admitted", spec.id, True

    def _insert(self, spec: Admission) -> ModelJob:
        place = len(self.jobs) + 1
        if not self.queued(self.active(spec.user)):
            self.since[spec.user] = place
        job = self.jobs[spec.id] = ModelJob(spec, place)
        return job

    def _end_queued(self, job: ModelJob) -> object:
        job.cancel = True
        self._end(job, "cancelled")
        return "admitted", job.spec.id, True

    def _end(self, job: ModelJob, state: str) -> None:
        job.state, job.boot = state, None
        if state == "cancelled" and job.superseded == "rollback":
            job.attempt += bool(job.log)
            job.log, job.savepoint, job.saved = [], 0, None
            for key in [key for key in self.notes if key[0] == job.spec.id]:
                del self.notes[key]
        elif state in job.spec.options.notify_on:
            self.notes[job.spec.id, "ended", ""] = ModelNote(job.spec.user)

    def cancel(self, job_id: str, user: str | None) -> object:
        job = self.jobs.get(job_id)
        if job is None or user not in (None, job.spec.user):
            return "unknown"
        if job.state not in ACTIVE:
            return "already_ended"
        job.cancel = True
        if job.state == "queued":
            self._end_queued(job)
        return "accepted"

    def cancel_key(self, user: str, key: str) -> object:
        job = self.by_key(user, key)
        if job is not None:
            return self.cancel(job.spec.id, user)
        now = self.clock()
        self.tombstones[user, key] = now + self.options.tombstone_age_s
        left = {place: end for place, end in self.tombstones.items() if end > now}
        own = sorted((end, place) for place, end in left.items() if place[0] == user)
        for _, place in own[: max(0, len(own) - self.options.tombstones_per_user_max)]:
            del left[place]
        self.tombstones = left
        return "accepted"

    # --- run ---

    def claim(self, limit: int, per_user: int | None, *, names: Names) -> object:
        assert names.known is None, "the model knows every name"
        started: list[tuple[str, int]] = []
        ended: list[tuple[str, str]] = []
        while len(started) < limit and (job := self._next(per_user)) is not None:
            orphan = job.state == "running"
            job.attempt, job.fence, job.used = job.attempt + 1, job.fence + 1, job.used + orphan
            if (end := self._ends_unrun(job, orphan)) is not None:
                if (end, job.superseded) == ("cancelled", "rollback"):
                    job.log = []
                self._end(job, end)
                ended.append((job.spec.id, end))
                continue
            job.state, job.boot, job.stuck = "running", self.boot, False
            del job.log[job.savepoint :]
            started.append((job.spec.id, job.attempt))
            if not orphan:
                self.starts += 1
                self.served[job.spec.user] = self.starts
        due = [job.run_at for job in self.active() if job.state == "queued" and job.run_at > self.clock()]
        return started, ended, min(due, default=None)

    def _next(self, per_user: int | None) -> ModelJob | None:
        orphans = [job for job in self.active() if job.state == "running" and job.boot != self.boot]
        due = [job for job in self.active() if self._may_start(job, per_user)]
        return orphans[0] if orphans else min(due, key=self._turn, default=None)

    def _turn(self, job: ModelJob) -> tuple[int, int, int]:
        user = job.spec.user
        return self.served.get(user, -1), self.since[user], job.place

    def _may_start(self, job: ModelJob, per_user: int | None) -> bool:
        if job.state != "queued" or job.run_at > self.clock():
            return False
        of_user = self.active(job.spec.user)
        if per_user is not None and sum(other.state == "running" for other in of_user) >= per_user:
            return False
        thread = [other for other in of_user if other.spec.thread == job.spec.thread is not None]
        return not any(other is not job and (other.state == "running" or _waits(other)) for other in thread)

    def _ends_unrun(self, job: ModelJob, orphan: bool) -> str | None:
        if job.unsafe is not None:
            return "lost"
        if job.superseded or job.cancel:
            return "cancelled"
        options = job.spec.options
        if options.timeout_s is not None and job.ms >= options.timeout_s * 1000:
            return "timed_out"
        dead = options.on_process_death == "end" or job.used >= options.attempts
        return "lost" if orphan and dead else None

    def _holds(self, job_id: str, fence: int) -> ModelJob | None:
        job = self.jobs.get(job_id)
        here = job is not None and job.state == "running" and (job.fence, job.boot) == (fence, self.boot)
        return job if here else None

    def append(self, request: Append) -> object:
        job = self._holds(request.job_id, request.fence)
        if job is None:
            return FENCED
        known = len(job.log) - request.start
        repeats = 0 <= known <= len(request.entries) and request.start >= 0
        if not repeats or job.log[request.start :] != list(request.entries[:known]):
            return "gap", len(job.log)
        if request.entries[known:]:
            job.log += request.entries[known:]
            job.ms = max(job.ms, request.used_ms)
        return "appended", len(job.log)

    def savepoint(self, request: Savepoint) -> object:
        job = self._holds(request.job_id, request.fence)
        if job is None:
            return FENCED
        if len(job.log) < request.entries:
            return "gap", len(job.log)
        if (job.savepoint, job.saved) != (request.entries, request.saved):
            job.savepoint, job.saved = request.entries, request.saved
            job.ms = max(job.ms, request.used_ms)
        return "saved"

    def unsafe(self, job_id: str, fence: int, step: str | None) -> object:
        job = self._holds(job_id, fence)
        if job is None:
            return FENCED
        job.unsafe = step
        return "saved"

    def finish(self, request: Finish) -> object:
        job = self.jobs.get(request.job_id)
        if job is not None and job.state != "running" and job.attempt > 0:
            raised = request.stuck and job.stuck and job.fence == request.fence + 1
            if raised or job.fence == request.fence:
                return "finished", job.state
        job = self._holds(request.job_id, request.fence)
        if job is None:
            return FENCED
        if len(job.log) != request.entries:
            return "gap", len(job.log)
        job.used += request.kind in ("crashed", "idle")
        state = self._state_after(job, str(request.kind))
        job.fence, job.stuck, job.ms = job.fence + request.stuck, request.stuck, max(job.ms, request.used_ms)
        if state != "queued":
            self._end(job, state)
        else:
            job.state, job.boot = "queued", None
            job.run_at = 0.0 if request.kind == "released" else self.clock() + _pause(job, request)
        return "finished", state

    def _state_after(self, job: ModelJob, kind: str) -> str:
        again = kind in ("crashed", "idle", "released")
        if job.superseded and not (again and job.unsafe is not None):
            return "cancelled"
        if not again:
            return "completed" if kind == "returned" else kind
        if job.unsafe is not None:
            return "lost"
        if job.cancel:
            return "cancelled"
        if kind == "released" or job.used < job.spec.options.attempts:
            return "queued"
        return "timed_out" if kind == "idle" else "failed"

    # --- people ---

    def notify(self, request: Notify) -> object:
        job = self._holds(request.job_id, request.fence)
        if job is None:
            return FENCED
        key = (job.spec.id, "message", request.key)
        created = key not in self.notes
        self.notes.setdefault(key, ModelNote(job.spec.user))
        return "notified", created

    def mark(
        self, user: str, mark: str, *, ids: Iterable[Key], job_id: str | None, upto_seq: int | None
    ) -> object:
        for key, note in self.notes.items():
            meant = key in ids or key[0] == job_id or (upto_seq is not None and note.seq <= upto_seq)
            if note.user == user and meant and not getattr(note, mark):
                note.seen = True
                setattr(note, mark, True)
        return self.counts(user)

    def counts(self, user: str) -> Counts:
        shown = [note for note in self.notes.values() if note.user == user and not note.archived]
        return Counts(sum(not note.seen for note in shown), sum(not note.read for note in shown))


def _key_of(spec: Admission) -> tuple[str, str]:
    return spec.user, spec.idempotency_key or ""


def _waits(job: ModelJob) -> bool:
    """It waits for another attempt, and holds its thread meanwhile."""
    return job.state == "queued" and job.attempt > 0


def _pause(job: ModelJob, request: Finish) -> float:
    if request.retry_after_s is not None:
        return request.retry_after_s
    options = job.spec.options
    longest = options.backoff_base_s * options.backoff_factor ** (job.used - 1)
    return request.jitter * min(options.backoff_max_s, longest)
