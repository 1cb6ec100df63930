BEGIN TRANSACTION;
CREATE TABLE blocks (
    job INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    body BLOB NOT NULL
);
INSERT INTO "blocks" VALUES(1,0,2,X'5B2261222C5B226576656E74222C2231225D5D');
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
INSERT INTO "jobs" VALUES(1,'done','ada','report','t','{}','k','print','{"attempts":1,"backoff_base_s":1.0,"backoff_factor":2.0,"backoff_max_s":60.0,"timeout_s":null,"on_process_death":"retry","notify_on":["completed","failed","timed_out","lost"]}','completed',NULL,1,0,1,NULL,0.0,1000.0,1000.0,1000.0,10,0,0,NULL,0,NULL,'[0]',2,'19a70ca2726478024275437063a5f77da94885cb86cfb59b9c1ca2254543c67c','"r"',NULL,3);
INSERT INTO "jobs" VALUES(2,'orphan','bob','report',NULL,'{}',NULL,'print','{"attempts":3,"backoff_base_s":1.0,"backoff_factor":2.0,"backoff_max_s":60.0,"timeout_s":null,"on_process_death":"retry","notify_on":["completed","failed","timed_out","lost"]}','running',NULL,1,0,1,1,0.0,1000.0,1000.0,NULL,1,0,0,NULL,1,'{"at":1}','[0]',1,NULL,NULL,NULL,3);
INSERT INTO "jobs" VALUES(3,'waits','ada','report','t','{}',NULL,'print','{"attempts":1,"backoff_base_s":1.0,"backoff_factor":2.0,"backoff_max_s":60.0,"timeout_s":null,"on_process_death":"retry","notify_on":["completed","failed","timed_out","lost"]}','queued',NULL,0,0,0,NULL,0.0,1000.0,NULL,NULL,0,0,0,NULL,0,NULL,'[]',0,NULL,NULL,NULL,4);
INSERT INTO "jobs" VALUES(4,'too','bob','report',NULL,'{}',NULL,'print','{"attempts":1,"backoff_base_s":1.0,"backoff_factor":2.0,"backoff_max_s":60.0,"timeout_s":null,"on_process_death":"retry","notify_on":["completed","failed","timed_out","lost"]}','queued',NULL,0,0,0,NULL,0.0,1000.0,NULL,NULL,0,0,0,NULL,0,NULL,'[]',0,NULL,NULL,NULL,4);
CREATE TABLE journal (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
INSERT INTO "journal" VALUES(2,X'5B5B322C312C302C312C5B226B657074225D5D5D');
INSERT INTO "journal" VALUES(3,X'5B5B322C312C312C312C5B226D6F7265225D5D5D');
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO "meta" VALUES('boot',1);
INSERT INTO "meta" VALUES('epoch','epoch-of-1');
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
INSERT INTO "notifications" VALUES(1,'n1','ada','done','t','ended','','report completed','',1000.0,NULL,NULL,NULL,3);
CREATE TABLE set_aside (ord INTEGER PRIMARY KEY, source TEXT NOT NULL, detail TEXT NOT NULL, body BLOB);
CREATE TABLE users (
    user TEXT PRIMARY KEY,
    feed_seq INTEGER NOT NULL,
    floor_seq INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "users" VALUES('ada',4,0);
INSERT INTO "users" VALUES('bob',4,0);
CREATE UNIQUE INDEX jobs_key ON jobs (user, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_queued ON jobs (ord, run_at) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (ord, boot) WHERE state = 'running';
CREATE INDEX jobs_active ON jobs (user, thread, state, attempt) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_user ON jobs (user, ord);
CREATE INDEX jobs_thread ON jobs (user, thread, ord);
CREATE INDEX jobs_feed ON jobs (user, feed_seq);
CREATE INDEX notifications_feed ON notifications (user, feed_seq);
CREATE INDEX notifications_unseen ON notifications (user) WHERE seen_at IS NULL;
CREATE INDEX notifications_unread ON notifications (user) WHERE read_at IS NULL;
CREATE INDEX notifications_shown ON notifications (user, ord) WHERE archived_at IS NULL;
CREATE UNIQUE INDEX blocks_place ON blocks (job, start, "end");
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',4);
INSERT INTO "sqlite_sequence" VALUES('notifications',1);
COMMIT;
PRAGMA application_id = 1414681936;
PRAGMA user_version = 1;
