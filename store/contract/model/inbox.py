"""A user's notifications: each is there once, and marked apart (N1, N5)."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from trouper.store.contract.model.core import Core
from trouper.store.contract.model.rows import FENCED, Key, Note, Row
from trouper.store.people import Notify
from trouper.store.records import Counts


@attrs.define(slots=False, kw_only=True)
class Inbox(Core):
    notes: dict[Key, Note] = attrs.field(factory=dict)

    def end(self, row: Row, state: str, reason: str | None) -> None:
        super().end(row, state, reason)
        if state in row.spec.options.notify_on:
            self.notes[row.id, "ended", ""] = Note(row.spec.user)

    def notify(self, request: Notify) -> object:
        row = self.held_by(request.job_id, request.fence)
        if row is None:
            return FENCED
        key = (row.id, "message", request.key)
        created = key not in self.notes
        self.notes.setdefault(key, Note(row.spec.user))
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
