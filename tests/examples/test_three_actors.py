"""The example that supervises three actors, and that it needs nothing else of trouper."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from examples.three_actors import add_up
from tests.meta.source import ROOT
from tests.meta.test_floors import GENERAL, GENERAL_OF_STORE


async def test_three_actors_add_up_what_can_be_added_up(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING, logger="trouper"):
        assert await add_up(["1", " 2 ", "three", "4"]) == 7
    told = [record.getMessage().splitlines()[0] for record in caplog.records]
    assert told == [
        "crash: top/parser #1: ValueError: invalid literal for int() with base 10: 'three'",
        "restart: top/parser #2: started again",
    ]
    shown = [line.partition(" (")[0] for line in capsys.readouterr().out.splitlines()]
    assert shown == [
        "top: supervisor, running",
        "├── ledger #1: actor, running",
        "├── parser #1: actor, running",
        "└── trimmer #1: actor, running",
    ]


def modules_after(imports: str) -> set[str]:
    """What a fresh interpreter has loaded after these imports."""
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}\nimport sys\nprint(*sys.modules, sep='\\n')"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.splitlines())


def test_the_example_is_run_as_a_program_with_nothing_of_jobs_sqlite_or_websockets() -> None:
    loaded = modules_after("import examples.three_actors")
    ours = {module for module in loaded if module.startswith("trouper.") and module.count(".") == 2}
    assert not ours - GENERAL - GENERAL_OF_STORE
    assert not loaded & {"sqlite3", "trio_websocket", "wsproto", "h11", "orjson", "cattrs", "httpx"}


def test_the_general_libraries_load_nothing_of_jobs_sqlite_or_websockets() -> None:
    present = sorted(module for module in GENERAL if (ROOT / f"{module.replace('.', '/')}.py").is_file())
    loaded = modules_after("\n".join(f"import {module}" for module in present))
    ours = {module for module in loaded if module.startswith("trouper.") and module.count(".") == 2}
    assert ours - GENERAL_OF_STORE == set(present)
    assert not loaded & {"sqlite3", "trio_websocket", "wsproto", "h11", "orjson", "cattrs", "httpx"}
