"""SIGKILL again and again, on one database, while clients submit, cancel, read, mark and come back."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.torture.torment import plan, torment

CLAUSES = pytest.mark.clause("J1", "J2", "J3", "J6", "J7", "J8", "N1", "N2", "N3", "N5", "O2", "O3", "O6")


@CLAUSES
@pytest.mark.slow
async def test_what_clients_were_told_holds_after_every_kill(tmp_path: Path) -> None:
    kills = {"output.appended": 2, "output.committed": 2, "finish.begun": 1, "finish.committed": 1}
    kills |= {"admit.begun": 1, "admit.committed": 1, "charge.begun": 1, "hook.begun": 1, "cancel.told": 1}
    points = plan("short", kills)
    with trio.fail_after(100):
        outcome = await torment(tmp_path, points, "short")
    print(outcome)
    assert outcome.deaths.total == len(points)
    assert outcome.deaths.before_telling >= 3
    assert outcome.deaths.inside >= 1


LONG = {
    "output.appended": 28,
    "output.committed": 22,
    "finish.begun": 12,
    "finish.committed": 10,
    "admit.begun": 10,
    "admit.committed": 6,
    "claim.begun": 5,
    "claim.committed": 6,
    "cancel.begun": 3,
    "cancel.committed": 4,
    "cancel.told": 4,
    "charge.begun": 4,
    "hook.begun": 4,
    "hook.noted": 4,
    "outside": 8,
}


WAYS = {
    *("tale completed", "tale cancelled", "charge completed", "charge lost", "once completed", "once lost"),
    *("fails failed", "sleeper cancelled", "stubborn cancelled", "stubborn cancelled (stuck)"),
    *("revoke completed", "steered completed", "asks completed"),
}


@CLAUSES
@pytest.mark.torture
async def test_what_clients_were_told_holds_after_a_hundred_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = plan("long", LONG)
    with trio.fail_after(3600):
        outcome = await torment(tmp_path, points, "long")
    with capsys.disabled():
        print(f"\n{outcome}")
    assert outcome.deaths.total == len(points) >= 100
    assert outcome.deaths.running >= 60
    assert outcome.deaths.before_telling >= 20
    assert outcome.deaths.inside >= 10
    assert set(outcome.jobs) >= WAYS, "each way to end was taken"
