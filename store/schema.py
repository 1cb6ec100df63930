"""The SQLite tables and the version of them that this code reads and writes.

``user_version`` holds ``VERSION``; a database of any other version is refused rather than guessed
at. ``application_id`` tells a trouper database from another program's.
"""

from __future__ import annotations

VERSION = 1

APPLICATION_ID = 0x54525550  # "TRUP"

ACTIVE = "state IN ('queued', 'running')"
"""Written the same in the index and in the queries: SQLite uses a partial index for a query that
repeats its condition word for word."""

_SCRIPT = f"""
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

STATEMENTS = tuple(statement for statement in _SCRIPT.split(";") if statement.strip())
"""One by one, since ``executescript`` would commit the transaction that they belong to."""
