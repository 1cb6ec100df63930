"""Messages to a job (J7)."""

from __future__ import annotations

import attrs

from trouper.store.contract.model.core import Core
from trouper.store.contract.model.rows import FENCED, Row
from trouper.store.protocol import Savepoint
from trouper.store.signals import SignalRow


@attrs.define(slots=False, kw_only=True)
class Signals(Core):
    messages: dict[tuple[str, str], tuple[int, str]] = attrs.field(factory=dict)
    """(job, id) → number and body."""

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

    def wait(self, row: Row, run_at: float) -> None:
        super().wait(row, run_at)
        row.given = row.heard

    def start(self, row: Row) -> bool:
        row.given = row.heard
        return super().start(row)

    def savepoint(self, request: Savepoint) -> object:
        answer = super().savepoint(request)
        row = self.jobs.get(request.job_id)
        if answer == "saved" and row is not None and (upto := min(request.heard, row.signals)) > row.heard:
            row.heard, row.used_ms = upto, max(row.used_ms, request.used_ms)
        return answer
