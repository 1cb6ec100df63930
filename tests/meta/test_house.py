"""The rules of the house that a machine can read."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import trouper
from tests.meta.source import ROOMS, ROOT, project_files, python_files

LINES_AT_MOST = 400
WHY_LONGER: dict[str, str] = {}
"""Files above ``LINES_AT_MOST``, each with the reason why it is one concept all the same."""

VENDORED = ("vendor/",)
"""Folders of files that others wrote and that stand here unmodified."""

# Written in pieces, so that this file does not hold what it looks for.
NOT_HERE = {
    "a package registry's address": re.compile(
        "|".join(
            (
                r"pypi\." + "org",
                "python" + "hosted",
                "registry\\." + "npm" + "js",
                r"(deb|security)\." + r"debian\." + "org",
                r"archive\." + "ubuntu",
            )
        )
    ),
    "a path of one machine": re.compile(r"(?<![\w.])/(" + "wo" + "rk|ro" + r"ot|home/\w+|Users/\w+)/"),
}
LOCK_FILES = re.compile(r"(^|/)(.*\.lock|package-lock\.json|pnpm-lock\.yaml|.*\.db(-wal|-shm)?|.*\.pyc)$")

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def vendored(path: Path) -> bool:
    return any(folder in relative(path) for folder in VENDORED)


def test_no_python_file_is_longer_than_a_reader_bears() -> None:
    long = {
        relative(path): count
        for path in python_files()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LINES_AT_MOST
    }
    assert set(long) == set(WHY_LONGER), f"above {LINES_AT_MOST} lines: {long}; split them, or tell why"


@pytest.mark.parametrize("room", [*ROOMS, "trouper"])
def test_every_room_opens_with_a_map_of_its_modules(room: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    named = set(re.findall(r"``(\w+)``", docstring))
    modules = {
        path.stem
        for path in python_files()
        if path.parent == ROOT / room and path.stem not in ("__init__", "__main__")
    }
    assert modules <= named, f"{room}/__init__.py does not tell what these are for: {sorted(modules - named)}"


def names_of_tests() -> Iterator[str]:
    for path in python_files():
        ours = relative(path).startswith("tests/") and path.name.startswith("test_")
        if ours or relative(path).startswith("store/contract/"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                    yield node.name


def test_the_name_of_every_test_is_a_sentence() -> None:
    short = [name for name in names_of_tests() if len(name.split("_")) < 5]
    assert not short, f"four words at least, saying what is true: {short}"


@pytest.mark.parametrize("what", NOT_HERE)
def test_no_file_in_git_names_a_place_that_is_not_ours(what: str) -> None:
    pattern = NOT_HERE[what]
    found = []
    for path in project_files():
        content = path.read_bytes()
        if b"\0" in content or vendored(path) or relative(path) == ".gitignore":
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{relative(path)}:{number}: {line.strip()[:100]}")
    assert not found


def test_no_lock_file_and_nothing_built_is_in_git() -> None:
    assert not [relative(path) for path in project_files() if LOCK_FILES.search(relative(path))]


def test_the_links_and_every_list_of_the_rooms_agree() -> None:
    links = {path.name for path in (ROOT / "trouper").iterdir() if path.is_symlink()}
    assert links == set(ROOMS), "trouper/ holds one link to each room"

    tool = PYPROJECT["tool"]
    targets = tool["hatch"]["build"]["targets"]
    assert targets["wheel"]["force-include"] == {room: f"trouper/{room}" for room in ROOMS}
    assert {f"/{room}" for room in ROOMS} <= set(targets["sdist"]["include"])
    inside = {f"trouper/{room}" for room in ROOMS}
    assert inside == set(tool["ruff"]["extend-exclude"])
    assert inside <= set(tool["pyright"]["include"]), "pyright does not follow a link that is not named"


def test_constraints_hold_names_and_exact_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert not [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)]
    assert pins == sorted(pins, key=str.casefold)


def test_every_news_fragment_is_of_a_declared_kind() -> None:
    kinds = {kind["directory"] for kind in PYPROJECT["tool"]["towncrier"]["type"]}
    for path in (ROOT / "newsfragments").iterdir():
        if path.name in (".gitignore", "README.md"):
            continue
        assert path.name.split(".")[-2:] in [[kind, "md"] for kind in kinds], f"{path.name}: one of {kinds}"
        assert path.read_text(encoding="utf-8").strip(), f"{path.name} is empty"


def fenced(text: str, language: str) -> list[str]:
    """The blocks of a Markdown page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_every_name_in_the_readme_is_a_name_of_the_front_door() -> None:
    blocks = fenced((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    used = {
        node.attr
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "trouper"
    }
    assert used >= {"job", "open_runtime", "serve"}
    assert not [name for name in used - {"testing"} if not hasattr(trouper, name)]


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))],
)
def test_every_link_to_a_file_leads_to_one(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert not [link for link in links if not ((ROOT / page).parent / link).exists()]
