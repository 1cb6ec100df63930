"""The statements of the queue: what is due, and whose turn it is; what has waited too long.

Each finds its row by looks into indexes, however long the queue is, and names the index that it needs,
so that a change of the schema fails here rather than making claims slow.
"""

from __future__ import annotations

from trouper.store.schema import ACTIVE
from trouper.store.sqlite_rows import JOB_COLUMNS, JOB_FIELDS

# A thread is held by what runs, and for a job that has not begun by what waits for another attempt.
# Each of the two is one look into an index, however many jobs of the thread wait.
_OF_THREAD = (
    "SELECT 1 FROM jobs AS other INDEXED BY jobs_active"
    f" WHERE other.user = due.user AND other.thread = due.thread AND {ACTIVE}"
)
_THREAD_IS_HELD = (
    f"(EXISTS ({_OF_THREAD} AND other.state = 'running') OR (due.attempt = 0"
    f" AND EXISTS ({_OF_THREAD} AND other.state = 'queued' AND other.attempt > 0)))"
)
# What waits for a person, and asks nothing that could be answered, is not to wait for: it is damaged.
_ASKS_NOTHING = (
    "CASE WHEN asking IS NULL THEN attempt > 0 AND run_at > 5e10 WHEN typeof(asking) <> 'text' THEN 1"
    " WHEN json_valid(asking) THEN json_type(asking, '$.key') IS NOT 'text' ELSE 1 END"
)
_DUE_OF_USER = (
    "SELECT ord FROM jobs AS due INDEXED BY jobs_waiting WHERE due.user = users.user AND state = 'queued'"
    " AND ord > COALESCE((SELECT value FROM json_each(?5) WHERE key = users.user), 0)"
    # What is no time (text, the infinite) is above all that is one, and is not to wait for.
    f" AND (run_at <= ?1 OR run_at > 1e12 OR {_ASKS_NOTHING})"
    # Nor is what is no text the name of a job that somebody may register yet.
    " AND (?6 IS NULL OR name IN (SELECT value FROM json_each(?6)) OR typeof(name) <> 'text')"
    f" AND (thread IS NULL OR NOT {_THREAD_IS_HELD}) ORDER BY ord LIMIT 1"
)
# The users in the order of their turns, up to the first who has something to start.
NEXT_DUE = (
    f"SELECT served, since, ord, {', '.join(f'jobs.{name}' for name in JOB_FIELDS)}"
    f" FROM users INDEXED BY users_waiting CROSS JOIN jobs ON jobs.ord = ({_DUE_OF_USER})"
    " WHERE queued > 0 AND (served, since) >= (?3, ?4) AND (?2 IS NULL OR running < ?2)"
    " ORDER BY served, since LIMIT 1"
)

