"""The mutations fit the code as it is; that they are caught, ``python -m tools.mutations`` checks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.meta.source import ROOT
from tools.mutations import FOLDER, DoesNotApply, Mutation, try_out

FILES = sorted(FOLDER.glob("*.toml"))
MADE_UP = Mutation(
    "made_up", "It answers wrongly.", "answer.py", "return 42", "return 41", ["test_answer.py::test_it"]
)


def test_there_are_enough_mutations() -> None:
    assert len(FILES) >= 12


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_mutation_applies_to_the_code_and_names_tests_that_there_are(path: Path) -> None:
    mutation = Mutation.read(path)
    broken = mutation.applied((ROOT / mutation.file).read_text(encoding="utf-8"))
    ast.parse(broken)
    assert mutation.tests
    for test in mutation.tests:
        file, _, name = test.partition("::")
        defined = ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        assert name in {getattr(node, "name", None) for node in defined}, f"{test} is not there"


@pytest.mark.parametrize("text", ["return 43", "return 42; return 42"])
def test_a_mutation_that_fits_nowhere_or_twice_is_an_error(text: str) -> None:
    with pytest.raises(DoesNotApply):
        MADE_UP.applied(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("test", "caught"),
    [
        ("assert answer() == 42", True),
        ("assert answer()", False),
    ],
)
def test_caught_is_what_a_test_that_was_run_fails_on(tmp_path: Path, test: str, caught: bool) -> None:
    (tmp_path / "answer.py").write_text("def answer():\n    return 42\n")
    (tmp_path / "test_answer.py").write_text(f"from answer import answer\ndef test_it():\n    {test}\n")
    wrong = try_out(MADE_UP, tmp_path)
    assert (wrong is None) == caught
    assert "return 42" in (tmp_path / "answer.py").read_text(), "it was taken back"


@pytest.mark.slow
def test_a_test_that_cannot_be_collected_has_caught_nothing(tmp_path: Path) -> None:
    (tmp_path / "answer.py").write_text("def answer():\n    return 42\n")
    (tmp_path / "test_answer.py").write_text("import nowhere\ndef test_it():\n    pass\n")
    wrong = try_out(MADE_UP, tmp_path)
    assert wrong is not None
    assert "test_it" in wrong
