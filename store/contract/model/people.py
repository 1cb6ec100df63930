"""Notifications and their marks, answers, signals (J7, J8, N1, N5)."""

from __future__ import annotations

from collections.abc import Iterable

from trouper.store.contract.model.rows import FENCED, NO_ANSWER, Key, Note, Rows
from trouper.store.people import Notify
from trouper.store.questions import GiveAnswer
from trouper.store.records import Counts
from trouper.store.signals import SignalRow


class People(Rows):
    def usage(self) -> object:
        """The users with something active, the largest first; the most pending messages, tombstones and
        questions."""
        users = {row.spec.user: len(self.active(row.spec.user)) for row in self.active()}
        largest = sorted(users, key=lambda user: (-users[user], user))
        counts = [(user, len(self.queued(user)), users[user] - len(self.queued(user))) for user in largest]
        pending = [row.signals - row.heard for row in self.active()]
        asked = max((self.asked(row.id, "")[0] for row in self.active()), default=0)
        keys = [user for (user, _), end in self.tombstones.items() if end > self.clock()]
        return counts, max(pending, default=0), max(map(keys.count, keys), default=0), asked

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
        self.close_question(row)
        row.reason = row.began_after = "answered"
        self.wait(row, 0.0)
        return "accepted"

    def asked(self, job_id: str, key: str) -> tuple[int, tuple[str | None, str | None] | None]:
        """How many questions the job has asked, and what is known of this one."""
        count = sum(job == job_id for job, _ in self.questions)
        return count, self.questions.get((job_id, key))

    def signal(self, message: SignalRow, user: str | None) -> object:
        row = self.seen_by(message.job, user)
        if row is None:
            return "unknown"
        if (row.id, message.id) in self.messages:
            return "accepted" if self.messages[row.id, message.id][1] == message.body else "clash"
        if not row.active:
            return "already_ended"
        if row.signals - row.heard >= self.options.signals_pending_max:
            return "full"
        row.signals += 1
        self.messages[row.id, message.id] = row.signals, message.body
        for id, (number, _) in self.messages_of(row.id).items():
            if number <= row.heard - self.options.signals_remembered:
                del self.messages[row.id, id]
        return "accepted"

    def hear(self, job_id: str, fence: int, after: int) -> object:
        row = self.held_by(job_id, fence)
        if row is None:
            return FENCED
        messages = self.messages_of(job_id).values()
        number, body = next((each for each in messages if each[0] > after), (None, None))
        row.given = max(row.given, row.signals if number is None else number)
        return number, body

    def messages_of(self, job_id: str) -> dict[str, tuple[int, str]]:
        return {id: message for (job, id), message in self.messages.items() if job == job_id}
