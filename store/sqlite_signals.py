"""The messages to jobs in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import attrs
import orjson

from trouper.store.signals import SignalRow

_FIELDS = tuple(field.name for field in attrs.fields(SignalRow))
_COLUMNS = ", ".join(_FIELDS)


class SqliteSignals:
    """``SignalRows`` over one connection, inside its transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def get(self, job_id: str, id: str) -> SignalRow | None:
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM signals WHERE job = ? AND id = ?", (job_id, id))
        return next(_readable(rows), None)

    def insert(self, row: SignalRow) -> None:
        values = attrs.astuple(row)
        self._db.execute(f"INSERT INTO signals ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)

    def after(self, job_id: str, seq: int, limit: int) -> list[SignalRow]:
        where = "WHERE job = ? AND seq > ? ORDER BY seq"
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM signals {where}", (job_id, seq))
        return list(islice(_readable(rows), limit))  # no LIMIT: what is damaged takes nobody's place

    def forget(self, job_id: str, upto: int) -> None:
        self._db.execute("DELETE FROM signals WHERE job = ? AND seq <= ?", (job_id, upto))


def _readable(rows: Iterable[Sequence[Any]]) -> Iterator[SignalRow]:
    """A file may hold anything: one that cannot be read as it was meant is left out."""
    for row in rows:
        values = dict(zip(_FIELDS, row, strict=True))
        try:
            orjson.loads(values["body"])
        except (orjson.JSONDecodeError, TypeError):
            continue
        sender, sent_at = values["sender"], values["sent_at"]
        if isinstance(values["seq"], int) and isinstance(values["id"], str):
            values["sender"] = sender if isinstance(sender, str) else None
            values["sent_at"] = float(sent_at) if isinstance(sent_at, float | int) else 0.0
            yield SignalRow(**values)
