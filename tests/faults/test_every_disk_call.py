"""The disk fails at each place inside a commit and after each, on SQLite: one run for each."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.stage import Stage
from trouper.simulation import World, simulate

VIRTUAL_S_MAX = 400.0


@attrs.define
class Disk:
    """Full at the ``at``-th fault point of the store, once."""

    path: Path
    at: int = 0
    points: int = 0
    failed_at: str = ""

    def hooks_left(self) -> int:
        """How many hooks of ended jobs have a row."""
        with closing(sqlite3.connect(self.path)) as connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM completions").fetchone()
        return int(count)

    def fault(self, site: str) -> None:
        if site.startswith("ctx."):
            return
        self.points += 1
        if self.points == self.at:
            self.failed_at = site
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error


def play(scenario: Scenario, disk: Disk) -> None:
    async def whole(world: World) -> None:
        world.seams = attrs.evolve(world.seams, fault=disk.fault)
        stage = Stage(world, f"sqlite:///{disk.path}", disk.hooks_left, breaks_off=False)
        await scenario(stage)
        if not disk.failed_at.endswith(".committed"):  # a commit that failed is a value, not a crash (E1)
            assert stage.of_ours(stuck=True) == []

    report = simulate(whole, seed=scenario.__name__)
    assert report.left == ()
    assert report.virtual_s < VIRTUAL_S_MAX


@pytest.mark.slow
@pytest.mark.clause("E1", "J1", "J2", "J6", "J7", "J8", "N1", "O2", "S5")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_wherever_a_commit_fails_or_its_outcome_is_lost_every_job_ends_as_it_had_to(
    scenario: Scenario, tmp_path: Path
) -> None:
    clean = Disk(tmp_path / "clean.db")
    play(scenario, clean)
    assert clean.points > 5
    failures: list[str] = []
    for at in range(1, clean.points + 1):
        disk = Disk(tmp_path / f"{at}.db", at)
        try:
            play(scenario, disk)
            assert disk.failed_at
        except Exception as error:
            failures.append(f"{disk.failed_at}, point {at} of {clean.points}: {error}")
    assert not failures, "\n".join([f"{len(failures)} of {clean.points}", *failures[:3]])
