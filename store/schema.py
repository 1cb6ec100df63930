"""The SQLite tables, and the steps that lead to them from every earlier version.

``user_version`` holds the number of steps that a database has gone; opening it goes the rest, in one
transaction. One of a newer version is refused rather than guessed at. ``application_id`` tells a
trouper database from another program's.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x54525550  # "TRUP"

ACTIVE = "state IN ('queued', 'running')"
"""Written the same in the index and in the queries: SQLite uses a partial index for a query that
repeats its condition word for word."""

_FIRST = f"""
-- epoch: an id made with the database. boot: raised at every open.
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE users (
    user TEXT PRIMARY KEY,
    feed_seq INTEGER NOT NULL,
    floor_seq INTEGER NOT NULL
) WITHOUT ROWID;

-- ord is the order of age. AUTOINCREMENT, so that the place of a removed row is not taken again.
CREATE TABLE jobs (
    ord INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    thread TEXT,
    arguments TEXT NOT NULL,
    idempotency_key TEXT,
    fingerprint TEXT NOT NULL,
    options TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    attempt INTEGER NOT NULL,
    attempts_used INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    boot INTEGER,
    run_at REAL NOT NULL,
    created_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    used_ms INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    stuck INTEGER NOT NULL,
    unsafe TEXT,
    savepoint INTEGER NOT NULL,
    saved TEXT,
    keeps TEXT NOT NULL,
    entries INTEGER NOT NULL,
    sha256 TEXT,
    result TEXT,
    error TEXT,
    feed_seq INTEGER NOT NULL
);
CREATE UNIQUE INDEX jobs_key ON jobs (user, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_queued ON jobs (ord, run_at) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (ord, boot) WHERE state = 'running';
CREATE INDEX jobs_active ON jobs (user, thread, state, attempt) WHERE {ACTIVE};
CREATE INDEX jobs_user ON jobs (user, ord);
CREATE INDEX jobs_thread ON jobs (user, thread, ord);
CREATE INDEX jobs_feed ON jobs (user, feed_seq);

-- key is never NULL: two NULLs are not equal, and UNIQUE would let both in.
CREATE TABLE notifications (
    ord INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL,
    job TEXT NOT NULL,
    thread TEXT,
    kind TEXT NOT NULL,
    key TEXT NOT NULL DEFAULT '',
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at REAL NOT NULL,
    seen_at REAL,
    read_at REAL,
    archived_at REAL,
    feed_seq INTEGER NOT NULL,
    UNIQUE (user, job, kind, key)
);
CREATE INDEX notifications_feed ON notifications (user, feed_seq);
CREATE INDEX notifications_unseen ON notifications (user) WHERE seen_at IS NULL;
CREATE INDEX notifications_unread ON notifications (user) WHERE read_at IS NULL;
CREATE INDEX notifications_shown ON notifications (user, ord) WHERE archived_at IS NULL;

-- One row a commit, for all jobs' output: [[jobs.ord, attempt, start, used_ms, [entry, ...]], ...]
CREATE TABLE journal (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);

-- What the journal's rows are folded into: [entry, ...] of one job (jobs.ord).
CREATE TABLE blocks (
    job INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX blocks_place ON blocks (job, start, "end");

-- Journal rows and blocks that could not be read, kept for whoever wants to look at them.
CREATE TABLE set_aside (ord INTEGER PRIMARY KEY, source TEXT NOT NULL, detail TEXT NOT NULL, body BLOB);
"""

_SECOND = """
-- Whose turn it is (J4). queued, running: how many of the user's jobs are. served: when a job of the
-- user was started last, counted in starts over all users (0: never). since: the job with which the
-- present wait of a user began who had nothing queued.
ALTER TABLE users ADD COLUMN queued INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN running INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN served INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
UPDATE users SET
    queued = (SELECT COUNT(*) FROM jobs WHERE jobs.user = users.user AND state = 'queued'),
    running = (SELECT COUNT(*) FROM jobs WHERE jobs.user = users.user AND state = 'running'),
    since = (SELECT COALESCE(MIN(ord), 0) FROM jobs WHERE jobs.user = users.user AND state = 'queued');
CREATE INDEX users_waiting ON users (served, since) WHERE queued > 0;
CREATE INDEX users_served ON users (served);
CREATE INDEX jobs_waiting ON jobs (user, ord) WHERE state = 'queued';

-- By time, so that the next one due is found without a look at the rest.
DROP INDEX jobs_queued;
CREATE INDEX jobs_queued ON jobs (run_at) WHERE state = 'queued';
"""

_THIRD = """
ALTER TABLE jobs ADD COLUMN superseded TEXT;

-- Keys that were cancelled before their job came.
CREATE TABLE tombstones (
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (user, key)
) WITHOUT ROWID;
CREATE INDEX tombstones_age ON tombstones (expires_at);
CREATE INDEX tombstones_user ON tombstones (user, expires_at, key);
"""

_COMPLETIONS = """
-- What is still to be done for jobs that have ended. claimed_at: a try is under way. dead_at: given up.
CREATE TABLE completions (
    ord INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL UNIQUE,
    tries INTEGER NOT NULL,
    run_at REAL NOT NULL,
    claimed_at REAL,
    error TEXT,
    dead_at REAL
);
CREATE INDEX completions_waiting ON completions (run_at, ord) WHERE dead_at IS NULL AND claimed_at IS NULL;
CREATE INDEX completions_claimed ON completions (claimed_at) WHERE claimed_at IS NOT NULL;
CREATE INDEX completions_dead ON completions (ord) WHERE dead_at IS NOT NULL;
"""

_SIGNALS = """
ALTER TABLE jobs ADD COLUMN signals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN heard INTEGER NOT NULL DEFAULT 0;

-- Messages to jobs, numbered for each job.
CREATE TABLE signals (
    job TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    sender TEXT,
    sent_at REAL NOT NULL,
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX signals_id ON signals (job, id);
"""

_TIMES = """
ALTER TABLE jobs ADD COLUMN at REAL;
ALTER TABLE jobs ADD COLUMN expires_at REAL;
ALTER TABLE jobs ADD COLUMN unknown_until REAL;
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE state = 'queued' AND expires_at IS NOT NULL;
CREATE INDEX jobs_unknown ON jobs (unknown_until) WHERE state = 'queued' AND unknown_until IS NOT NULL;
CREATE INDEX jobs_names ON jobs (name, unknown_until) WHERE state = 'queued';
"""

_QUESTIONS = """
ALTER TABLE jobs ADD COLUMN asking TEXT;

-- What jobs asked a person. answer: JSON.
CREATE TABLE questions (
    job TEXT NOT NULL,
    key TEXT NOT NULL,
    answer TEXT,
    answered_by TEXT,
    answered_at REAL,
    PRIMARY KEY (job, key)
) WITHOUT ROWID;
"""

_NAMES = """
-- Of what waits, the rows that may have to be told that their name is unknown, and those that were told.
DROP INDEX jobs_names;
CREATE INDEX jobs_unmarked ON jobs (name) WHERE state = 'queued' AND unknown_until IS NULL;
CREATE INDEX jobs_marked ON jobs (name) WHERE state = 'queued' AND unknown_until IS NOT NULL;
"""

_HOOK_OWNERS = """
-- The boot under which the try is under way.
ALTER TABLE completions ADD COLUMN claimed_by INTEGER;
"""

_READ_BY_ATTEMPTS = """
ALTER TABLE jobs ADD COLUMN given INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN began_after TEXT;
UPDATE jobs SET given = heard;
"""

# The counts follow the rows by themselves, whoever changes one.
_COUNTING = """
CREATE TRIGGER jobs_counted_in AFTER INSERT ON jobs WHEN new.state IN ('queued', 'running') BEGIN
    INSERT OR IGNORE INTO users (user, feed_seq, floor_seq) VALUES (new.user, 0, 0);
    UPDATE users SET
        since = CASE WHEN new.state = 'queued' AND queued = 0 THEN new.ord ELSE since END,
        queued = queued + (new.state = 'queued'),
        running = running + (new.state = 'running')
    WHERE user = new.user;
END;

CREATE TRIGGER jobs_counted_anew AFTER UPDATE OF state, user ON jobs
WHEN new.state <> old.state OR new.user <> old.user BEGIN
    UPDATE users SET
        queued = queued - (old.state = 'queued'),
        running = running - (old.state = 'running')
    WHERE user = old.user;
    INSERT OR IGNORE INTO users (user, feed_seq, floor_seq) VALUES (new.user, 0, 0);
    UPDATE users SET
        queued = queued + (new.state = 'queued'),
        running = running + (new.state = 'running')
    WHERE user = new.user;
END;

CREATE TRIGGER jobs_counted_out AFTER DELETE ON jobs WHEN old.state IN ('queued', 'running') BEGIN
    UPDATE users SET
        queued = queued - (old.state = 'queued'),
        running = running - (old.state = 'running')
    WHERE user = old.user;
END;
"""


def carry_out(connection: sqlite3.Connection, script: str) -> None:
    """Each statement by itself, since ``executescript`` would commit the transaction that they are in. Where
    one ends is SQLite's to say: a semicolon may be a comment's, a text's or a trigger's."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    if statement.strip():
        raise ValueError(f"no statement: {statement}")


MIGRATIONS = (
    _FIRST,
    _SECOND + _COUNTING,
    _THIRD,
    _COMPLETIONS,
    _SIGNALS,
    _TIMES,
    _QUESTIONS,
    _NAMES,
    _HOOK_OWNERS,
    _READ_BY_ATTEMPTS,
)
"""``MIGRATIONS[n]`` makes version n+1 of version n; version 0 is an empty file. What was released is
never changed: what comes after it is a step of its own."""

VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> bool:
    """Bring a database to ``VERSION``, inside the caller's transaction; whether it was new."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for step in MIGRATIONS[version:]:
        carry_out(connection, step)
    if version < VERSION:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    return bool(version == 0)
