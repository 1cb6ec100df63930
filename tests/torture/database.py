"""What is in the file, read by a connection that cannot write, while no server has it open."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

_COLUMNS = "ord, id, user, name, state, reason, attempt, fence, cancel_requested, stuck, unsafe, keeps"


@attrs.frozen
class Row:
    """A job as the file has it."""

    ord: int
    id: str
    user: str
    name: str
    state: str
    reason: str | None
    attempt: int
    fence: int
    cancel_requested: bool
    stuck: bool
    unsafe: str | None
    keeps: list[int] = attrs.field(converter=json.loads)

    @property
    def terminal(self) -> bool:
        return self.state in ("completed", "failed", "cancelled", "timed_out", "lost")


class Database:
    """A database at rest."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, query: str, *parameters: object) -> list[Any]:
        return self._connection.execute(query, parameters).fetchall()

    def jobs(self) -> dict[str, Row]:
        return {row[1]: Row(*row) for row in self.rows(f"SELECT {_COLUMNS} FROM jobs")}

    def log(self, job: Row) -> list[str]:
        """All that is committed of a job's output: its blocks, and what the journal has after them."""
        log: list[str] = []
        blocks = self.rows('SELECT start, "end", body FROM blocks WHERE job = ? ORDER BY start', job.ord)
        for start, end, body in blocks:
            assert start == len(log), f"{job.id}: a gap in the blocks at {start}"
            log += json.loads(body)
            assert end == len(log), f"{job.id}: a block to {end} ends at {len(log)}"
        if job.terminal:
            return log
        for (body,) in self.rows("SELECT body FROM journal ORDER BY seq"):
            for ord, attempt, start, _, entries in json.loads(body):
                if (ord, attempt) == (job.ord, job.attempt) and start + len(entries) > len(log):
                    assert start <= len(log), f"{job.id}: a gap in the journal at {start}"
                    log += entries[len(log) - start :]
        return log


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        yield Database(connection)
    finally:
        connection.close()
