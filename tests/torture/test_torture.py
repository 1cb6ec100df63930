"""SIGKILL again and again, on one database, while clients submit, cancel, read, mark and come back."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.torture.torment import plan, torment

CLAUSES = pytest.mark.clause("J1", "J2", "J3", "J6", "N1", "N5", "O2", "O3", "O6")


@CLAUSES
@pytest.mark.slow
async def test_what_clients_were_told_holds_after_every_kill(tmp_path: Path) -> None:
    kills = {"output.appended": 2, "output.committed": 2, "finish.begun": 1, "finish.committed": 1}
    kills |= {"admit.begun": 1, "admit.committed": 1}
    with trio.fail_after(150):
        outcome = await torment(tmp_path, plan("short", kills), "short")
    print(outcome)
    assert outcome.deaths.total == 10
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
    "outside": 8,
}


@CLAUSES
@pytest.mark.torture
async def test_what_clients_were_told_holds_after_a_hundred_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with trio.fail_after(3600):
        outcome = await torment(tmp_path, plan("long", LONG), "long")
    with capsys.disabled():
        print(f"\n{outcome}")
    assert outcome.deaths.total >= 100
    assert outcome.deaths.running >= 60
    assert outcome.deaths.before_telling >= 20
    assert outcome.deaths.inside >= 10
