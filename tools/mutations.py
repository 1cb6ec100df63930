"""Breaks our own code on purpose, one promise at a time, and checks that the test named for it fails.

    .venv/bin/python -m tools.mutations               each of mutations/*.toml
    .venv/bin/python -m tools.mutations leak lose     only those whose names begin so

A mutation is a text to find and what to put in its place, not a diff: it still applies when the lines
around it move, and one that is found no longer, or twice, is an error and not a silent pass. It is made in
a temporary copy of the tree. It is caught if each test named in it is run and fails: a test that cannot be
collected, that errors in its set-up or that does not end has caught nothing (unless ``hangs = true`` says
that not ending is what the mutation does to it). Exit code 0 if all were caught.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "mutations"
TIMEOUT_S = 120.0
"""For the tests of one mutation. Most take less than a second; the torture kills a server ten times."""
HANGS_AFTER_S = 15.0
"""For those that are to hang."""


_WEIGHT = ("passed", "skipped", "error", "failed")


class DoesNotApply(Exception):
    """The code has changed: the mutation says nothing any more."""


@attrs.frozen
class Mutation:
    """One way to break the code."""

    name: str
    why: str
    """What is broken, in a sentence."""
    file: str
    find: str
    replace: str
    tests: Sequence[str]
    hangs: bool = False

    @classmethod
    def read(cls, path: Path) -> Mutation:
        """From a file of ``mutations/``. Raises: ``TypeError`` for a field that there is not, or too few."""
        return cls(name=path.stem, **tomllib.loads(path.read_text(encoding="utf-8")))

    def applied(self, text: str) -> str:
        """``text`` with the mutation. Raises: ``DoesNotApply``."""
        if (found := text.count(self.find)) != 1:
            raise DoesNotApply(f"what it replaces stands {found} times in {self.file}, and not once")
        return text.replace(self.find, self.replace)


def copy_tree(target: Path) -> None:
    """Every file that is tracked or could be; the links of the rooms stay links."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        source, copy = ROOT / name, target / name
        if source.is_symlink() or source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)


def outcomes(tree: Path, tests: Sequence[str], timeout_s: float) -> dict[str, str]:
    """Each test by name → ``passed``, ``failed``, ``error`` or ``skipped``. Raises: ``TimeoutExpired``."""
    report = tree / "outcomes.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        command,
        cwd=tree,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=timeout_s,
        check=False,
    )
    if not report.exists():
        return {}
    found: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):  # what pytest has just written
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        outcome = {"failure": "failed"}.get(kinds[0], kinds[0]) if kinds else "passed"
        name = case.get("name", "").partition("[")[0]
        found[name] = max(
            found.get(name, "passed"), outcome, key=_WEIGHT.index
        )  # of all that is told of it the worst
    return found


def short(test: str) -> str:
    """The name of a test without its file."""
    return test.rpartition("::")[2]


def try_out(mutation: Mutation, tree: Path) -> str | None:
    """Make the mutation in ``tree``, run its tests, take it back. Returns: why it was not caught, if so."""
    path = tree / mutation.file
    original = path.read_text(encoding="utf-8")
    path.write_text(mutation.applied(original), encoding="utf-8")
    try:
        seen = outcomes(tree, mutation.tests, HANGS_AFTER_S if mutation.hangs else TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None if mutation.hangs else f"no end within {TIMEOUT_S:g} s"
    finally:
        path.write_text(original, encoding="utf-8")
    if mutation.hangs:
        return "it was to hang, and ended"
    wrong = [f"{short(t)}: {seen.get(short(t), 'not run')}" for t in mutation.tests]
    wrong = [line for line in wrong if not line.endswith(": failed")]
    return "; ".join(wrong) or None


def check(mutations: Sequence[Mutation], tree: Path) -> list[str]:
    """Try each; a line for each. Returns: the names of those that were not caught."""
    bad: list[str] = []
    for mutation in mutations:
        print(f"{mutation.name:<48}", end="", flush=True)
        began = time.monotonic()
        try:
            wrong = try_out(mutation, tree)
        except DoesNotApply as error:
            wrong = str(error)
        print(
            f"{'caught' if wrong is None else 'NOT CAUGHT':<12}{time.monotonic() - began:5.1f} s", flush=True
        )
        if wrong is not None:
            print(f"    {mutation.why}\n    {wrong}", flush=True)
            bad.append(mutation.name)
    return bad


def main() -> int:
    """Try the mutations asked for; 0 if all were caught, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutations", description="Check the tests.")
    parser.add_argument("name", nargs="*", help="only those whose names begin so")
    options = parser.parse_args()
    mutations = [Mutation.read(path) for path in sorted(FOLDER.glob("*.toml"))]
    if options.name:
        mutations = [each for each in mutations if each.name.startswith(tuple(options.name))]
    if not mutations:
        parser.error("no mutation begins so")
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        tests = sorted({test for each in mutations for test in each.tests})
        seen = outcomes(tree, tests, TIMEOUT_S)
        if unfit := [test for test in tests if seen.get(short(test)) != "passed"]:
            print("these do not pass as it is, so their failing would tell nothing:", *unfit, sep="\n    ")
            return 1
        bad = check(mutations, tree)
    print(f"not caught: {', '.join(bad)}" if bad else f"all {len(mutations)} caught")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
