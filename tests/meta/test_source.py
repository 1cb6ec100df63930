"""The reader of imports sees every way to write one; a rule that it does not see is no rule."""

from __future__ import annotations

import pytest

from tests.meta.source import Import, project_files, read_imports

LATE = """
def later():
    from trouper.store import seams
"""
FOR_TYPES = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import trouper.store.seams
else:
    import trouper.store.errors
"""
IN_A_CLASS_AND_A_TRY = """
class A:
    try:
        import trouper.store.seams
    except ImportError:
        import trouper.store.errors
"""
BY_NAME = """
import importlib
urls = {"sqlite": lambda: importlib.import_module("trouper.store.seams")}
"""


def seen(source: str, package: str = "trouper.actors") -> list[tuple[str, bool]]:
    return [
        (found.target, found.runs)
        for found in read_imports(source, package=package)
        if found.target.startswith("trouper")
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import trouper.store.seams as s", [("trouper.store.seams", True)]),
        ("from trouper.store import seams", [("trouper.store.seams", True)]),
        ("from trouper.store.seams import Seams", [("trouper.store.seams", True)]),
        ("from trouper.store import nothing_of_ours", [("trouper.store", True)]),
        ("from ..store.seams import Seams", [("trouper.store.seams", True)]),
        ("from ..store import seams", [("trouper.store.seams", True)]),
        ("from . import *", [("trouper.actors", True)]),
        (LATE, [("trouper.store.seams", False)]),
        (FOR_TYPES, [("trouper.store.seams", False), ("trouper.store.errors", True)]),
        (IN_A_CLASS_AND_A_TRY, [("trouper.store.seams", True), ("trouper.store.errors", True)]),
        (BY_NAME, [("trouper.store.seams", False)]),
    ],
)
def test_every_way_to_import_a_module_is_seen(source: str, expected: list[tuple[str, bool]]) -> None:
    assert seen(source) == expected


def test_a_bare_room_is_seen_under_its_bare_name() -> None:
    assert read_imports("import store.seams\nfrom actors import ref", package="tests") == (
        Import("store.seams", 1, True),
        Import("actors", 2, True),
    )


def test_the_links_to_the_rooms_are_not_followed() -> None:
    assert not [path for path in project_files() if path.parts[-3:-1] == ("trouper", "store")]
