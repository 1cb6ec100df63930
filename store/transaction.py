"""One operation under way, and what it has changed: what every transaction is written over."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, MutableMapping
from functools import partial

import attrs

from trouper.store import rules
from trouper.store.completions import Completion
from trouper.store.errors import DataRefused
from trouper.store.protocol import CommitNotice
from trouper.store.questions import open_question
from trouper.store.records import Job, JobState, Notification
from trouper.store.tables import Candidate, Tables


@attrs.define
class Changed:
    """What transactions changed; several may be merged into the one of their commit."""

    outputs: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    jobs: dict[str, Job] = attrs.field(factory=dict)
    feeds: dict[str, int] = attrs.field(factory=dict)

    def merge(self, other: Changed) -> None:
        """Add what a later transaction changed."""
        self.outputs.update(other.outputs)
        self.jobs.update(other.jobs)
        self.feeds.update(other.feeds)

    def notice(self) -> CommitNotice | None:
        """What to tell listeners; None if nothing changed."""
        if not (self.outputs or self.jobs or self.feeds):
            return None
        due = any(job.state is not JobState.RUNNING for job in self.jobs.values())
        return CommitNotice(self.outputs, tuple(self.jobs.values()), self.feeds, due)


@attrs.define
class Transaction:
    """One operation under way: the rows, the moment, and what it has changed so far."""

    tables: Tables
    boot: int
    now: float
    """The store's clock: seconds since the epoch."""
    new_id: Callable[[], str]
    changed: Changed = attrs.field(factory=Changed)
    _stamps: MutableMapping[str, int] = attrs.field(factory=dict)

    def alone(self, candidate: Candidate, claim: Callable[[Transaction, Job], Job]) -> Job | None:
        """Claim one row so that it fails alone: None if it had to be set aside (E1)."""
        stamps: dict[str, int] = {}
        part = attrs.evolve(self, changed=Changed(), stamps=ChainMap(stamps, self._stamps))
        job = self.tables.alone(candidate, self.now, partial(claim, part, candidate.job), self.stamp)
        if job is None:
            self._ended_aside(candidate.job.id)
        else:
            self.changed.merge(part.changed)
            self._stamps.update(stamps)
        return job

    def _ended_aside(self, job_id: str) -> None:
        """What belongs to the end of a job, for one whose row was set aside: if it can still be named. (One
        whose id is damaged cannot: its row is shown, and that is all.)"""
        job = self.tables.job(job_id)
        if job is None or not (job.user and job.state.terminal and job.reason == rules.UNDECODABLE):
            return
        self.changed.jobs[job.id] = job
        if job.options.on_ended:
            self.tables.completions.put(Completion(job=job.id))
        notification = rules.ended_notification(job, id=self.new_id(), now=self.now)
        if notification and self.tables.notification(job.user, job.id, "ended", "") is None:
            self.insert_notification(notification)

    def stamp(self, user: str) -> int:
        """The feed seq of this transaction for ``user``: one, however many rows it changes."""
        seq = self._stamps.get(user)
        if seq is None:
            seq = self._stamps[user] = self.tables.feed(user)[0] + 1
            self.tables.set_feed_seq(user, seq)
            self.changed.feeds[user] = seq
        return seq

    def insert_job(self, job: Job) -> Job:
        job = attrs.evolve(job, feed_seq=self.stamp(job.user))
        self.tables.insert_job(job)
        self.changed.jobs[job.id] = job
        return job

    def update_job(self, job: Job) -> Job:
        job = attrs.evolve(job, feed_seq=self.stamp(job.user))
        self.tables.update_job(job)
        self.changed.jobs[job.id] = job
        return job

    def insert_notification(self, notification: Notification) -> Notification:
        notification = attrs.evolve(notification, feed_seq=self.stamp(notification.user))
        self.tables.insert_notification(notification)
        return notification

    def ended(self, job: Job) -> tuple[Job, Notification | None]:
        """Write the row of a job whose attempt is over, with what belongs to it in the same
        transaction (N1): the inbox row of its ending, and what its hook is still to do; or, if it was
        rolled back, that nothing of what it produced is left (J4)."""
        if job.state.terminal and job.options.on_ended:
            self.tables.completions.put(Completion(job=job.id))
        if rules.rolled_back(job):
            self.tables.empty_log(job.id)
            if self.tables.remove_notifications(job.user, job.id):
                self.tables.set_floor_seq(job.user, self.stamp(job.user))
            return self.update_job(rules.emptied_row(job)), None
        job = self.update_job(job)
        notification = rules.ended_notification(job, id=self.new_id(), now=self.now)
        return job, None if notification is None else self.insert_notification(notification)

    def close_question(self, job: Job) -> None:
        """The job stops asking, for whatever reason: nobody need read of its question any more."""
        if job.asking is None:
            return
        notification = self.tables.notification(
            job.user, job.id, "question", str(open_question(job.asking).get("key"))
        )
        if notification is not None and notification.read_at is None:
            ids, seq = (notification.id,), self.stamp(job.user)
            self.tables.mark(job.user, "read", ids=ids, job_id=None, upto_seq=None, at=self.now, seq=seq)

    def cancel_queued(self, job: Job) -> Job:
        """End a queued job."""
        self.close_question(job)
        entries, sha256 = self.tables.hash_log(job.id)
        job = rules.cancelled_unrun(attrs.evolve(job, entries=entries), now=self.now, sha256=sha256)
        return self.ended(job)[0]


def check_text(**fields: str | None) -> None:
    """Raise ``DataRefused`` naming the first field that no engine can store as text."""
    for name, text in fields.items():
        if text is None:
            continue
        if not isinstance(text, str):
            raise DataRefused(f"{name} is {type(text).__name__}, not a string")
        try:
            text.encode()
        except UnicodeEncodeError as cause:
            raise DataRefused(f"{name} holds a lone surrogate at {cause.start}") from cause
