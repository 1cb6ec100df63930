"""Submit, cancel, cancel by key (J2, J3, J4)."""

from __future__ import annotations

from trouper.store.contract.model.rows import Row, Rows
from trouper.store.protocol import Admission


class Admitting(Rows):
    def admit(self, spec: Admission) -> object:
        before = self.jobs.get(spec.id) or self._by_key(spec.user, spec.idempotency_key)
        if before is not None:
            same = (before.spec.user, before.spec.fingerprint) == (spec.user, spec.fingerprint)
            return ("admitted", before.id, before.id == spec.id) if same else ("conflict", before.id)
        if self.tombstones.get((spec.user, spec.idempotency_key or ""), 0.0) > self.clock():
            del self.tombstones[spec.user, spec.idempotency_key or ""]
            self.end_queued(self._insert(spec))
            return "admitted", spec.id, True
        in_thread = self._in_thread(spec) if spec.thread is not None else []
        if in_thread and spec.on_busy == "reject":
            return "busy", in_thread[0].id
        displaced = in_thread if spec.on_busy in ("interrupt", "rollback") else []
        leaving = sum(row.state == "queued" for row in displaced)
        if len(self.queued()) - leaving >= spec.max_queued:
            return "full", False
        if len(self.queued(spec.user)) - leaving >= spec.max_queued_per_user:
            return "full", True
        for row in displaced:
            row.superseded = "rollback" if row.superseded == "rollback" else spec.on_busy
            row.cancel_requested = True
            if row.state == "queued":
                self.end_queued(row)
        self._insert(spec)
        return "admitted", spec.id, True

    def _by_key(self, user: str, key: str | None) -> Row | None:
        keys = {(row.spec.user, row.spec.idempotency_key): row for row in self.jobs.values()}
        return keys.get((user, key)) if key is not None else None

    def _in_thread(self, spec: Admission) -> list[Row]:
        """Who makes the thread busy: whoever is not put off."""
        rows = [row for row in self.active(spec.user) if row.spec.thread == spec.thread]
        return [row for row in rows if row.attempt > 0 or row.run_at <= self.clock()]

    def _insert(self, spec: Admission) -> Row:
        row = Row(spec.id, spec, place=len(self.jobs))
        if not self.queued(spec.user):
            self.since[spec.user] = row.place
        self.jobs[spec.id] = row
        delayed_to = self.clock() + spec.delay_s if spec.delay_s > 0 else 0.0
        self.wait(row, delayed_to if spec.at is None else spec.at)
        return row

    def cancel(self, job_id: str, user: str | None) -> object:
        row = self.seen_by(job_id, user)
        if row is None:
            return "unknown"
        if not row.active:
            return "already_ended"
        row.cancel_requested = True
        if row.state == "queued":
            self.end_queued(row)
        return "accepted"

    def cancel_key(self, user: str, key: str) -> object:
        row = self._by_key(user, key)
        if row is not None:
            return self.cancel(row.id, user)
        self.tombstones[user, key] = self.clock() + self.options.tombstone_age_s
        left = {place: end for place, end in self.tombstones.items() if end > self.clock()}
        own = sorted((end, place) for place, end in left.items() if place[0] == user)
        for _, place in own[: max(0, len(own) - self.options.tombstones_per_user_max)]:
            del left[place]
        self.tombstones = left
        return "accepted"
