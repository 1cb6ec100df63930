"""The rows in SQLite. Everything here runs on the store's thread, inside its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import attrs
import orjson

from trouper.store.errors import IllegalEvent, StoreCorrupt, StoreError
from trouper.store.nodes import MemoryNodes
from trouper.store.protocol import Mark
from trouper.store.records import Counts, Entry, Job, JobState, Notification
from trouper.store.rules import UNDECODABLE
from trouper.store.schema import ACTIVE
from trouper.store.sqlite_beside import SqliteBeside
from trouper.store.sqlite_log import SqliteLog
from trouper.store.sqlite_open import is_outage
from trouper.store.sqlite_queue import (
    CLOCK_JUMPED,
    MARKED,
    MISDATED,
    NEXT_DUE,
    NEXT_EXPIRED,
    NEXT_ORPHAN,
    NEXT_TIMES,
    NEXT_UNKNOWN,
    RUNNING,
    STARTS_OF,
    UNMARKED,
    WAITING_USERS,
)
from trouper.store.sqlite_rows import (
    JOB_COLUMNS,
    JOB_FIELDS,
    NOTIFICATION_COLUMNS,
    NOTIFICATION_FIELDS,
    WHOLE_MAX,
    Column,
    job_columns,
    notification_columns,
    read_job,
    read_notification,
)
from trouper.store.sqlite_usage import read_usage
from trouper.store.tables import Candidate, ThreadRow, Turn
from trouper.store.usage import StoreUsage

Row = TypeVar("Row")
T = TypeVar("T")

_OF_A_ROW = (StoreError, IllegalEvent, sqlite3.Error, ValueError, OverflowError)
"""What a damaged row may raise. Anything else is a fault of ours, for which no job is given up."""

_INSERT_JOB = f"INSERT INTO jobs ({JOB_COLUMNS}) VALUES ({', '.join('?' * len(JOB_FIELDS))})"
_UPDATE_JOB = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in JOB_FIELDS)} WHERE id = ?"
_INSERT_NOTIFICATION = (
    f"INSERT INTO notifications ({NOTIFICATION_COLUMNS}) VALUES ({', '.join('?' * len(NOTIFICATION_FIELDS))})"
)

_IS_SEQ = f"feed_seq BETWEEN 0 AND {WHOLE_MAX - 1}"

_MARKS: dict[str, str] = {
    "seen": "seen_at = ?",
    "read": "read_at = ?, seen_at = COALESCE(seen_at, ?)",
    "archived": "archived_at = ?, seen_at = COALESCE(seen_at, ?)",
}

_COUNT = {
    JobState.QUEUED: "SELECT COUNT(*) FROM jobs INDEXED BY jobs_queued WHERE state = 'queued'",
    JobState.RUNNING: "SELECT COUNT(*) FROM jobs INDEXED BY jobs_running WHERE state = 'running'",
}


class SqliteTables(SqliteBeside):
    """``Tables`` over one connection and its ``SqliteLog``."""

    def __init__(self, connection: sqlite3.Connection, log: SqliteLog, boot: int) -> None:
        super().__init__(connection)
        self.nodes = MemoryNodes(lambda other: other == boot)
        self._log = log
        self._jumped = True  # what an earlier process left over is not known
        self.head = log.head
        self.append = log.append

    # --- feeds ---

    def feed(self, user: str) -> tuple[int, int]:
        row = self._db.execute("SELECT feed_seq, floor_seq FROM users WHERE user = ?", (user,)).fetchone()
        if row is None:
            return 0, 0
        if all(isinstance(seq, int) and 0 <= seq < WHOLE_MAX for seq in row):
            return row[0], row[1]
        # The row is damaged: go on above all that was stamped, and hold no earlier cursor for valid.
        (seq,) = self._db.execute(
            f"SELECT MAX(seq) FROM (SELECT MAX(feed_seq) AS seq FROM jobs WHERE user = ?1 AND {_IS_SEQ}"
            f" UNION ALL SELECT MAX(feed_seq) FROM notifications WHERE user = ?1 AND {_IS_SEQ})",
            (user,),
        ).fetchone()
        return seq or 0, seq or 0

    def set_feed_seq(self, user: str, seq: int) -> None:
        self._db.execute(
            "INSERT INTO users (user, feed_seq, floor_seq) VALUES (?, ?, 0)"
            " ON CONFLICT (user) DO UPDATE SET feed_seq = excluded.feed_seq",
            (user, seq),
        )

    def set_floor_seq(self, user: str, seq: int) -> None:
        self._db.execute("UPDATE users SET floor_seq = ? WHERE user = ?", (seq, user))

    # --- jobs ---

    def _jobs(self, where: str, parameters: Sequence[Column] = ()) -> list[Job]:
        return self._read_jobs(self._db.execute(f"SELECT {JOB_COLUMNS} FROM jobs {where}", parameters))

    def _read_jobs(self, rows: Iterable[Sequence[Column]]) -> list[Job]:
        jobs = []
        for row in rows:
            job = read_job(row)
            head = self._log.head(job.id)
            if head is not None and (job.entries, job.used_ms) != (head.entries, head.used_ms):
                job = attrs.evolve(job, entries=head.entries, used_ms=head.used_ms)
            jobs.append(job)
        return jobs

    def job(self, job_id: str) -> Job | None:
        return _one(self._jobs("WHERE id = ?", (job_id,)))

    def job_by_key(self, user: str, key: str) -> Job | None:
        return _one(self._jobs("WHERE user = ? AND idempotency_key = ?", (user, key)))

    def insert_job(self, job: Job) -> None:
        self._db.execute(_INSERT_JOB, job_columns(job))

    def update_job(self, job: Job) -> None:
        if self._db.execute(_UPDATE_JOB, (*job_columns(job), job.id)).rowcount != 1:
            # A row whose id is damaged is found by other columns, but cannot be written.
            raise sqlite3.DatabaseError(f"the row of job {job.id!r} is not there")
        head = self._log.head(job.id)
        if head is not None:
            self._log.set_used_ms(head, job.used_ms)

    def queued_up_to(self, limit: int) -> int:
        inner = "SELECT 1 FROM jobs INDEXED BY jobs_queued WHERE state = 'queued' LIMIT ?"
        (count,) = self._db.execute(f"SELECT COUNT(*) FROM ({inner})", (limit,)).fetchone()
        return int(count)

    def queued_of(self, user: str) -> int:
        row = self._db.execute("SELECT queued FROM users WHERE user = ?", (user,)).fetchone()
        return int(row[0]) if row else 0

    def active_in(self, user: str, thread: str, now: float) -> list[Job]:
        where = (
            f"INDEXED BY jobs_active WHERE user = ? AND thread = ? AND {ACTIVE}"
            " AND (attempt > 0 OR run_at <= ? OR run_at > 1e12) ORDER BY ord"
        )
        return self._jobs(where, (user, thread, now))

    def next_orphan(self, boot: int, after: int) -> Candidate | None:
        row = self._db.execute(NEXT_ORPHAN, (boot, after)).fetchone()
        return None if row is None else self._candidate(row)

    def next_due(
        self,
        now: float,
        per_user: int | None,
        turn: Turn,
        passed: Mapping[str, int],
        names: Collection[str] | None,
    ) -> tuple[Candidate, Turn] | None:
        places = orjson.dumps(passed).decode()
        known = None if names is None else orjson.dumps(list(names)).decode()
        row = self._db.execute(NEXT_DUE, (now, per_user, *turn, places, known)).fetchone()
        if row is None:
            return None
        served, since, *columns = row
        return self._candidate(columns), (served, since)

    def _candidate(self, columns: Sequence[Column]) -> Candidate:
        ord, *rest = columns
        (job,) = self._read_jobs([rest])
        assert isinstance(ord, int)
        return Candidate(job, ord)

    def waiting_users(self, limit: int) -> list[str]:
        return [user for (user,) in self._db.execute(WAITING_USERS, (limit,))]

    def starts_of(self, user: str, now: float, limit: int) -> list[str]:
        return [id for (id,) in self._db.execute(STARTS_OF, (user, now, limit))]

    def served(self, user: str) -> None:
        self._db.execute(
            "UPDATE users SET served = (SELECT MAX(served) + 1 FROM users) WHERE user = ?", (user,)
        )

    def alone(
        self, candidate: Candidate, now: float, call: Callable[[], T], stamp: Callable[[str], int]
    ) -> T | None:
        mark = self._log.mark()
        self._db.execute("SAVEPOINT candidate")
        try:
            if self._ord(candidate.job.id) != candidate.place:
                raise StoreCorrupt("its id does not lead to it")
            result: T | None = call()
        except _OF_A_ROW as error:
            if is_outage(error) or not self._db.in_transaction:
                raise
            self._db.execute("ROLLBACK TO candidate")
            self._log.roll_back(mark)
            self._set_aside(candidate, now, error, stamp(candidate.job.user))
            result = None
        self._db.execute("RELEASE candidate")
        return result

    def _set_aside(self, candidate: Candidate, now: float, error: Exception, seq: int) -> None:
        """Take a row out of the way that cannot be written whole; what else it holds, it keeps."""
        detail = f"the row of this job is damaged: {type(error).__name__}: {error}"
        self._db.execute(
            "INSERT INTO set_aside (source, detail, body)"
            " SELECT 'jobs', ?, CAST(id AS BLOB) FROM jobs WHERE ord = ?",
            (f"job {candidate.place}, {candidate.job.state}: {detail}", candidate.place),
        )
        self._db.execute(
            "UPDATE jobs SET state = 'lost', reason = ?, error = ?, boot = NULL, ended_at = ?, feed_seq = ?"
            " WHERE ord = ?",
            (UNDECODABLE, detail, now, seq, candidate.place),
        )

    def next_due_at(self, now: float) -> float | None:
        times = [self._db.execute(query, (now,)).fetchone()[0] for query in NEXT_TIMES]
        return min((time for time in times if isinstance(time, float | int)), default=None)

    def next_expired(self, now: float) -> Candidate | None:
        for query in (NEXT_EXPIRED, NEXT_UNKNOWN):
            row = self._db.execute(query, (now,)).fetchone()
            if row is not None:
                return self._candidate(row)
        return None

    def unmarked(self, names: Collection[str], limit: int) -> list[Candidate]:
        known = orjson.dumps(list(names)).decode()
        rows = self._db.execute(UNMARKED, (known, len(names) + limit + 1, limit)).fetchall()
        return [self._candidate(row) for row in rows]

    def marked(self, names: Collection[str], limit: int) -> list[Candidate]:
        known = orjson.dumps(sorted(names)).decode()
        return [self._candidate(row) for row in self._db.execute(MARKED, (known, limit)).fetchall()]

    def misdated(self, limit: int) -> list[Candidate]:
        if not self._jumped:
            return []
        found = [self._candidate(row) for row in self._db.execute(MISDATED, (limit,)).fetchall()]
        # Only when nothing is found, so that a transaction which is rolled back leaves nothing undone.
        self._jumped = bool(found)
        return found

    def clock_jumped(self, by_s: float, now: float) -> None:
        self._jumped = True
        self._db.execute(CLOCK_JUMPED, (by_s, now))
        self._db.execute("UPDATE tombstones SET expires_at = expires_at + ?", (by_s,))
        self.completions.clock_jumped(by_s)

    # --- notifications ---

    def _notifications(self, where: str, parameters: Sequence[Column]) -> list[Notification]:
        rows = self._db.execute(f"SELECT {NOTIFICATION_COLUMNS} FROM notifications {where}", parameters)
        return [read_notification(row) for row in rows]

    def notification(self, user: str, job: str, kind: str, key: str) -> Notification | None:
        where = "WHERE user = ? AND job = ? AND kind = ? AND key = ?"
        return _one(self._notifications(where, (user, job, kind, key)))

    def insert_notification(self, notification: Notification) -> None:
        self._db.execute(_INSERT_NOTIFICATION, notification_columns(notification))

    def remove_notifications(self, user: str, job_id: str) -> int:
        where = "WHERE user = ? AND job = ?"
        return self._db.execute(f"DELETE FROM notifications {where}", (user, job_id)).rowcount

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
        assignments = _MARKS[mark]
        return self._db.execute(
            f"UPDATE notifications SET {assignments}, feed_seq = ? WHERE user = ? AND {mark}_at IS NULL"
            " AND (id IN (SELECT value FROM json_each(?)) OR job = ? OR feed_seq <= ?)",
            (*[at] * assignments.count("?"), seq, user, orjson.dumps(ids).decode(), job_id, upto_seq),
        ).rowcount

    def counts(self, user: str) -> Counts:
        unseen, unread = self._db.execute(
            "SELECT (SELECT COUNT(*) FROM notifications WHERE user = ?1 AND seen_at IS NULL"
            " AND archived_at IS NULL), (SELECT COUNT(*) FROM notifications WHERE user = ?1"
            " AND read_at IS NULL AND archived_at IS NULL)",
            (user,),
        ).fetchone()
        return Counts(unseen=unseen, unread=unread)

    # --- logs ---

    def _ord(self, job_id: str) -> int | None:
        row = self._db.execute("SELECT ord FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return row[0] if row else None

    def begin_log(self, job: Job) -> None:
        ord = self._ord(job.id)
        assert ord is not None
        self._log.begin(ord, job)

    def settle_log(self, job: Job) -> None:
        self._log.settle(job.id)

    def empty_log(self, job_id: str) -> None:
        ord = self._ord(job_id)
        assert ord is not None
        self._log.cut(ord, 0)

    def read_log(self, job_id: str, start: int, max_bytes: int) -> list[Entry]:
        ord = self._ord(job_id)
        return [] if ord is None else self._log.read(ord, job_id, start, max_bytes)

    def hash_log(self, job_id: str) -> tuple[int, str]:
        ord = self._ord(job_id)
        assert ord is not None
        return self._log.hash(ord)

    # --- lists ---

    def jobs_of(self, user: str, thread: str | None, before: str | None, limit: int) -> list[Job]:
        where, parameters = "WHERE user = ?", [user]
        if thread is not None:
            where += " AND thread = ?"
            parameters.append(thread)
        if before is not None:
            where += " AND ord < (SELECT ord FROM jobs WHERE id = ? AND user = ?)"
            parameters += [before, user]
        return self._jobs(f"{where} ORDER BY ord DESC LIMIT {limit:d}", parameters)

    def threads_of(self, user: str, before: str | None, limit: int) -> list[ThreadRow]:
        having, parameters = "", [user]
        if before is not None:
            having = "HAVING MAX(ord) < (SELECT MAX(ord) FROM jobs WHERE user = ? AND thread = ?)"
            parameters += [user, before]
        rows = self._db.execute(
            f"SELECT thread, jobs, active, (SELECT id FROM jobs WHERE ord = first),"
            f" (SELECT id FROM jobs WHERE ord = last) FROM (SELECT thread, COUNT(*) AS jobs,"
            f" SUM({ACTIVE}) AS active, MIN(ord) AS first, MAX(ord) AS last FROM jobs"
            f" WHERE user = ? AND thread IS NOT NULL GROUP BY thread {having})"
            f" ORDER BY last DESC LIMIT {limit:d}",
            parameters,
        )
        return [ThreadRow(*row) for row in rows]

    def notifications_of(self, user: str, before: str | None, limit: int) -> list[Notification]:
        where, parameters = "WHERE user = ? AND archived_at IS NULL", [user]
        if before is not None:
            where += " AND ord < (SELECT ord FROM notifications WHERE id = ? AND user = ?)"
            parameters += [before, user]
        return self._notifications(f"{where} ORDER BY ord DESC LIMIT {limit:d}", parameters)

    def active_jobs_of(self, user: str) -> list[Job]:
        return self._jobs(f"INDEXED BY jobs_active WHERE user = ? AND {ACTIVE} ORDER BY ord", (user,))

    def changed_jobs(self, user: str, seq: int, limit: int) -> list[Job]:
        where = f"WHERE user = ? AND feed_seq > ? ORDER BY feed_seq, ord LIMIT {limit:d}"
        return self._jobs(where, (user, seq))

    def changed_notifications(self, user: str, seq: int, limit: int) -> list[Notification]:
        where = f"WHERE user = ? AND feed_seq > ? ORDER BY feed_seq, ord LIMIT {limit:d}"
        return self._notifications(where, (user, seq))

    def running(self, boot: int) -> list[Candidate]:
        return [self._candidate(row) for row in self._db.execute(RUNNING, (boot,)).fetchall()]

    def count_state(self, state: JobState) -> int:
        (count,) = self._db.execute(_COUNT[state]).fetchone()
        return int(count)

    def usage(self, now: float, users: int) -> StoreUsage:
        return read_usage(self._db, now, users)


def _one(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None
