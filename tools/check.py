"""The one command that checks everything: format, lint, types, import floors, tests.

    .venv/bin/python -m tools.check            all of it
    .venv/bin/python -m tools.check --fast     without the tests (the import floors are still read)
    .venv/bin/python -m tools.check ruff mypy  only the steps whose names begin so

Every step runs, also after one that failed, and shows its result and its time; a step that failed
shows what it printed. The exit code is 0 only if all passed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable

FLOORS = "tests/meta/test_floors.py"

# Off here: ASYNC109, as in ruff (a time-out that travels with a message is not a cancel scope around
# the call); ASYNC114 and ASYNC124, since a method of a protocol may start nothing and await nothing;
# ASYNC127, since which HTTP client the example uses is not a question of style; the opt-in ASYNC900 to
# 913, since a write that is no checkpoint, and an async iterator, are part of the interface.
OFF = "ASYNC109,ASYNC114,ASYNC124,ASYNC127,ASYNC900,ASYNC910,ASYNC911,ASYNC912,ASYNC913"
FLAKE8_ASYNC = (str(Path(PYTHON).with_name("flake8-async")), f"--disable={OFF}")


def python_files() -> list[str]:
    """Every Python file that is tracked or could be, each once: the links under trouper/ are links to git."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


def steps() -> dict[str, Sequence[str]]:
    """The steps in order: the quick ones first."""
    return {
        "ruff format": (PYTHON, "-m", "ruff", "format", "--check", "."),
        "ruff check": (PYTHON, "-m", "ruff", "check", "."),
        "flake8-async": (*FLAKE8_ASYNC, *python_files()),
        "floors": (PYTHON, "-m", "pytest", "-q", FLOORS),
        "mypy": (PYTHON, "-m", "mypy"),
        "pyright": (PYTHON, "-m", "pyright", "--pythonpath", PYTHON),
        "tests": (PYTHON, "-m", "pytest", "-q"),
    }


def run(name: str, command: Sequence[str]) -> bool:
    """Run one step, show its result and its time, and what it printed if it failed."""
    print(f"{name:<14}", end="", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    passed = done.returncode == 0
    print(f"{'ok' if passed else 'FAILED':<8}{time.monotonic() - began:7.1f} s", flush=True)
    if not passed:
        print(done.stdout, flush=True)
    return passed


def main() -> int:
    """Run the steps asked for; 0 if all passed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.check", description="Check everything.")
    parser.add_argument("--fast", action="store_true", help="leave out the tests")
    parser.add_argument("step", nargs="*", help="only the steps whose names begin so")
    options = parser.parse_args()

    chosen = steps()
    if options.fast:
        # The whole test run reads the floors too; they are a step of their own for this case.
        del chosen["tests"]
    elif not options.step:
        del chosen["floors"]
    if options.step:
        unknown = [want for want in options.step if not any(name.startswith(want) for name in chosen)]
        if unknown:
            parser.error(f"no step begins with {', '.join(unknown)}; there are: {', '.join(chosen)}")
        chosen = {name: cmd for name, cmd in chosen.items() if name.startswith(tuple(options.step))}

    failed = [name for name, command in chosen.items() if not run(name, command)]
    if failed:
        print(f"failed: {', '.join(failed)}")
        return 1
    print("all passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
