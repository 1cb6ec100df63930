"""Every suite runs from end to end and prints every row. How fast anything is, no test says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command_line
from benchmarks import suites
from tests.meta.source import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(suites.SUITES))
def test_a_quick_run_prints_every_row_and_writes_json_and_a_profile(name: str, tmp_path: Path) -> None:
    numbers, profile = tmp_path / "numbers.json", tmp_path / "profile.txt"
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--rounds", "1", "--json", str(numbers)]
    done = subprocess.run(
        [*command, "--profile", str(profile)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    written = {measure["name"]: measure for measure in json.loads(numbers.read_text("utf-8"))["measures"]}
    for measure in suites.load(name).measures:
        assert f"{measure.name} ({measure.unit})" in done.stdout
        assert f"… {measure.name}" in done.stderr, "a line says what is under way"
        rows = written[measure.name]["contenders"]
        assert all(len(row["rounds"]) == 1 for row in rows)
        if sys.platform == "linux":
            there = [contender.name for contender in measure.contenders if contender.available()]
            assert [row["name"] for row in rows] == there
        if not measure.of_costs:
            assert f"== {measure.name}" in profile.read_text("utf-8")
    assert str(ROOT) not in done.stdout + numbers.read_text("utf-8") + profile.read_text("utf-8")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--rounds", "0"], "'0': legal are whole numbers from 1"),
        (["--rounds", "few"], "'few': legal are whole numbers from 1"),
        (["--only", "nothing at all"], "no measure begins with 'nothing at all'; there are: "),
        (["--json", "no such folder/numbers.json"], "legal is a file in a folder that exists"),
        (["--profile", "docs"], "legal is a file in a folder that exists"),
    ],
)
def test_a_flag_that_is_not_legal_is_refused_before_anything_is_measured(
    flags: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "actors", *flags])
    with pytest.raises(SystemExit, match="2"):
        command_line.parse()
    assert told in capsys.readouterr().err
