"""The run keeps docs/promises.md and the tests together; tried on a small project of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import read_promises
from tests.meta.source import ROOT

CONFIG = """
[pytest]
testpaths = tests
addopts = -m "not network and not torture" -p no:cacheprovider
markers =
    clause(*numbers): a promise
    network: elsewhere
    torture: for long
"""
PAGE = """
| clause | what is kept |
|---|---|
| J1 | A job ends once. |
| O2 | Durable before visible. |
"""
HOLDS_BOTH = """
import pytest

@pytest.mark.clause("J1")
def test_a(): pass

@pytest.mark.network
@pytest.mark.clause("O2", "J1")
def test_b(): pass
"""
HOLDS_ONE = """
import pytest

@pytest.mark.clause("J1")
def test_a(): pass
"""
NAMES_ANOTHER = """
import pytest

@pytest.mark.clause("X9")
def test_a(): pass
"""
LOADS_A_BARE_ROOM = """
import sys, types

def test_a():
    sys.modules["store"] = types.ModuleType("store")
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A function that runs the tests in ``source`` under the real conftest, in a process of its own."""
    tests = tmp_path / "tests"
    tests.mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "pytest.ini").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "docs" / "promises.md").write_text(PAGE, encoding="utf-8")
    (tests / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())

    def run(source: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tests / "test_it.py").write_text(source, encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-m", "pytest", *options],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.slow
def test_a_full_run_passes_when_every_promise_has_a_test(run: Run) -> None:
    done = run(HOLDS_BOTH)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_full_run_fails_for_a_promise_without_a_test(run: Run) -> None:
    done = run(HOLDS_ONE)
    assert done.returncode == 1
    assert "promises O2, but no test has clause('O2')" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("narrowed", [("tests",), ("-k", "test_a"), ("-m", "network or not network")])
def test_a_narrowed_run_does_not_ask_for_every_promise(run: Run, narrowed: tuple[str, ...]) -> None:
    assert run(HOLDS_ONE, *narrowed).returncode == 0


@pytest.mark.slow
def test_a_test_of_no_promise_is_an_error_that_names_both(run: Run) -> None:
    done = run(NAMES_ANOTHER, "tests")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "test_it.py::test_a names clause 'X9'" in done.stderr


@pytest.mark.slow
def test_the_promises_are_listed_with_their_tests(run: Run) -> None:
    done = run(HOLDS_ONE, "--clauses")
    assert done.returncode == 0
    assert "J1\n    tests/test_it.py::test_a\n\nO2\n    (no test)\n" in done.stdout


@pytest.mark.slow
def test_a_run_that_loaded_a_bare_room_fails(run: Run) -> None:
    done = run(LOADS_A_BARE_ROOM, "tests")
    assert done.returncode == 1
    assert "sys.modules holds 'store'" in done.stdout


@pytest.mark.parametrize("rows", ["| J1 | one |\n| J1 | two |", "| J1 | |"])
def test_a_clause_has_one_row_with_one_promise(rows: str) -> None:
    with pytest.raises(pytest.UsageError, match="J1 needs one row"):
        read_promises(rows)
