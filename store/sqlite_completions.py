"""The completions in SQLite. A file may hold anything: what cannot be read of a row is taken for unset."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Any

import attrs
import orjson

from trouper.store.completions import Completion

_COLUMNS = ", ".join(field.name for field in attrs.fields(Completion))
_WAITS = "dead_at IS NULL AND claimed_at IS NULL"
_IS_HERE = (
    "NOT EXISTS (SELECT 1 FROM json_each(?3) CROSS JOIN jobs ON jobs.id = completions.job"
    " WHERE jobs.name = json_each.value)"
)
_TRIES_MAX = 2**31


class SqliteCompletions:
    """``CompletionRows`` over one connection, inside its transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def _select(self, where: str, parameters: Sequence[object]) -> list[Completion]:
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM completions {where}", parameters)
        return [_read(*row) for row in rows]

    def get(self, job_id: str) -> Completion | None:
        return next(iter(self._select("WHERE job = ?", (job_id,))), None)

    def put(self, row: Completion) -> None:
        values = attrs.astuple(row)
        self._db.execute(
            f"INSERT INTO completions ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})"
            " ON CONFLICT (job) DO UPDATE SET tries = excluded.tries, run_at = excluded.run_at,"
            " claimed_at = excluded.claimed_at, claimed_by = excluded.claimed_by,"
            " error = excluded.error, dead_at = excluded.dead_at",
            values,
        )

    def remove(self, job_id: str) -> None:
        self._db.execute("DELETE FROM completions WHERE job = ?", (job_id,))

    def unclaim(self, gone: Callable[[int | None], bool]) -> None:
        where = "WHERE claimed_at IS NOT NULL"
        for (boot,) in self._db.execute(f"SELECT DISTINCT claimed_by FROM completions {where}").fetchall():
            if gone(_boot(boot)):
                self._db.execute(
                    "UPDATE completions SET claimed_at = NULL, claimed_by = NULL, run_at = 0"
                    f" {where} AND claimed_by IS ?",
                    (boot,),
                )

    def claimed(self, boot: int) -> list[Completion]:
        where = "WHERE claimed_at IS NOT NULL AND claimed_by = ? AND typeof(job) = 'text' ORDER BY ord"
        return self._select(where, (boot,))

    def due(self, now: float, limit: int, elsewhere: Collection[str]) -> list[Completion]:
        # What is no time (text, the infinite) is above all that is one, and is not to wait for.
        where = (
            f"WHERE {_WAITS} AND (run_at <= ?1 OR run_at > 1e12) AND (?3 = '[]' OR {_IS_HERE})"
            " ORDER BY run_at, ord LIMIT ?2"
        )
        parameters = (now, limit, orjson.dumps(list(elsewhere)).decode())
        # One that holds no job's id cannot be written by it: it would be due, and in the way, for ever.
        self._db.execute(
            "UPDATE completions SET dead_at = ?1, error = printf('there is no job ''%s''', job) WHERE ord IN"
            f" (SELECT ord FROM completions {where}) AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = job)",
            parameters,
        )
        return self._select(where, parameters)

    def next_due_at(self, now: float) -> float | None:
        (run_at,) = self._db.execute(
            f"SELECT MIN(run_at) FROM completions WHERE {_WAITS} AND run_at > ?", (now,)
        ).fetchone()
        return run_at if isinstance(run_at, float | int) else None

    def clock_jumped(self, by_s: float) -> None:
        self._db.execute(
            f"UPDATE completions SET run_at = run_at + ? WHERE {_WAITS} AND run_at > 0 AND run_at < 1e12",
            (by_s,),
        )

    def dead(self, before: str | None, limit: int) -> list[Completion]:
        where, parameters = "WHERE dead_at IS NOT NULL", list[object]()
        if before is not None:
            where += " AND ord < (SELECT ord FROM completions WHERE job = ?)"
            parameters.append(before)
        return self._select(f"{where} ORDER BY ord DESC LIMIT ?", (*parameters, limit))

    def dead_count(self) -> int:
        (count,) = self._db.execute("SELECT COUNT(*) FROM completions WHERE dead_at IS NOT NULL").fetchone()
        return int(count)


def _read(
    job: Any, tries: Any, run_at: Any, claimed_at: Any, claimed_by: Any, error: Any, dead_at: Any
) -> Completion:
    return Completion(
        job=job if isinstance(job, str) else "",
        tries=tries if isinstance(tries, int) and 0 <= tries < _TRIES_MAX else 0,
        run_at=_time(run_at) or 0.0,
        claimed_at=_time(claimed_at),
        claimed_by=_boot(claimed_by),
        error=error if isinstance(error, str) else None,
        dead_at=_time(dead_at),
    )


def _boot(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _time(value: Any) -> float | None:
    return float(value) if isinstance(value, float | int) and math.isfinite(value) else None
