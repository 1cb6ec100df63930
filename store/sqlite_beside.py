"""What lies beside the jobs in SQLite: completions, questions, signals, and keys cancelled too early."""

from __future__ import annotations

import sqlite3

from trouper.store.sqlite_completions import SqliteCompletions
from trouper.store.sqlite_questions import SqliteQuestions
from trouper.store.sqlite_signals import SqliteSignals


class SqliteBeside:
    """The part of ``Tables`` for them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.completions = SqliteCompletions(connection)
        self.questions = SqliteQuestions(connection)
        self.signals = SqliteSignals(connection)

    # --- keys that were cancelled before their job came ---

    def tombstone(self, user: str, key: str) -> float | None:
        where = "WHERE user = ? AND key = ?"
        row = self._db.execute(f"SELECT expires_at FROM tombstones {where}", (user, key)).fetchone()
        return row[0] if row and isinstance(row[0], float | int) else None

    def put_tombstone(self, user: str, key: str, expires_at: float, *, now: float, most: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?)", (user, key, expires_at))
        self._db.execute("DELETE FROM tombstones WHERE expires_at <= ?", (now,))
        self._db.execute(
            "DELETE FROM tombstones WHERE user = ?1 AND key IN (SELECT key FROM tombstones WHERE user = ?1"
            " ORDER BY expires_at DESC, key DESC LIMIT -1 OFFSET ?2)",
            (user, most),
        )

    def remove_tombstone(self, user: str, key: str) -> None:
        self._db.execute("DELETE FROM tombstones WHERE user = ? AND key = ?", (user, key))
