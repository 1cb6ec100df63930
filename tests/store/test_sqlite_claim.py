"""What a claim costs: counted in steps of SQLite, not in seconds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.store.support import InlineThread, World, database, harm

pytestmark = pytest.mark.clause("E2")

WAITING, FEW = 5_000, 500
STEPS_PER_ROW_MAX = 40
"""Steps of SQLite's machine for a row that is passed over: a few looks into indexes."""


class Steps:
    """Counts the steps of one connection's statements, in hundreds."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.hundreds = 0
        connection.set_progress_handler(self._count, 100)

    def _count(self) -> int:
        self.hundreds += 1
        return 0

    def taken(self) -> int:
        """The steps since the last time."""
        steps, self.hundreds = self.hundreds * 100, 0
        return steps


def multiply(path: Path, job_id: str, times: int) -> None:
    """Put ``times`` copies of a job behind it, each with an id of its own."""
    with closing(database(path)) as connection:
        names = [name for _, name, *_ in connection.execute("PRAGMA table_info(jobs)") if name != "ord"]
    copied = ", ".join("jobs.id || '-' || value" if name == "id" else name for name in names)
    harm(
        path,
        f"INSERT INTO jobs ({', '.join(names)}) WITH RECURSIVE numbers (value) AS"
        f" (VALUES (1) UNION ALL SELECT value + 1 FROM numbers LIMIT {times})"
        f" SELECT {copied} FROM jobs, numbers WHERE id = '{job_id}'",
    )


@pytest.mark.parametrize("user", ["ada", "bob"])
async def test_a_claim_passes_once_over_what_waits_for_a_busy_thread_however_much_it_claims(
    tmp_path: Path, nursery: trio.Nursery, user: str
) -> None:
    world = World("sqlite", tmp_path, nursery, open_thread=InlineThread)
    await world.open()
    await world.start("busy", thread="t")
    await world.admit("w0", thread="t")
    multiply(world.path, "w0", WAITING)
    steps = Steps(world.store._engine._db)  # type: ignore[attr-defined]
    claims = await world.store.claim(1)
    assert claims.started == ()
    assert steps.taken() < STEPS_PER_ROW_MAX * WAITING
    for place in range(50):
        await world.admit(f"free{place}", user=user, thread=f"t{place}", max_queued_per_user=2 * WAITING)
    steps.taken()
    claims = await world.store.claim(60)
    assert [job.id for job in claims.started] == [f"free{place}" for place in range(50)]
    assert steps.taken() < STEPS_PER_ROW_MAX * WAITING + 50 * 2_000


async def test_places_are_told_by_one_pass_over_what_waits_for_a_busy_thread_however_much_is_put_off(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    world = World("sqlite", tmp_path, nursery, open_thread=InlineThread)
    await world.open()
    await world.start("busy", thread="t")
    for id, delay_s in (("later", 3600.0), ("due", 0.0)):
        await world.admit(id, thread="t", delay_s=delay_s, max_queued_per_user=2 * FEW)
        multiply(world.path, id, FEW)
    await world.admit("free", thread="u", max_queued_per_user=3 * FEW)
    steps = Steps(world.store._engine._db)  # type: ignore[attr-defined]
    assert await world.store.queue_places({"ada"}) == {"ada": (("free", 1),)}
    assert steps.taken() < STEPS_PER_ROW_MAX * 2 * FEW
