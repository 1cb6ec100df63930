"""What a job asks a person (J8)."""

from __future__ import annotations

import attrs

from trouper.store.contract.model.inbox import Inbox
from trouper.store.contract.model.rows import NEVER, NO_ANSWER, Note, Row
from trouper.store.protocol import Finish
from trouper.store.questions import GiveAnswer


@attrs.define(slots=False, kw_only=True)
class Questions(Inbox):
    questions: dict[tuple[str, str], tuple[str | None, str | None]] = attrs.field(factory=dict)
    """(job, key) → the answer and who gave it."""

    def due_again(self, row: Row, request: Finish) -> float:
        ask = request.question
        if request.kind != "asked" or ask is None:
            return super().due_again(row, request)
        row.asking = ask.key
        row.asking_until = None if ask.timeout_s is None else self.clock() + ask.timeout_s
        self.questions.setdefault((row.id, ask.key), NO_ANSWER)
        self.notes.setdefault((row.id, "question", ask.key), Note(row.spec.user))
        return NEVER if row.asking_until is None else row.asking_until

    def answer(self, request: GiveAnswer) -> object:
        row = self.seen_by(request.job_id, request.user)
        if row is None:
            return "unknown"
        given = self.questions.get((row.id, request.key), NO_ANSWER)
        if given != NO_ANSWER:
            return "accepted" if given == (request.value, request.user) else "already_answered"
        if not row.active:
            return "already_ended"
        if row.asking != request.key or not request.checked:
            return "not_asked"
        self.questions[row.id, request.key] = request.value, request.user
        self._close(row)
        row.reason = row.began_after = "answered"
        self.wait(row, 0.0)
        return "accepted"

    def asked(self, job_id: str, key: str) -> tuple[int, tuple[str | None, str | None] | None]:
        """How many questions the job has asked, and what is known of this one."""
        count = sum(job == job_id for job, _ in self.questions)
        return count, self.questions.get((job_id, key))

    # --- its end ---

    def _close(self, row: Row) -> None:
        """It asks no more, for whatever reason: nobody need read of it."""
        if row.asking is not None:
            note = self.notes[row.id, "question", row.asking]
            note.seen = note.read = True
            row.asking = row.asking_until = None

    def start(self, row: Row) -> bool:
        row.began_after = "unanswered" if row.asking else row.began_after
        self._close(row)
        return super().start(row)

    def end(self, row: Row, state: str, reason: str | None) -> None:
        self._close(row)
        super().end(row, state, reason)

    def jumped(self, by_s: float) -> None:
        super().jumped(by_s)
        for row in self.queued():
            row.asking_until = None if row.asking_until is None else row.asking_until + by_s
