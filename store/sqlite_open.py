"""Opening a database: its settings, its schema, a new boot, and what the last process left behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import attrs
import orjson

from trouper.store.errors import SchemaMismatch, StoreCorrupt, StoreRefused, StoreUnavailable
from trouper.store.options import StoreOptions
from trouper.store.records import Entry
from trouper.store.schema import ACTIVE, APPLICATION_ID, VERSION, migrate
from trouper.store.sqlite_blocks import blocks_end
from trouper.store.sqlite_rows import WHOLE_MAX
from trouper.store.tables import decode_entries, encode_entries

_BATCH_FATAL = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)

_FOR_GOOD = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
"""An outage while a database is in use; at its opening, a reason to give up."""


_ADVICE = {
    sqlite3.SQLITE_FULL: ". It is as it was: make room on its disk, and start again",
    sqlite3.SQLITE_IOERR: ". It is as it was: look after its disk (room, quota, errors), and start again",
    sqlite3.SQLITE_BUSY: ". It is as it was: another program writes into it; end that, and start again",
    sqlite3.SQLITE_READONLY: ". It is as it was: this process must be able to write into it and its folder",
    sqlite3.SQLITE_CANTOPEN: ". Legal is a file that this process can write, or none yet, in such a folder",
}
"""What to do about an opening that failed; whatever it had begun was one transaction."""


def is_outage(error: BaseException) -> bool:
    """Whether the database as a whole failed (full, locked, an I/O error), not one operation."""
    return isinstance(error, sqlite3.Error) and (_code(error) & 0xFF) in _BATCH_FATAL


def is_damage(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and (_code(error) & 0xFF) in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", None) or 0


@attrs.frozen
class Opened:
    """An open database. **Resources**: whoever opened it closes ``connection``, on its thread."""

    connection: sqlite3.Connection
    boot: int
    epoch: str


def open_database(path: Path, options: StoreOptions, new_id: Callable[[], str]) -> Opened:
    """Open or make the database at ``path``, and begin a new boot in it. Runs on the store's thread.

    Raises ``StoreCorrupt`` for what is no database, ``SchemaMismatch`` for another program's or
    version's, ``StoreUnavailable`` for what may pass (full, locked), ``StoreRefused`` for the rest.
    """
    try:
        connection = sqlite3.connect(
            path, timeout=options.busy_wait_s, isolation_level=None, cached_statements=256
        )
    except sqlite3.Error as error:
        raise StoreRefused(_why(path, error)) from error
    try:
        # Text that is no UTF-8 is shown with replacement characters rather than failing a whole list.
        connection.text_factory = lambda raw: str(raw, "utf-8", "replace")
        _check_schema(connection, path)
        _set_up(connection, path, options)
        connection.execute("BEGIN IMMEDIATE")
        if migrate(connection):
            connection.execute("INSERT INTO meta VALUES ('epoch', ?), ('boot', 0)", (new_id(),))
        boot, epoch = _begin_boot(connection)
        _recount(connection)
        _replay(connection)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.close()
        if is_damage(error):
            raise StoreCorrupt(f"{path} is not a database, or is damaged: {error}") from error
        if is_outage(error) and (_code(error) & 0xFF) not in _FOR_GOOD:
            raise StoreUnavailable(_why(path, error)) from error
        raise StoreRefused(_why(path, error)) from error
    except BaseException:
        connection.close()
        raise
    return Opened(connection, boot, epoch)


def _why(path: Path, error: sqlite3.Error) -> str:
    return f"cannot open {path}: {error}{_ADVICE.get(_code(error) & 0xFF, '')}"


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if tables == 0 and application == 0 and version == 0:
        return
    if application != APPLICATION_ID:
        raise SchemaMismatch(f"{path} is the database of another program")
    if not 1 <= version <= VERSION:
        raise SchemaMismatch(
            f"{path} was written with version {version} of the schema; legal are 1 to {VERSION}"
        )


_SECURE_DELETE = {"off": 0, "on": 1, "fast": 2}
"""How SQLite tells the value that is in effect."""


def _set_up(connection: sqlite3.Connection, path: Path, options: StoreOptions) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreRefused(f"{path} cannot have a write-ahead log there (its journal mode stays {mode})")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    # Said in any case: the default is the choice of who built this SQLite.
    chosen = options.secure_delete
    (in_effect,) = connection.execute(f"PRAGMA secure_delete = {chosen}").fetchone()
    if in_effect != _SECURE_DELETE[chosen]:
        raise StoreRefused(f"SQLite {sqlite3.sqlite_version} knows no secure_delete={chosen!r}")
    # The log may grow behind a long read; it is cut back to this when it begins anew.
    connection.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")


def _begin_boot(connection: sqlite3.Connection) -> tuple[int, str]:
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'boot'")
    meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    boot, epoch = meta.get("boot"), meta.get("epoch")
    if not isinstance(boot, int) or not isinstance(epoch, str):
        raise StoreCorrupt("the database has lost its epoch or its boot number")
    return boot, epoch


def _recount(connection: sqlite3.Connection) -> None:
    """Count anew what each user has queued and running: a count that is damaged would hide a queue."""
    connection.execute(
        "INSERT OR IGNORE INTO users (user, feed_seq, floor_seq)"
        f" SELECT DISTINCT user, 0, 0 FROM jobs INDEXED BY jobs_active WHERE {ACTIVE} AND user IS NOT NULL"
    )
    of_user = "SELECT COUNT(*) FROM jobs INDEXED BY jobs_active WHERE jobs.user = users.user AND"
    counts = [f"({of_user} {ACTIVE} AND state = '{state}')" for state in ("queued", "running")]
    connection.execute(
        f"UPDATE users SET queued = {counts[0]}, running = {counts[1]}"
        f" WHERE queued IS NOT {counts[0]} OR running IS NOT {counts[1]}"
    )


# --- the journal that the last process left ------------------------------------------------------


@attrs.define
class _Rest:
    """What the journal holds of one job's log beyond its blocks."""

    attempt: int
    start: int
    used_ms: int
    entries: list[Entry] = attrs.field(factory=list)


