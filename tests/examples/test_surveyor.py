"""The programs that look at packages: what they answer, and every way in which they may not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from examples.chat.jobs import surveyor as surveyor_module
from examples.chat.jobs.programs import ProgramFailed, answer_of
from examples.chat.jobs.surveyor import Broken, ThisEnvironment, share_of


async def test_what_a_program_prints_is_its_answer(tmp_path: Path) -> None:
    code = "import os, sys; print(os.path.basename(os.getcwd())); print('no', file=sys.stderr)"
    answer = await answer_of([sys.executable, "-c", code], timeout_s=30, folder=tmp_path)
    assert answer.decode().strip() == tmp_path.name


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import time; time.sleep(60)", "took more than 0.5 s"),
        ("while True: print('x' * 1000)", "printed more than 4096 bytes"),
        ("raise SystemExit(3)", "ended with status 3"),
    ],
)
async def test_a_program_that_does_not_answer_is_ended(tmp_path: Path, code: str, reason: str) -> None:
    with pytest.raises(ProgramFailed, match=reason):
        await answer_of([sys.executable, "-c", code], timeout_s=0.5, folder=tmp_path, max_bytes=4096)


async def test_a_program_that_is_not_there_is_a_failure_too(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="could not be started"):
        await answer_of([str(tmp_path / "nothing")], timeout_s=30, folder=tmp_path)


async def test_the_survey_lists_and_audits_what_is_installed() -> None:
    environment = ThisEnvironment()
    assert "h11" in dict(await environment.installed())
    audit = await environment.audit("h11")
    assert audit.package.importable == ("h11",)
    assert audit.package.licence == "MIT"
    assert audit.public["class"] > 10
    with pytest.raises(Broken, match="PackageNotFoundError"):
        await environment.audit("no-such-package-anywhere")


@pytest.fixture
def few_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that measured imports find modules in; two runs of each, half a second to wait."""
    monkeypatch.setattr(surveyor_module, "MIN_RUNS", 2)
    monkeypatch.setattr(surveyor_module, "IMPORT_TIMEOUT_S", 2.0)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


async def test_an_import_is_measured_whatever_the_module_prints(few_runs: Path) -> None:
    (few_runs / "loud.py").write_text("import sys, json\nprint('took 7')\nsys.stderr.write('took 9\\n.')\n")
    time = await ThisEnvironment().import_time("loud", 0.0)
    assert time.runs == 2
    assert 0 < time.median_s < 2
    assert time.own_share is not None
    assert 0 < time.own_share < 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise ValueError('not\\ntoday')", "ValueError: not today"),
        ("raise SystemExit(4)", "SystemExit: 4"),
        ("import os; os._exit(5)", "importing it ended with status 5"),
        ("import os; os._exit(0)", "importing it ended the process"),
        ("import no_such_module_x", "ModuleNotFoundError: No module named 'no_such_module_x'"),
        ("while True: pass", "importing it took more than 2 s"),
    ],
)
async def test_a_module_that_cannot_be_imported_says_why(few_runs: Path, text: str, reason: str) -> None:
    (few_runs / "bad.py").write_text(text)
    with pytest.raises(Broken) as caught:
        await ThisEnvironment().import_time("bad", 0.0)
    assert str(caught.value) == reason


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes in folders")
async def test_a_cancelled_measurement_leaves_no_process(few_runs: Path) -> None:
    pipe = few_runs / "pid"
    os.mkfifo(pipe)
    (few_runs / "slow.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path(__file__).with_name('pid').write_text(str(os.getpid()))\ntime.sleep(60)\n"
    )
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ThisEnvironment().import_time, "slow", 0.0)
            pid = int(await trio.to_thread.run_sync(pipe.read_text))
            nursery.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_share_of_a_module_is_its_own_time_in_the_whole() -> None:
    report = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       300 |        300 |     json\n"
        "import time:       100 |        100 |   lib.part\n"
        "import time:       100 |        500 | lib\n"
    )
    assert share_of("lib", report) == 0.4
    assert share_of("lib", "nothing of the kind") is None
