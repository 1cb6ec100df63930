"""The rows in dictionaries. All of them are in insertion order, which is the order of age."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs

from trouper.store import memory_queue, waiting
from trouper.store.memory_beside import MemoryBeside
from trouper.store.nodes import MemoryNodes
from trouper.store.output_log import OutputHash
from trouper.store.protocol import Mark
from trouper.store.questions import misdated
from trouper.store.records import Counts, Entry, Job, JobState, Notification, entry_bytes
from trouper.store.tables import FIRST_TURN, Candidate, Head, ThreadRow, Turn
from trouper.store.usage import StoreUsage, usage_of

T = TypeVar("T")


@attrs.define
class _UserRows:
    """All that belongs to one user."""

    feed_seq: int = 0
    floor_seq: int = 0
    turn: Turn = FIRST_TURN
    jobs: dict[str, int] = attrs.field(factory=dict)
    """Job id → its place in the order of age."""
    active: dict[str, None] = attrs.field(factory=dict)
    """Those that are not terminal: looked at for each submit and each session that is opened."""
    notifications: dict[str, Notification] = attrs.field(factory=dict)
    stamps: dict[tuple[str, str], None] = attrs.field(factory=dict)
    """(table, id) in the order of the last stamp, so that a resume looks at what changed only."""

    def stamp(self, table: str, id: str) -> None:
        self.stamps.pop((table, id), None)
        self.stamps[table, id] = None


class MemoryTables(MemoryBeside):
    """``Tables`` for one process. Nothing is ever taken back: transactions decide before they write."""

    def __init__(self) -> None:
        super().__init__(lambda job_id: self._jobs[job_id].name)
        self._jobs: dict[str, Job] = {}
        self._active: dict[str, None] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._users: dict[str, _UserRows] = {}
        self._unique: dict[tuple[str, str, str, str], str] = {}
        self._logs: dict[str, list[Entry]] = {}
        self._heads: dict[str, Head] = {}
        self._age = 0
        self._starts = 0
        self._jumped = False
        """Since then no look has found all questions to show the right time."""
        self._boot = 0
        self.nodes = MemoryNodes(self.live)

    def live(self, boot: int | None) -> bool:
        """There is one node, and it is live under its latest boot."""
        return boot == self._boot

    def new_boot(self, boot: int) -> None:
        """The process that held the heads is gone: its running rows are orphans now."""
        self._boot = boot
        for head in self._heads.values():
            self._jobs[head.job_id] = self._present(self._jobs[head.job_id])
        self._heads.clear()

    # --- feeds ---

    def feed(self, user: str) -> tuple[int, int]:
        rows = self._users.get(user)
        return (rows.feed_seq, rows.floor_seq) if rows else (0, 0)

    def set_feed_seq(self, user: str, seq: int) -> None:
        self._users.setdefault(user, _UserRows()).feed_seq = seq

    def set_floor_seq(self, user: str, seq: int) -> None:
        self._users.setdefault(user, _UserRows()).floor_seq = seq

    # --- jobs ---

    def _present(self, job: Job) -> Job:
        head = self._heads.get(job.id)
        if head is None or (job.entries == head.entries and job.used_ms == head.used_ms):
            return job
        return attrs.evolve(job, entries=head.entries, used_ms=head.used_ms)

    def job(self, job_id: str) -> Job | None:
        job = self._jobs.get(job_id)
        return None if job is None else self._present(job)

    def job_by_key(self, user: str, key: str) -> Job | None:
        job_id = self._keys.get((user, key))
        return None if job_id is None else self.job(job_id)

    def insert_job(self, job: Job) -> None:
        self._age += 1
        rows = self._users.setdefault(job.user, _UserRows())
        if job.state is JobState.QUEUED and self.queued_of(job.user) == 0:
            rows.turn = (rows.turn[0], self._age)
        rows.jobs[job.id] = self._age
        self._active[job.id] = rows.active[job.id] = None
        if job.idempotency_key is not None:
            self._keys[job.user, job.idempotency_key] = job.id
        self._logs[job.id] = []
        self.update_job(job)

    def update_job(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._users[job.user].stamp("jobs", job.id)
        if job.state.terminal:
            self._active.pop(job.id, None)
            self._users[job.user].active.pop(job.id, None)
        head = self._heads.get(job.id)
        if head is not None:
            head.used_ms = job.used_ms

    def _active_jobs(self) -> Iterator[Job]:
        return (self._jobs[job_id] for job_id in self._active)

    def _active_of(self, user: str) -> Iterator[Job]:
        rows = self._users.get(user)
        return (self._jobs[job_id] for job_id in (rows.active if rows else ()))

    def queued_up_to(self, limit: int) -> int:
        return min(limit, self.count_state(JobState.QUEUED))

    def queued_of(self, user: str) -> int:
        return sum(job.state is JobState.QUEUED for job in self._active_of(user))

    def active_in(self, user: str, thread: str, now: float) -> list[Job]:
        return [
            self._present(job)
            for job in self._active_of(user)
            if job.thread == thread and (job.attempt > 0 or job.run_at <= now)
        ]

    def _candidates(self) -> Iterator[Candidate]:
        return (Candidate(job, self._users[job.user].jobs[job.id]) for job in self._active_jobs())

    def next_orphan(self, boot: int, after: int) -> Candidate | None:
        for candidate in self._candidates():
            job = candidate.job
            if candidate.place > after and job.state is JobState.RUNNING and not self.nodes.live(job.boot):
                return candidate
        return None

    def next_due(
        self,
        now: float,
        per_user: int | None,
        turn: Turn,
        passed: Mapping[str, int],
        names: Collection[str] | None,
    ) -> tuple[Candidate, Turn] | None:
        turns = self._turns()
        return memory_queue.next_due(self._candidates(), turns, now, per_user, turn, passed, names)

    def waiting_users(self, limit: int) -> list[str]:
        users = {candidate.job.user for candidate in self._queued()}
        return sorted(users, key=lambda user: self._users[user].turn)[:limit]

    def starts_of(self, user: str, now: float, limit: int) -> list[str]:
        of_user = (candidate for candidate in self._candidates() if candidate.job.user == user)
        return memory_queue.starts_of(of_user, now)[:limit]

    def _turns(self) -> dict[str, Turn]:
        return {user: rows.turn for user, rows in self._users.items()}

    def served(self, user: str) -> None:
        rows = self._users[user]
        self._starts += 1
        rows.turn = (self._starts, rows.turn[1])

    def alone(
        self, candidate: Candidate, now: float, call: Callable[[], T], stamp: Callable[[str], int]
    ) -> T | None:
        return call()  # no row here is damaged

    def _queued(self) -> Iterator[Candidate]:
        return (candidate for candidate in self._candidates() if candidate.job.state is JobState.QUEUED)

    def next_due_at(self, now: float) -> float | None:
        return memory_queue.next_time(self._queued(), now)

    def next_expired(self, now: float) -> Candidate | None:
        return memory_queue.next_expired(self._queued(), now)

    def unmarked(self, names: Collection[str], limit: int) -> list[Candidate]:
        return memory_queue.wrongly_marked(self._queued(), names, marked=False)[:limit]

    def marked(self, names: Collection[str], limit: int) -> list[Candidate]:
        return memory_queue.wrongly_marked(self._queued(), names, marked=True)[:limit]

    def misdated(self, limit: int) -> list[Candidate]:
        if not self._jumped:
            return []
        found = [each for each in self._queued() if misdated(each.job.asking, each.job.run_at)]
        self._jumped = bool(found)
        return found[:limit]

    def clock_jumped(self, by_s: float, now: float) -> None:
        self._jumped = True
        for candidate in list(self._queued()):
            job = candidate.job
            self._jobs[job.id] = waiting.after_jump(job, by_s, now)
        self._jumped_beside(by_s)

    # --- notifications ---

    def notification(self, user: str, job: str, kind: str, key: str) -> Notification | None:
        id = self._unique.get((user, job, kind, key))
        return None if id is None else self._users[user].notifications[id]

    def insert_notification(self, notification: Notification) -> None:
        user = notification.user
        rows = self._users.setdefault(user, _UserRows())
        rows.notifications[notification.id] = notification
        rows.stamp("notifications", notification.id)
        self._unique[user, notification.job, notification.kind, notification.key] = notification.id

    def remove_notifications(self, user: str, job_id: str) -> int:
        rows = self._users.get(user, _UserRows())
        gone = [row for row in rows.notifications.values() if row.job == job_id]
        for row in gone:
            del rows.notifications[row.id]
            del rows.stamps["notifications", row.id]
            del self._unique[row.user, row.job, row.kind, row.key]
        return len(gone)

    def mark(
        self,
        user: str,
        mark: Mark,
        *,
        ids: Sequence[str],
        job_id: str | None,
        upto_seq: int | None,
        at: float,
        seq: int,
    ) -> int:
        changed = 0
        rows = self._users.get(user, _UserRows())
        for row in list(rows.notifications.values()):
            meant = row.id in ids or row.job == job_id or (upto_seq is not None and row.feed_seq <= upto_seq)
            if not meant or getattr(row, f"{mark}_at") is not None:
                continue
            seen_at = at if row.seen_at is None else row.seen_at
            row = attrs.evolve(row, seen_at=seen_at, feed_seq=seq)
            if mark == "read":
                row = attrs.evolve(row, read_at=at)
            elif mark == "archived":
                row = attrs.evolve(row, archived_at=at)
            rows.notifications[row.id] = row
            rows.stamp("notifications", row.id)
            changed += 1
        return changed

    def counts(self, user: str) -> Counts:
        rows = self._users.get(user, _UserRows())
        shown = [row for row in rows.notifications.values() if row.archived_at is None]
        return Counts(
            unseen=sum(row.seen_at is None for row in shown), unread=sum(row.read_at is None for row in shown)
        )

    # --- logs ---

    def head(self, job_id: str, /) -> Head | None:
        return self._heads.get(job_id)

    def append(self, head: Head, entries: Sequence[Entry], payload: int, used_ms: int, /) -> None:
        self._logs[head.job_id].extend(entries)
        head.entries += len(entries)
        head.used_ms = used_ms

    def begin_log(self, job: Job) -> None:
        del self._logs[job.id][job.entries :]
        self._heads[job.id] = Head(job.id, job.attempt, job.fence, job.entries, job.used_ms)

    def settle_log(self, job: Job) -> None:
        self._heads.pop(job.id, None)

    def empty_log(self, job_id: str) -> None:
        self._logs[job_id].clear()

    def read_log(self, job_id: str, start: int, max_bytes: int) -> list[Entry]:
        log = self._logs.get(job_id, [])
        page: list[Entry] = []
        size = 0
        for place in range(start, len(log)):
            size += entry_bytes(log[place])
            if page and size > max_bytes:
                break
            page.append(log[place])
        return page

    def hash_log(self, job_id: str) -> tuple[int, str]:
        log = self._logs.get(job_id, [])
        output_hash = OutputHash()
        for entry in log:
            output_hash.update(entry)
        return len(log), output_hash.hexdigest()

    # --- lists ---

    def jobs_of(self, user: str, thread: str | None, before: str | None, limit: int) -> list[Job]:
        rows = self._users.get(user, _UserRows())
        age = self._age + 1 if before is None else rows.jobs.get(before, 0)
        page: list[Job] = []
        for job_id, job_age in reversed(rows.jobs.items()):
            if len(page) >= limit:
                break
            job = self._present(self._jobs[job_id])
            if job_age < age and (thread is None or job.thread == thread):
                page.append(job)
        return page

    def threads_of(self, user: str, before: str | None, limit: int) -> list[ThreadRow]:
        rows = self._users.get(user, _UserRows())
        by_thread: dict[str, list[Job]] = {}
        for job_id in rows.jobs:
            job = self._jobs[job_id]
            if job.thread is not None:
                by_thread.setdefault(job.thread, []).append(job)
        if before is None:
            age = self._age + 1
        else:
            age = rows.jobs[by_thread[before][-1].id] if before in by_thread else 0
        newest_first = sorted(by_thread.items(), key=lambda item: -rows.jobs[item[1][-1].id])
        return [
            ThreadRow(thread, len(jobs), sum(not job.state.terminal for job in jobs), jobs[0].id, jobs[-1].id)
            for thread, jobs in newest_first
            if rows.jobs[jobs[-1].id] < age
        ][:limit]

    def notifications_of(self, user: str, before: str | None, limit: int) -> list[Notification]:
        rows = self._users.get(user, _UserRows())
        newest_first = list(reversed(rows.notifications.values()))
        if before is not None:
            ids = [row.id for row in newest_first]
            newest_first = newest_first[ids.index(before) + 1 :] if before in rows.notifications else []
        return [row for row in newest_first if row.archived_at is None][:limit]

    def active_jobs_of(self, user: str) -> list[Job]:
        return [self._present(job) for job in self._active_of(user)]

    def _changed(self, user: str, table: str, seq: int) -> list[str]:
        rows = self._users.get(user, _UserRows())
        ids: list[str] = []
        for stamped, id in reversed(rows.stamps):
            row = self._jobs[id] if stamped == "jobs" else rows.notifications[id]
            if row.feed_seq <= seq:
                break
            if stamped == table:
                ids.append(id)
        return ids

    def changed_jobs(self, user: str, seq: int, limit: int) -> list[Job]:
        age = self._users.get(user, _UserRows()).jobs
        jobs = [self._present(self._jobs[id]) for id in self._changed(user, "jobs", seq)]
        return sorted(jobs, key=lambda job: (job.feed_seq, age[job.id]))[:limit]

    def changed_notifications(self, user: str, seq: int, limit: int) -> list[Notification]:
        rows = self._users.get(user, _UserRows()).notifications
        place = {id: place for place, id in enumerate(rows)}
        changed = [rows[id] for id in self._changed(user, "notifications", seq)]
        return sorted(changed, key=lambda row: (row.feed_seq, place[row.id]))[:limit]

    def running(self, boot: int) -> list[Candidate]:
        return [
            Candidate(self._present(each.job), each.place)
            for each in self._candidates()
            if each.job.state is JobState.RUNNING and each.job.boot == boot
        ]

    def count_state(self, state: JobState) -> int:
        return sum(job.state is state for job in self._active_jobs())

    def statistics(self) -> dict[str, int]:
        return {
            "jobs": len(self._jobs),
            "active_jobs": len(self._active),
            "heads": len(self._heads),
            "notifications": len(self._unique),
            "job_names": len(self.nodes),
            **self._beside(),
        }

    def usage(self, now: float, users: int) -> StoreUsage:
        return usage_of(self._active_jobs(), self._remembered(now), users, self.questions.count)
