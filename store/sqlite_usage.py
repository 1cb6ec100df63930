"""How far the bounds of each user and each job are used, in SQLite: by indexes of what is active, so that
what has ended costs nothing."""

from __future__ import annotations

import sqlite3

from trouper.store.schema import ACTIVE
from trouper.store.usage import StoreUsage, UserUsage

# A count that is damaged is no number, and is left out.
_USERS = (
    "SELECT user, queued, running FROM"
    " (SELECT user, queued, running FROM users INDEXED BY users_waiting WHERE queued > 0"
    " UNION SELECT user, queued, running FROM users"
    " WHERE user IN (SELECT user FROM jobs INDEXED BY jobs_running WHERE state = 'running'))"
    " WHERE typeof(queued) = 'integer' AND typeof(running) = 'integer'"
    " ORDER BY queued + running DESC, user LIMIT ?"
)
_SIGNALS = (
    f"SELECT MAX(signals - heard) FROM jobs INDEXED BY jobs_active WHERE {ACTIVE}"
    " AND typeof(signals) = 'integer' AND typeof(heard) = 'integer'"
)
_TOMBSTONES = (
    "SELECT MAX(keys) FROM (SELECT COUNT(*) AS keys FROM tombstones WHERE expires_at > ? GROUP BY user)"
)
_QUESTIONS = (
    "SELECT MAX((SELECT COUNT(*) FROM questions WHERE job = jobs.id))"
    f" FROM jobs INDEXED BY jobs_active WHERE {ACTIVE}"
)


def read_usage(connection: sqlite3.Connection, now: float, users: int) -> StoreUsage:
    """See ``Tables.usage``."""
    largest = connection.execute(_USERS, (users,)).fetchall()
    (signals,) = connection.execute(_SIGNALS).fetchone()
    (tombstones,) = connection.execute(_TOMBSTONES, (now,)).fetchone()
    (questions,) = connection.execute(_QUESTIONS).fetchone()
    most = (count or 0 for count in (signals, tombstones, questions))
    return StoreUsage(tuple(UserUsage(*row) for row in largest), *most)
