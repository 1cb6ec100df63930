"""Who starts next, who is only ended, who waits for a name; places in the queue (J4, J5, J6)."""

from __future__ import annotations

from trouper.store.contract.model.rows import NEVER, Row, Rows, lost
from trouper.store.leases import Begun
from trouper.store.protocol import Names

Ending = tuple[str, str]
"""State and reason."""


class Claiming(Rows):
    def claim(self, limit: int, per_user: int | None, *, names: Names, begun: Begun | None = None) -> object:
        if not self.live:
            return [], [], None, len(self.queued())
        for held in self.active():
            if held.state == "running" and lost(begun, held.boot, held.id, held.attempt):
                held.reason = "released"
                held.began_after = held.began_after or "released"
                self.wait(held, 0.0)
        self.names_of[self.boot] = names.known
        anywhere = self._known(names)
        self._tell_unknown(anywhere)
        ended = [self._end_unrun(row, self._ending(row)) for row in self._overdue()]
        started: list[tuple[str, int]] = []
        while len(started) < limit and (row := self._next(per_user, names)) is not None:
            orphan = row.state == "running"
            row.attempts_used += orphan
            if (ending := self._ending(row)) is not None:
                ended.append(self._end_unrun(row, ending))
            elif row.spec.name not in names:
                self.wait(row, 0.0)
                row.reason = row.began_after = "process_death"
                if row.spec.name not in anywhere:
                    self._unknown(row, anywhere)
            else:
                self._start(row)
                started.append((row.id, row.attempt))
                if not orphan:
                    self.starts += 1
                    self.served[row.spec.user] = self.starts
        return started, ended, self._next_time(), len(self.queued())

    def _known(self, names: Names) -> Names:
        """What one live node or another can run."""
        of = list(self.names_of.values())
        known = None if None in of else {name for each in of for name in each or ()}
        return Names(known, names.unknown_job_s)

    def _tell_unknown(self, names: Names) -> None:
        for row in self.queued():
            if row.spec.name not in names and row.unknown_until is None:
                self._unknown(row, names)
            elif row.spec.name in names and row.unknown_until is not None:
                row.reason, row.unknown_until = "question" if row.asking else None, None

    def _unknown(self, row: Row, names: Names) -> None:
        row.reason = "unknown_job"
        row.unknown_until = max(self.clock(), row.run_at) + names.unknown_job_s

    def _overdue(self) -> list[Row]:
        ends = [(False, row.expires_at, row) for row in self.queued()]
        ends += [(True, row.unknown_until, row) for row in self.queued()]
        over = [(late, end, row.place) for late, end, row in ends if end is not None and end <= self.clock()]
        places = dict.fromkeys(place for _, _, place in sorted(over))
        return [row for place in places for row in self.jobs.values() if row.place == place]

    def _next(self, per_user: int | None, names: Names) -> Row | None:
        orphans = [row for row in self.active() if row.state == "running" and row.boot not in self.names_of]
        due = [row for row in self.queued() if self.may_start(row, per_user) and row.spec.name in names]
        return orphans[0] if orphans else min(due, key=self._turn, default=None)

    def _turn(self, row: Row) -> tuple[int, int, int]:
        user = row.spec.user
        return self.served.get(user, -1), self.since[user], row.place

    def may_start(self, row: Row, per_user: int | None = None) -> bool:
        of_user = self.active(row.spec.user)
        if per_user is not None and sum(other.state == "running" for other in of_user) >= per_user:
            return False
        thread = [other for other in of_user if other.spec.thread == row.spec.thread is not None]
        busy = any(other.state == "running" or other.held for other in thread if other is not row)
        return row.run_at <= self.clock() and not busy

    def _ending(self, row: Row) -> Ending | None:
        """What it is claimed for only to become; None: it runs."""
        options = row.spec.options
        if row.unsafe is not None:
            return "lost", f"unsafe:{row.unsafe}"
        if row.superseded or row.cancel_requested:
            return "cancelled", "superseded" if row.superseded else "user"
        if options.timeout_s is not None and row.used_ms >= options.timeout_s * 1000:
            return "timed_out", "timeout"
        if row.state == "running":
            if options.on_process_death == "end":
                return "lost", "process_death"
            return ("lost", "attempts") if row.attempts_used >= options.attempts else None
        if row.expires_at is not None and row.expires_at <= self.clock():
            return "timed_out", "queue_timeout"
        unknown = row.unknown_until is not None and row.unknown_until <= self.clock()
        return ("lost", "unknown_job") if unknown else None

    def _end_unrun(self, row: Row, ending: Ending | None) -> tuple[str, str]:
        assert ending is not None
        if (ending[0], row.superseded) == ("cancelled", "rollback"):
            row.log = []
        row.attempt, row.fence, row.keeps = row.attempt + 1, row.fence + 1, (*row.keeps, len(row.log))
        self.end(row, *ending)
        return row.id, row.state

    def _start(self, row: Row) -> None:
        if row.state == "running":
            row.began_after = "process_death"
        elif row.asking:
            row.began_after = "unanswered"
        row.given = row.heard
        self.close_question(row)
        row.state, row.reason, row.boot, row.stuck = "running", None, self.boot, False
        row.attempt, row.fence, row.keeps = row.attempt + 1, row.fence + 1, (*row.keeps, row.savepoint)
        del row.log[row.savepoint :]

    def _next_time(self) -> float | None:
        times = [row.run_at for row in self.queued() if row.run_at > self.clock()]
        times += [end for row in self.queued() for end in (row.expires_at, row.unknown_until) if end]
        return min((time for time in times if time < NEVER), default=None)

    def places(self) -> dict[str, int]:
        """Of those that may start: users take turns, each with the oldest first."""
        free = [row for row in self.queued() if self.may_start(row) and row.unknown_until is None]
        threads = [(row.spec.user, row.spec.thread or row.id) for row in free]
        due = [row for at, row in enumerate(free) if threads[at] not in threads[:at]]
        rounds = [sum(row.spec.user == other.spec.user for other in due[:n]) for n, row in enumerate(due)]
        line = sorted(zip(rounds, map(self._turn, due), due, strict=True), key=lambda each: each[:2])
        return {row.id: place for place, (_, _, row) in enumerate(line, 1)}
