"""The blocks of output in SQLite: neighbouring entries of one job, as one JSON array a row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from trouper.store.errors import StoreCorrupt
from trouper.store.records import Entry
from trouper.store.sqlite_rows import WHOLE_MAX
from trouper.store.tables import decode_entries, encode_entries

_CRUMB_PART = 8  # a block below this part of the full size grows, since it costs a page or two all the same


def grow_last_block(
    connection: sqlite3.Connection, ord: int, start: int, end: int, body: bytes, block_bytes: int
) -> bool:
    """Put ``body`` (entries ``start`` to ``end``) to the end of the last block if that is a crumb: a slow job
    would leave a trail of them else. (To fill each block up would write a log of many such pieces several
    times over.)"""
    room = min(block_bytes - len(body), block_bytes // _CRUMB_PART)
    if room <= 0 or start == 0:
        return False
    last = connection.execute(
        'SELECT start, body FROM blocks WHERE job = ? AND "end" = ? AND length(body) <= ?',
        (ord, start, room),
    ).fetchone()
    if last is None or not isinstance(last[1], bytes) or last[1][-1:] != b"]" or len(last[1]) < 3:
        return False
    connection.execute(
        'UPDATE blocks SET "end" = ?, body = ? WHERE job = ? AND start = ?',
        (end, b"%b,%b" % (last[1][:-1], body[1:]), ord, last[0]),
    )
    return True


def cut_blocks(connection: sqlite3.Connection, ord: int, keep: int) -> None:
    """Cut a log without a head to ``keep`` entries."""
    end = blocks_end(connection, ord)
    if end < keep:
        raise StoreCorrupt(f"the output of a job ends at {end}, before its savepoint at {keep}")
    spanning = connection.execute(
        'SELECT start, "end", body FROM blocks WHERE job = ? AND start < ? AND "end" > ?',
        (ord, keep, keep),
    ).fetchone()
    if spanning is not None:
        start, end, body = spanning
        entries = _decode(start, end, body)
        connection.execute(
            'UPDATE blocks SET "end" = ?, body = ? WHERE job = ? AND start = ?',
            (keep, encode_entries(entries[: keep - start]), ord, start),
        )
    connection.execute("DELETE FROM blocks WHERE job = ? AND start >= ?", (ord, keep))


def read_blocks(connection: sqlite3.Connection, ord: int, start: int) -> Iterator[tuple[int, list[Entry]]]:
    """The blocks from the one with entry ``start``; raises ``StoreCorrupt`` at a damaged one."""
    expected: int | None = None
    for at, end, body in connection.execute(
        'SELECT start, "end", body FROM blocks WHERE job = ? AND "end" > ? ORDER BY start', (ord, start)
    ):
        entries = _decode(at, end, body)
        if at > start if expected is None else at != expected:
            raise StoreCorrupt(f"the output of a job is damaged at entry {at}")
        expected = end
        yield at, entries


def blocks_end(connection: sqlite3.Connection, ord: int) -> int:
    """Where the blocks of a job end, however damaged some of them may be."""
    (end,) = connection.execute(
        f'SELECT MAX("end") FROM blocks WHERE job = ? AND "end" BETWEEN 0 AND {WHOLE_MAX}', (ord,)
    ).fetchone()
    return int(end or 0)


def _decode(start: object, end: object, body: bytes) -> list[Entry]:
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end:
        raise StoreCorrupt(f"a block of output holds the entries from {start!r} to {end!r}")
    try:
        entries = decode_entries(body)
    except (ValueError, TypeError) as error:
        raise StoreCorrupt(f"a block of output cannot be read: {error}") from error
    if len(entries) != end - start:
        raise StoreCorrupt(f"a block of output holds {len(entries)} entries, not {end - start}")
    return entries
