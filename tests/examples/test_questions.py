"""How good the ranker is, on the questions that were written before it, in the environment at hand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import examples.chat
from examples.chat.jobs import index_file, packages, search, survey
from examples.chat.jobs.index import find

QUESTIONS = json.loads(Path(examples.chat.__file__).with_name("questions.json").read_text("utf-8"))[
    "questions"
]
GOOD_ENOUGH = 0.7


def questions(use: str) -> list[dict[str, Any]]:
    return [question for question in QUESTIONS if question["use"] == use]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of everything installed here."""
    path = tmp_path_factory.mktemp("index") / "packages.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    index_file.create(connection)
    for name, _ in packages.installed():
        survey.index(path, metadata.distribution(name))
    index_file.finish(connection)
    connection.close()
    return path


def share_of_hits(path: Path, asked: Sequence[dict[str, Any]], among: int = 3) -> tuple[float, list[str]]:
    """Which share of the questions has an accepted answer among the first few, and which have not."""
    missed = [
        question["question"]
        for question in asked
        if not any(
            search.accepted(hit, question["accepted"]) for hit in find(path, question["question"], among)
        )
    ]
    return 1 - len(missed) / len(asked), missed


@pytest.mark.slow
def test_the_questions_that_were_not_used_for_tuning_find_their_answers(index: Path) -> None:
    tuned, _ = share_of_hits(index, questions("tune"))
    held_out, missed = share_of_hits(index, questions("held_out"))
    print(f"hit@3: {tuned:.2f} of the questions used for tuning, {held_out:.2f} of those held out")
    assert held_out >= GOOD_ENOUGH, missed


def test_there_are_fifteen_questions_of_each_kind_and_none_twice() -> None:
    assert len(questions("tune")) == len(questions("held_out")) == 15
    assert len({question["question"] for question in QUESTIONS}) == 30


@pytest.mark.slow
def test_accepted_answers_are_there_to_be_found(index: Path) -> None:
    """Each question has at least one: else it would ask for the impossible."""
    connection = sqlite3.connect(index)
    rows = connection.execute("SELECT name, aliases FROM places").fetchall()
    connection.close()
    names = {each for name, aliases in rows for each in (name, *json.loads(aliases))}
    for question in QUESTIONS:
        assert names & set(question["accepted"]), question["question"]
