"""What every test run does: it keeps docs/promises.md and the tests together.

* A test marked ``clause("O2")`` names a promise of that page; one that is not there is an error.
* A full run (no paths, no ``-k``, no other ``-m``) fails if a promise has no test.
* ``pytest --clauses`` prints each promise with its tests and runs none.
* A run that loaded a bare room (``import store``) fails: it would have two copies of every module.
* After each test the sums of every mailbox that it made are asserted: no message of any test may be lost.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

PROMISES = Path(__file__).resolve().parents[1] / "docs" / "promises.md"
ROOMS = ("store", "actors", "supervisor", "transport", "simulation")
DEFAULT_SELECTION = "not network and not torture"

# The same examples at every run and on every machine: a failure seen once can be seen again.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def every_message_is_accounted_for() -> Iterator[None]:
    """What S4 promises, of all mailboxes of every test, whatever the test is about."""
    from trouper.actors.ledger import assert_balanced, every_mailbox

    with every_mailbox() as ledger:
        yield
    assert_balanced(ledger)


CLAUSES = pytest.StashKey[Mapping[str, list[str]]]()
"""Each promise with the names of the tests that hold it, over all that was collected."""
COMPLAINTS = pytest.StashKey[list[str]]()
"""What is wrong with the run as a whole, found at its end."""


def read_promises(text: str) -> dict[str, str]:
    """The rows ``| O2 | what is promised |`` of the page, by clause. A clause has one row."""
    promises: dict[str, str] = {}
    for clause, sentence in re.findall(r"^\| *([A-Z]\d+) *\| *(.*?) *\|$", text, flags=re.MULTILINE):
        if clause in promises or not sentence:
            raise pytest.UsageError(f"docs/promises.md: {clause} needs one row with one promise")
        promises[clause] = sentence
    return promises


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--clauses", action="store_true", help="print each promise with its tests, run none")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # First of all, so that tests that are deselected (network) count as well.
    held: dict[str, list[str]] = {clause: [] for clause in read_promises(PROMISES.read_text("utf-8"))}
    for item in items:
        for clause in clauses_of(item):
            if clause not in held:
                raise pytest.UsageError(
                    f"{item.nodeid} names clause {clause!r}, which docs/promises.md has not"
                )
            held[clause].append(item.nodeid)
    config.stash[CLAUSES] = held


def clauses_of(item: pytest.Item) -> Iterator[str]:
    """The clauses that a test's marks name, or, in the published contract of stores, its attribute; each
    is a string."""
    yield from getattr(getattr(item, "obj", None), "clauses", ())
    for mark in item.iter_markers("clause"):
        if not mark.args or mark.kwargs or not all(isinstance(arg, str) for arg in mark.args):
            raise pytest.UsageError(f'{item.nodeid}: legal is clause("O2") or clause("O2", "N1")')
        yield from mark.args


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if not session.config.option.clauses:
        return None
    for clause, tests in session.config.stash[CLAUSES].items():
        print(
            f"\n{clause}", *sorted({test.partition("[")[0] for test in tests}) or ["(no test)"], sep="\n    "
        )
    return True


def is_full_run(config: pytest.Config) -> bool:
    """Was everything asked for that is run by default? Then every promise must have a test."""
    option = config.option
    narrowed = (
        option.keyword,
        option.deselect,
        option.ignore,
        option.ignore_glob,
        option.clauses,
        getattr(option, "lf", False),
    )
    return (
        config.args_source is pytest.Config.ArgsSource.TESTPATHS
        and option.markexpr == DEFAULT_SELECTION
        and not any(narrowed)
    )


def complaints(session: pytest.Session) -> list[str]:
    """What is wrong with the run as a whole."""
    wrong = [
        f"sys.modules holds {room!r}: import trouper.{room}, or there are two copies of its modules"
        for room in ROOMS
        if room in sys.modules
    ]
    held = session.config.stash.get(CLAUSES, {})
    if is_full_run(session.config):
        wrong += [
            f"docs/promises.md promises {clause}, but no test has clause({clause!r})"
            for clause, tests in held.items()
            if not tests
        ]
    return wrong


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[COMPLAINTS] = wrong = complaints(session)
    if wrong and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if wrong := config.stash.get(COMPLAINTS, []):
        terminalreporter.section("the run as a whole", red=True)
        for line in wrong:
            terminalreporter.write_line(f"FAILED {line}", red=True)
