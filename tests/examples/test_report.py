"""The job *report*: what it writes, and that a crash anywhere leaves nothing out and nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.chat.jobs import report_text
from examples.chat.jobs.report import report_job
from tests.examples.known_environment import KnownEnvironment, files
from trouper.store.records import JobState
from trouper.testing import JobResult, run_job


async def written(folder: Path | None = None, crash_at: int | None = None) -> JobResult:
    """A whole report over known packages, with a clock that stands still."""
    return await run_job(report_job(KnownEnvironment(), folder, now=lambda: 0.0), crash_at=crash_at)


async def test_the_report_tells_of_each_package_and_sums_up() -> None:
    result = await written()
    assert result.state is JobState.COMPLETED
    assert result.text.startswith("# The Python packages installed here\n\n")
    assert (
        "## alpha 1.0\n\nThe \\*first\\* of them\n\n- licence: MIT\n- size: 123 kB in 3 files\n"
        in result.text
    )
    assert "- requires: beta, omega (not installed)\n" in result.text
    assert "; 5 of 25 (20%) without docstring: `alpha.a`, `alpha.b` and 3 more\n" in result.text
    assert "- import `alpha`: 42 ms (median of 5; 25% of that in modules of its own)\n" in result.text
    assert "| packages | 4 |\n| size on disk | 247 kB in 6 files |\n| public names | 75 |\n" in result.text
    assert result.result == {
        "packages": 4,
        "bytes": 246_912,
        "public": 75,
        "undocumented": 15,
        "imported": 2,
        "failed_imports": 1,
        "unlicensed": 1,
        "broken": 1,
    }


async def test_what_is_broken_is_a_line_of_the_report() -> None:
    text = (await written()).text
    assert "- could not be audited: PackageNotFoundError: its metadata is \\<gone\\>\n" in text
    assert "- import `delta` failed: ImportError: no \\| such \\<thing\\>\n" in text
    assert "- licence: none named\n- size: unknown, it lists no files that are there\n" in text
    assert "- cannot be read: beta/old.py: SyntaxError: print\n" in text
    assert "| imports that failed | 1: `delta` |\n" in text
    assert "| without a licence | 1: `delta` |\n" in text
    assert "| could not be audited | 1: `gamma` |\n" in text


@pytest.mark.parametrize("crash_at", [1, 2, 3, 6, 8, 9, 10, 14, 19, 22, 26])
async def test_a_crash_before_any_call_leaves_the_text_as_it_would_have_been(
    crash_at: int, tmp_path: Path
) -> None:
    undisturbed = await written()
    result = await written(tmp_path, crash_at)
    assert result.attempts == 2
    assert result.text == undisturbed.text
    assert result.result == undisturbed.result
    (transcript,) = files(tmp_path)
    assert transcript.read_bytes() == result.text.encode()


async def test_a_package_that_was_done_is_not_measured_again() -> None:
    environment = KnownEnvironment()
    result = await run_job(report_job(environment), crash_at=13)
    assert result.attempts == 2
    assert environment.audited == ["alpha", "beta", "beta", "delta", "gamma"]


async def test_the_list_of_packages_is_that_of_the_first_attempt() -> None:
    async def change(name: str) -> None:
        if environment.packages[0][0] == "alpha" and name == "beta":
            environment.packages.insert(0, ("aardvark", "9"))
            raise RuntimeError("crash")

    environment = KnownEnvironment(change)
    result = await run_job(report_job(environment))
    assert result.attempts == 2
    assert "aardvark" not in result.text
    assert result.result["packages"] == 4


async def test_an_environment_without_packages_has_a_report_too() -> None:
    environment = KnownEnvironment()
    environment.packages = []
    result = await run_job(report_job(environment))
    assert result.state is JobState.COMPLETED
    assert "| packages | 0 |\n" in result.text


def test_figures_are_told_for_people() -> None:
    assert [report_text.size(n) for n in (0, 999, 1000, 24_400_000, 3.2e9)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "24 MB",
        "3.2 GB",
    ]
    told = [report_text.duration(s) for s in (0.0001, 0.0421, 1.25, 125)]
    assert told == ["0.1 ms", "42 ms", "1.2 s", "2 min 5 s"]
    assert [report_text.many(1, "class"), report_text.many(2, "class"), report_text.many(1200, "file")] == [
        "1 class",
        "2 classes",
        "1,200 files",
    ]
