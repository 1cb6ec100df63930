"""The jobs *index* and *ask*: an index is built once, whole, and again when what is installed changes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import trio

from examples.chat.jobs.ask import as_markdown, ask_job, shortened
from examples.chat.jobs.index import Index, counts, index_job
from tests.examples.known_environment import KnownEnvironment, files
from trouper.store.records import JobState
from trouper.testing import JobResult, run_job


async def asked(
    environment: KnownEnvironment, folder: Path, question: str, crash_at: int | None = None
) -> JobResult:
    return await run_job(ask_job(Index(folder, environment)), question=question, crash_at=crash_at)


async def indexed(environment: KnownEnvironment, folder: Path, crash_at: int | None = None) -> JobResult:
    return await run_job(index_job(Index(folder, environment)), crash_at=crash_at)


def lose(path: Path) -> None:
    path.unlink()


async def test_an_answer_shows_the_places_and_tells_them_as_events(tmp_path: Path) -> None:
    await indexed(KnownEnvironment(), tmp_path)
    result = await asked(KnownEnvironment(), tmp_path, "How do I open a door?")
    assert result.state is JobState.COMPLETED
    assert result.text == (
        "Look at `alpha.open_door` of alpha first.\n\n"
        "**1. `alpha.open_door`** · `alpha.py:7`\n\n"
        "```python\nopen_door()\n```\n\nOpen the door of a house.\n\n"
    )
    ((name, data),) = result.events
    assert name == "source"
    assert data == {"title": "alpha.open_door", "where": "alpha.py:7", "score": data["score"]}
    assert data["score"] > 0
    assert result.result == {"sources": ["alpha.open_door"]}


async def test_without_an_index_the_question_builds_it_first(tmp_path: Path) -> None:
    environment = KnownEnvironment()
    result = await asked(environment, tmp_path / "new" / "folder", "house windows")
    assert result.text.startswith("Reading the docstrings of 4 packages.\n\n- alpha 1.0: 2 places\n")
    assert "- gamma 3: left out, it has no files\n\n---\n\nLook at `alpha.HouseKeeper`" in result.text
    again = await asked(environment, tmp_path / "new" / "folder", "house windows")
    assert again.text.startswith("Look at `alpha.HouseKeeper`")
    assert environment.indexed == ["alpha", "beta", "delta", "gamma"]


async def test_another_version_of_a_package_makes_the_index_anew(tmp_path: Path) -> None:
    environment = KnownEnvironment()
    assert (await indexed(environment, tmp_path)).text.count("- alpha") == 1
    assert "up to date: 4 places in 2 packages" in (await indexed(environment, tmp_path)).text
    environment.packages[0] = ("alpha", "1.1")
    assert "- alpha 1.1: 2 places\n" in (await indexed(environment, tmp_path)).text


@pytest.mark.parametrize("crash_at", [1, 3, 4, 6, 7, 9, 12, 15, 16, 17])
async def test_a_builder_that_crashed_goes_on_where_it_was(crash_at: int, tmp_path: Path) -> None:
    undisturbed = await indexed(KnownEnvironment(), tmp_path / "whole")
    environment = KnownEnvironment()
    result = await indexed(environment, tmp_path / "crashed", crash_at)
    assert result.attempts == 2
    assert len(environment.indexed) <= 5
    said = "The index is up to date" if "up to date" in result.text else "The index is ready"
    assert result.text == undisturbed.text.replace("The index is ready", said)
    (finished,) = files(tmp_path / "crashed")
    assert counts(finished) == (2, 4)


async def test_an_answer_that_crashed_after_the_build_is_whole(tmp_path: Path) -> None:
    undisturbed = await asked(KnownEnvironment(), tmp_path / "whole", "open the door")
    for crash_at in (17, 18, 19, 20):
        result = await asked(KnownEnvironment(), tmp_path / str(crash_at), "open the door", crash_at)
        assert result.attempts == 2
        assert result.text == undisturbed.text
        assert result.events == undisturbed.events


async def test_a_partial_index_that_is_gone_is_begun_again(tmp_path: Path) -> None:
    class Losing(KnownEnvironment):
        async def index(self, database: Path, name: str) -> int:
            if name == "delta" and self.indexed == ["alpha", "beta"]:
                lose(database)
                raise RuntimeError("crash")
            return await super().index(database, name)

    environment = Losing()
    result = await indexed(environment, tmp_path)
    assert result.attempts == 2
    assert "The unfinished index is gone: once more from the beginning." in result.text
    assert environment.indexed == ["alpha", "beta", "alpha", "beta", "delta", "gamma"]


async def test_a_damaged_index_is_made_anew(tmp_path: Path) -> None:
    await indexed(KnownEnvironment(), tmp_path)
    (finished,) = files(tmp_path)
    finished.write_bytes(b"SQLite format 3\0" + b"no" * 4000)
    result = await asked(KnownEnvironment(), tmp_path, "open the door")
    assert result.state is JobState.COMPLETED
    assert result.attempts == 2
    assert result.events[0][1]["title"] == "alpha.open_door"


async def test_two_questions_at_once_build_one_index(tmp_path: Path) -> None:
    environment = KnownEnvironment()
    index = Index(tmp_path, environment)
    results: list[JobResult] = []

    async def one() -> None:
        results.append(await run_job(ask_job(index), question="open the door"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        nursery.start_soon(one)
    assert environment.indexed == ["alpha", "beta", "delta", "gamma"]
    assert [len(result.events) for result in results] == [1, 1]


async def test_old_indexes_are_taken_away(tmp_path: Path) -> None:
    environment = KnownEnvironment()
    for version in range(6):
        environment.packages[0] = ("alpha", str(version))
        await indexed(environment, tmp_path)
    assert len(files(tmp_path)) == 4


@pytest.mark.parametrize(
    ("question", "reason"), [("what is it?", "no word to look for"), ("x" * 1001, "up to 1000")]
)
async def test_a_question_that_cannot_be_asked_fails_at_once(
    tmp_path: Path, question: str, reason: str
) -> None:
    result = await asked(KnownEnvironment(), tmp_path, question)
    assert (result.state, result.attempts) == (JobState.FAILED, 1)
    assert reason in (result.error or "")


async def test_nothing_found_is_said(tmp_path: Path) -> None:
    await indexed(KnownEnvironment(), tmp_path)
    result = await asked(KnownEnvironment(), tmp_path, "quantum chromodynamics")
    assert result.text == "Nothing in the installed packages speaks of `quantum`, `chromodynamics`.\n"


async def test_a_folder_that_cannot_be_written_ends_the_job_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = await indexed(KnownEnvironment(), tmp_path / "file")
    assert (result.state, result.attempts) == (JobState.FAILED, 1)
    assert "the index cannot be written" in (result.error or "")


def test_docstrings_are_shown_as_markdown_has_it() -> None:
    text = "Raise :class:`~trio.Cancelled`, see :ref:`here <spot>`, ``x < y``, `RFC <http://x>`__ and <b>."
    assert as_markdown(text) == "Raise `trio.Cancelled`, see `here`, `x < y`, RFC and \\<b\\>."


def test_a_long_paragraph_is_cut_between_words() -> None:
    cut = shortened("`code` and words " * 60)
    assert len(cut) <= 610
    assert cut.endswith(" …")
    assert cut.count("`") % 2 == 0


def test_the_finished_file_is_read_only_to_those_who_search(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        counts(tmp_path / "none.sqlite")
    assert files(tmp_path) == []
