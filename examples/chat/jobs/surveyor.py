"""The server's end of the survey: asks programs about the installed packages, and measures imports.

``Surveyor`` is what the jobs need; ``ThisEnvironment`` the real one. Tests have one whose figures are known.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol, TypeVar

import attrs
import cattrs
import trio

from examples.chat.jobs.audits import Audit
from examples.chat.jobs.programs import ProgramFailed, answer_of

T = TypeVar("T")

SURVEY_TIMEOUT_S = 120.0
IMPORT_TIMEOUT_S = 20.0
MIN_RUNS, MAX_RUNS = 3, 200

_SURVEY = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));"
    "from examples.chat.jobs.survey import main; sys.exit(main(sys.argv[1:]))"
)
_IMPORT = """
import os, sys
from time import perf_counter
out, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
os.dup2(null, 1)
begun = perf_counter()
try:
    __import__(sys.argv[1])
except BaseException as error:
    answer = "\\nfailed " + type(error).__name__ + ": " + " ".join(str(error).split())[:300] + "\\n"
else:
    answer = "\\ntook %.9f\\n" % (perf_counter() - begun)
os.write(out, answer.encode("utf-8", "replace"))
os._exit(0)
"""
"""What is imported may print, start threads, or want to clean up at exit; none of that gets in the way."""


class Broken(Exception):
    """Something cannot be told of a package; says why. A line of the report, not the end of it."""


@attrs.frozen
class ImportTime:
    """How long a module takes to import in a fresh process."""

    module: str
    runs: int
    median_s: float
    own_share: float | None
    """Which part of it, from 0 to 1, goes to modules of its own; the rest is for what those import."""


class Surveyor(Protocol):
    """Who knows about the installed packages. Every method may raise ``Broken`` and can be cancelled."""

    async def installed(self) -> list[tuple[str, str]]:
        """(name, version) of each distribution, sorted by name."""
        ...

    async def audit(self, name: str) -> Audit: ...
    async def import_time(self, module: str, budget_s: float) -> ImportTime:
        """Import ``module`` in fresh processes for about ``budget_s`` seconds."""
        ...

    async def index(self, database: Path, name: str) -> int:
        """Put a distribution into an index; returns its number of places."""
        ...


class ThisEnvironment:
    """The environment that this Python runs in."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or Path(__file__).resolve().parents[3]  # the folder that ``examples`` is in

    async def installed(self) -> list[tuple[str, str]]:
        return [(str(name), str(version)) for name, version in await self._ask("list")]

    async def audit(self, name: str) -> Audit:
        return cattrs.structure(await self._ask("audit", name), Audit)

    async def index(self, database: Path, name: str) -> int:
        return int((await self._ask("index", str(database), name))["places"])

    async def _ask(self, *arguments: str) -> Any:
        command = [sys.executable, "-P", "-c", _SURVEY, str(self._root), *arguments]
        try:
            answer = json.loads(await answer_of(command, timeout_s=SURVEY_TIMEOUT_S, folder=self._root))
        except (ProgramFailed, ValueError) as error:
            raise Broken(f"its survey {error}") from error
        if isinstance(answer, dict) and "error" in answer:
            raise Broken(str(answer["error"]))
        return answer

    async def import_time(self, module: str, budget_s: float) -> ImportTime:
        """As in ``Surveyor``: at least ``MIN_RUNS``, at most ``MAX_RUNS`` processes, in an empty folder.

        The first, which also tells where the time goes, is not counted: it may find the files not yet
        read from the disk.
        """
        begun = trio.current_time()
        with tempfile.TemporaryDirectory(prefix="trouper-report-", ignore_cleanup_errors=True) as folder:
            _, own_share = await self._import(module, Path(folder), detailed=True)
            figures: list[float] = []
            while len(figures) < MIN_RUNS or (
                trio.current_time() - begun < budget_s and len(figures) < MAX_RUNS
            ):
                figures.append((await self._import(module, Path(folder)))[0])
        return ImportTime(module, len(figures), statistics.median(figures), own_share)

    async def _import(
        self, module: str, folder: Path, *, detailed: bool = False
    ) -> tuple[float, float | None]:
        options = ["-X", "importtime"] if detailed else []
        command = [sys.executable, "-P", *options, "-c", _IMPORT, module]
        try:
            output = await answer_of(command, timeout_s=IMPORT_TIMEOUT_S, folder=folder, with_errors=detailed)
        except ProgramFailed as error:
            raise Broken(f"importing it {error}") from error
        text = output.decode("utf-8", "replace")
        if times := re.findall(r"^took (\d\S*)$", text, re.MULTILINE):  # ours is what was printed last
            return float(times[-1]), share_of(module, text) if detailed else None
        failure = re.search(r"^failed (.*)$", text, re.MULTILINE)
        raise Broken(failure[1] if failure else "importing it ended the process")


def share_of(module: str, report: str) -> float | None:
    """Which part of importing ``module`` Python's ``-X importtime`` report gives to ``module`` and what lies
    below it, from 0 to 1; None if the report does not tell."""
    lines = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \|\s+(\S+)\s*$", report, re.MULTILINE)
    own = sum(int(alone) for alone, _, name in lines if name == module or name.startswith(f"{module}."))
    whole = sum(int(together) for _, together, name in lines if name == module)
    return min(1.0, own / whole) if whole else None
