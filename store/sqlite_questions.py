"""The questions of jobs in SQLite. A file may hold anything: an answer that is no JSON is none."""

from __future__ import annotations

import sqlite3
from typing import Any

import attrs
import orjson

from trouper.store.questions import Question

_COLUMNS = ", ".join(field.name for field in attrs.fields(Question))


class SqliteQuestions:
    """``QuestionRows`` over one connection, inside its transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def get(self, job_id: str, key: str) -> Question | None:
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM questions WHERE job = ? AND key = ?", (job_id, key)
        ).fetchone()
        return None if row is None else _read(*row)

    def count(self, job_id: str) -> int:
        (count,) = self._db.execute("SELECT COUNT(*) FROM questions WHERE job = ?", (job_id,)).fetchone()
        return int(count)

    def put(self, row: Question) -> None:
        values = attrs.astuple(row)
        self._db.execute(
            f"INSERT OR REPLACE INTO questions ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values
        )


def _read(job: str, key: str, answer: Any, answered_by: Any, answered_at: Any) -> Question:
    try:
        orjson.loads("" if answer is None else answer)
    except (orjson.JSONDecodeError, TypeError):
        return Question(job=job, key=key)
    return Question(
        job=job,
        key=key,
        answer=answer,
        answered_by=answered_by if isinstance(answered_by, str) else None,
        answered_at=answered_at if isinstance(answered_at, float) else None,
    )