def _replay(connection: sqlite3.Connection) -> None:
    """Fold the journal into blocks and empty it.

    Only the logs of rows that were running can be behind: to end an attempt folds its log.
    """
    rests: dict[int, _Rest] = {}
    for job, attempt, used_ms in connection.execute(
        "SELECT ord, attempt, used_ms FROM jobs INDEXED BY jobs_running WHERE state = 'running'"
        " AND typeof(attempt) = 'integer' AND typeof(used_ms) = 'integer'"
    ).fetchall():
        rests[job] = _Rest(attempt, blocks_end(connection, job), used_ms)
    for seq, body in connection.execute("SELECT seq, body FROM journal ORDER BY seq").fetchall():
        try:
            _replay_row(rests, body)
        except (ValueError, TypeError) as error:
            connection.execute(
                "INSERT INTO set_aside (source, detail, body) VALUES ('journal', ?, ?)",
                (f"row {seq}: {error}", body),
            )
    for job, rest in rests.items():
        end = rest.start + len(rest.entries)
        if rest.entries:
            connection.execute(
                'INSERT INTO blocks (job, start, "end", body) VALUES (?, ?, ?, ?)',
                (job, rest.start, end, encode_entries(rest.entries)),
            )
        connection.execute("UPDATE jobs SET entries = ?, used_ms = ? WHERE ord = ?", (end, rest.used_ms, job))
    connection.execute("DELETE FROM journal")


def _replay_row(rests: dict[int, _Rest], body: bytes) -> None:
    items_of_jobs = orjson.loads(body)
    if not isinstance(items_of_jobs, list):
        raise ValueError("not an array")
    for job, attempt, start, used_ms, items in items_of_jobs:
        if type(used_ms) is not int or not 0 <= used_ms < WHOLE_MAX:
            raise ValueError(f"a running time of {used_ms} ms")
        rest = rests.get(job)
        if rest is None or rest.attempt != attempt:
            continue
        entries = decode_entries(orjson.dumps(items))
        known = rest.start + len(rest.entries) - start
        # Folded already, or behind a row that could not be read: a log has no gaps.
        if 0 <= known < len(entries):
            rest.entries.extend(entries[known:])
        rest.used_ms = max(rest.used_ms, used_ms)