_QUEUED = f"SELECT ord, {JOB_COLUMNS} FROM jobs"
NEXT_EXPIRED = (
    f"{_QUEUED} INDEXED BY jobs_expiring WHERE state = 'queued' AND expires_at IS NOT NULL"
    " AND expires_at <= ? ORDER BY expires_at, ord LIMIT 1"
)
NEXT_UNKNOWN = (
    f"{_QUEUED} INDEXED BY jobs_unknown WHERE state = 'queued' AND unknown_until IS NOT NULL"
    " AND unknown_until <= ? ORDER BY unknown_until, ord LIMIT 1"
)
# From each name straight to the next one, however many rows have it. ?1: the names that are known, ?2: how
# many names to look at, so that enough of them are not. The index has none of the rows that were marked.
_UNMARKED = "jobs INDEXED BY jobs_unmarked"
_IS_UNMARKED = "state = 'queued' AND unknown_until IS NULL"
_NEXT_NAME = f"SELECT name FROM {_UNMARKED} WHERE {_IS_UNMARKED} AND name >"
UNMARKED = (
    f"WITH RECURSIVE names (each) AS (SELECT ({_NEXT_NAME} '' ORDER BY name LIMIT 1)"
    f" UNION ALL SELECT ({_NEXT_NAME} names.each ORDER BY name LIMIT 1)"
    " FROM names WHERE each IS NOT NULL LIMIT ?2)"
    f" SELECT ord, {JOB_COLUMNS} FROM names CROSS JOIN {_UNMARKED} ON {_IS_UNMARKED} AND name = each"
    " WHERE typeof(each) = 'text' AND each NOT IN (SELECT value FROM json_each(?1)) LIMIT ?3"
)
MARKED = (
    f"SELECT ord, {', '.join(f'jobs.{name}' for name in JOB_FIELDS)}"
    " FROM json_each(?1) AS known CROSS JOIN jobs INDEXED BY jobs_marked"
    " ON state = 'queued' AND unknown_until IS NOT NULL AND name = known.value LIMIT ?2"
)
NEXT_TIMES = tuple(
    f"SELECT MIN({column}) FROM jobs INDEXED BY {index} WHERE state = 'queued' AND {condition}"
    for column, index, condition in (
        ("run_at", "jobs_queued", "run_at > ?"),
        ("expires_at", "jobs_expiring", "expires_at IS NOT NULL AND ? IS NOT NULL"),
        ("unknown_until", "jobs_unknown", "unknown_until IS NOT NULL AND ? IS NOT NULL"),
    )
)
# See ``waiting.after_jump``: the same, for all rows at once. ?1: by how much, ?2: to when.
_STAYS = "(run_at IS at AND at > ?2 - ?1)"
CLOCK_JUMPED = (
    f"UPDATE jobs SET run_at = run_at + CASE WHEN {_STAYS} OR NOT run_at > 0 THEN 0 ELSE ?1 END,"
    f" expires_at = expires_at + CASE WHEN {_STAYS} THEN MAX(0, ?2 - at) ELSE ?1 END,"
    f" unknown_until = unknown_until + CASE WHEN {_STAYS} THEN MAX(0, ?2 - at) ELSE ?1 END"
    " WHERE state = 'queued' AND (typeof(run_at) = 'real' OR typeof(run_at) = 'integer')"
)

# See ``questions.misdated``.
MISDATED = (
    f"{_QUEUED} INDEXED BY jobs_queued WHERE state = 'queued' AND typeof(asking) = 'text'"
    " AND typeof(run_at) = 'real' AND CASE WHEN json_valid(asking)"
    " THEN json_type(asking, '$.expires_at') IN ('real', 'integer')"
    " AND abs(json_extract(asking, '$.expires_at') - run_at) > 0.001 ELSE 0 END LIMIT ?"
)

NEXT_ORPHAN = (
    f"SELECT ord, {JOB_COLUMNS} FROM jobs INDEXED BY jobs_running WHERE state = 'running'"
    " AND boot IS NOT ? AND ord > ? ORDER BY ord LIMIT 1"
)

RUNNING = (
    f"SELECT ord, {JOB_COLUMNS} FROM jobs INDEXED BY jobs_running WHERE state = 'running' AND boot = ?"
    " ORDER BY ord"
)

# What the places in the queue are told from.
WAITING_USERS = (
    "SELECT user FROM users INDEXED BY users_waiting WHERE queued > 0 AND typeof(queued) = 'integer'"
    " ORDER BY served, since LIMIT ?"
)
# ?1: the user, ?2: now. Whether the thread is held is asked first: a look into an index, while to find the
# first of a thread is to pass over all of it that is put off. (That one starts next, and then holds it.)
_IS_DUE = "state = 'queued' AND run_at <= ?2 AND unknown_until IS NULL"
_FIRST_OF_THREAD = (
    "SELECT ord FROM jobs AS other INDEXED BY jobs_active WHERE other.user = ?1 AND other.thread = due.thread"
    f" AND {ACTIVE} AND attempt = 0 AND {_IS_DUE} ORDER BY ord LIMIT 1"
)
STARTS_OF = (
    f"SELECT id FROM jobs AS due INDEXED BY jobs_waiting WHERE user = ?1 AND {_IS_DUE}"
    f" AND CASE WHEN thread IS NULL THEN 1 WHEN {_THREAD_IS_HELD} THEN 0"
    f" ELSE attempt > 0 OR ord = ({_FIRST_OF_THREAD}) END ORDER BY ord LIMIT ?3"
)
