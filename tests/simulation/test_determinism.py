"""The same seed is the same run in every process; nothing but the seed decides."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.meta.source import ROOT

HASHES = """
import sys
from tests.simulation import scenarios
from trouper.simulation import Crash, simulate

for name in ("three_children_one_for_all", "keyed_actors_come_and_go", "a_job_is_run"):
    for schedule in ("uniform", "priority", "starve"):
        for seed in (1, 2):
            report = simulate(getattr(scenarios, name), seed=seed, schedule=schedule)
            print(name, schedule, seed, report.trace_hash)
"""
IMPORTS = """
import sys
import trouper.simulation
assert "trio" not in sys.modules
for name in trouper.simulation.__all__:
    getattr(trouper.simulation, name)
loaded = {"hypothesis", "sqlite3", "trio_websocket", "trouper.actors", "trouper.supervisor"}
print(sorted(loaded & set(sys.modules)))
"""


def run(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_two_processes_with_other_hashes_of_strings_take_the_same_steps() -> None:
    one, other = (run(HASHES, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert one == other
    hashes = [line.split()[-1] for line in one.splitlines()]
    assert len(hashes) == 18
    assert all(first != second for first, second in zip(hashes[::2], hashes[1::2], strict=True)), "two seeds"


@pytest.mark.slow
def test_importing_the_simulation_imports_neither_trio_nor_what_tests_use() -> None:
    assert run(IMPORTS) == "[]\n"
