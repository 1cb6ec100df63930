"""The same statements in the same batches, in a plain loop: what SQLite itself needs for them.

Output is handed to it as entries, and it encodes them to JSON for the rows that it inserts, as any program
would have to that stores the same. It is spared all else: the entries lie ready, nobody writes them one by
one, hashes them, checks them or is told of them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import attrs
import orjson

from benchmarks.measuring import Taken
from benchmarks.store import opened
from benchmarks.store.writers import Work


def replay(work: Work, times: int) -> Taken:
    """Have ``work`` done once to learn its statements, then carry them out again on a new file.

    Only the part that is measured is timed; what sets the stage comes first.
    """
    with opened.recorded() as recording:
        work.record(times, recording)
    with opened.folder() as path, closing(_connect(path)) as connection:
        opened.execute(connection, recording.statements[: recording.begun])
        measured = [
            _unencoded(*statement) for statement in recording.statements[recording.begun : recording.ended]
        ]
        began, cpu = time.perf_counter(), time.process_time()
        _execute(connection, measured)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        return work.taken(times, took, cpu, recording.commits)


@attrs.frozen
class _WithOutput:
    """A statement whose last parameter is entries, as yet without an encoding."""

    sql: str
    before: tuple[Any, ...]
    entries: list[Any]


def _unencoded(sql: str, parameters: Any) -> _WithOutput | tuple[str, Any]:
    if not sql.startswith(("INSERT INTO journal ", "INSERT INTO blocks ")):
        return sql, parameters
    *before, body = parameters
    return _WithOutput(sql, tuple(before), orjson.loads(body))


def _execute(connection: sqlite3.Connection, statements: Iterable[_WithOutput | tuple[str, Any]]) -> None:
    """As ``opened.execute``; output is encoded here."""
    for statement in statements:
        if isinstance(statement, tuple):
            sql, parameters = statement
        else:
            sql, parameters = statement.sql, (*statement.before, orjson.dumps(statement.entries))
        connection.execute(sql, parameters).fetchall()


def _connect(path: object) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path}/{opened.FILE}", isolation_level=None, cached_statements=256)
    connection.text_factory = lambda raw: str(raw, "utf-8", "replace")
    return connection
