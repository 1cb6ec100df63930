"""How SQLite finds whose job starts next, and what has waited too long: along indexes."""

from __future__ import annotations

import pytest

from tests.store.support import World, look, options
from trouper.store.sqlite_queue import (
    MARKED,
    NEXT_DUE,
    NEXT_EXPIRED,
    NEXT_ORPHAN,
    NEXT_UNKNOWN,
    STARTS_OF,
    UNMARKED,
    WAITING_USERS,
)

pytestmark = pytest.mark.clause("J4")


async def test_the_counts_of_a_user_follow_the_rows_whoever_changes_them(sqlite: World) -> None:
    await sqlite.start("a1", options=options(attempts=2))
    await sqlite.admit("a2")
    await sqlite.admit("a3")
    await sqlite.store.cancel("a3", None)
    counts = "SELECT queued, running FROM users WHERE user = '{}'"
    assert look(sqlite.path, counts.format("ada")) == [(1, 1)]
    look(sqlite.path, "UPDATE jobs SET user = 'eve' WHERE id = 'a2'")
    assert look(sqlite.path, counts.format("ada")) == [(0, 1)]
    assert look(sqlite.path, counts.format("eve")) == [(1, 0)]
    look(sqlite.path, "DELETE FROM jobs WHERE id = 'a1'")
    assert look(sqlite.path, counts.format("ada")) == [(0, 0)]


async def test_the_next_job_is_found_along_indexes_alone(sqlite: World) -> None:
    query = NEXT_DUE
    for place, value in ((1, "0"), (2, "1"), (3, "0"), (4, "0"), (5, "'{}'"), (6, "'[]'")):
        query = query.replace(f"?{place}", value)
    plan = [row[3] for row in look(sqlite.path, f"EXPLAIN QUERY PLAN {query}")]
    assert [step for step in plan if "SUBQUERY" not in step] == [
        "SEARCH users USING INDEX users_waiting ((served,since)>(?,?))",
        "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH due USING INDEX jobs_waiting (user=? AND ord>?)",
        "SCAN json_each VIRTUAL TABLE INDEX 1:",
        "SCAN json_each VIRTUAL TABLE INDEX 1:",
        "SEARCH other USING COVERING INDEX jobs_active (user=? AND thread=? AND state=?)",
        "SEARCH other USING COVERING INDEX jobs_active (user=? AND thread=? AND state=? AND attempt>?)",
    ], "no scan of what may be long, and no sorting"
    plan = [row[3] for row in look(sqlite.path, f"EXPLAIN QUERY PLAN {NEXT_ORPHAN.replace('?', '0')}")]
    assert plan == ["SEARCH jobs USING INDEX jobs_running (ord>?)"]


async def test_places_are_read_along_indexes_alone(sqlite: World) -> None:
    of_thread = "SEARCH other USING COVERING INDEX jobs_active (user=? AND thread=? AND state=?"
    for query, steps in (
        (WAITING_USERS, ["SCAN users USING INDEX users_waiting"]),
        (
            STARTS_OF,
            [
                "SEARCH due USING INDEX jobs_waiting (user=?)",
                f"{of_thread})",
                f"{of_thread} AND attempt>?)",
                "SEARCH other USING INDEX jobs_active (user=? AND thread=? AND state=? AND attempt=?)",
            ],
        ),
    ):
        plan = [row[3] for row in look(sqlite.path, f"EXPLAIN QUERY PLAN {query.replace('?', '0')}")]
        assert [step for step in plan if "SUBQUERY" not in step] == steps, "no scan of jobs, and no sorting"


@pytest.mark.clause("J5")
async def test_what_has_waited_too_long_is_found_along_an_index(sqlite: World) -> None:
    for query, index in ((NEXT_EXPIRED, "jobs_expiring"), (NEXT_UNKNOWN, "jobs_unknown")):
        plan = look(sqlite.path, f"EXPLAIN QUERY PLAN {query.replace('?', '0')}")
        assert len(plan) == 1, "no sorting"
        assert plan[0][3].startswith(f"SEARCH jobs USING INDEX {index}")


@pytest.mark.clause("J6")
async def test_rows_that_are_marked_wrongly_are_found_by_a_look_for_each_name(sqlite: World) -> None:
    for query, steps in (
        (UNMARKED, ["INDEX jobs_unmarked (name>?)"] * 2 + ["INDEX jobs_unmarked (name=?)"]),
        (MARKED, ["INDEX jobs_marked (name=?)"]),
    ):
        for place, value in ((1, "'[]'"), (2, "9"), (3, "9")):
            query = query.replace(f"?{place}", value)
        plan = [row[3] for row in look(sqlite.path, f"EXPLAIN QUERY PLAN {query}")]
        looks = [step.replace("COVERING ", "") for step in plan if " jobs " in step]
        assert looks == [f"SEARCH jobs USING {step}" for step in steps]
        assert not any("TEMP B-TREE" in step for step in plan), plan
