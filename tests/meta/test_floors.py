"""Imports point down the floors: store <- actors <- supervisor <- transport <- simulation <- trouper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.meta.source import ROOMS, ROOT, Import, imports_of, product, python_files, room_of

FLOOR = {room: number for number, room in enumerate((*ROOMS, "trouper"))}


def modules_of(room: str, names: str) -> set[str]:
    return {f"trouper.{room}.{name}" for name in names.split()}


# The files of the two general libraries; every other file of these rooms belongs to the job domain.
# Somebody can use them alone, so they know no job, and of the store only the seams and the errors.
GENERAL = modules_of(
    "actors",
    "errors ask sweeper ask_chain deferred envelope signals overflow ledger lifeline control consumer tally"
    " stash data_lane mailbox ref timers pipe watch spawner context actor function_actor idleness loop trace"
    " inspection reports registry",
) | modules_of(
    "supervisor",
    "actor_child child_spec child strategy intensity backoff budget lane base ordered supervisor population"
    " dynamic keyed keyed_ref places shutdown tree legal errors",
)
GENERAL_OF_STORE = {"trouper.store.seams", "trouper.store.errors"}


def our_imports(modules: Mapping[str, Path]) -> Iterator[tuple[str, Import]]:
    """Each import of a module of ours by another, also the late ones and those for types alone."""
    for module, path in modules.items():
        for found in imports_of(path):
            if found.target.split(".")[0] == "trouper":
                yield module, found


def place(module: str, found: Import) -> str:
    return f"{product()[module].relative_to(ROOT)}:{found.line} imports {found.target}"


def test_imports_point_down_the_floors_only() -> None:
    upward = [
        place(module, found)
        for module, found in our_imports(product())
        if FLOOR[room_of(found.target)] > FLOOR[room_of(module)]
    ]
    assert not upward, f"store <- actors <- supervisor <- transport <- simulation <- trouper, but: {upward}"


def test_every_imported_module_of_ours_exists() -> None:
    # A misspelt late import would otherwise only be found when its line is first reached.
    missing = [
        place(module, found) for module, found in our_imports(product()) if found.target not in product()
    ]
    assert not missing


def test_no_modules_import_each_other_in_a_circle() -> None:
    needs = {module: set[str]() for module in product()}
    for module, found in our_imports(product()):
        if found.runs and found.target != module:
            needs[module].add(found.target)
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        circle = " <- ".join(error.args[1])
        raise AssertionError(f"imported at import time in a circle: {circle}") from None


def test_the_general_libraries_import_no_file_of_the_domain() -> None:
    allowed = GENERAL | GENERAL_OF_STORE
    general = {module: path for module, path in product().items() if module in GENERAL}
    domain = [place(module, found) for module, found in our_imports(general) if found.target not in allowed]
    assert not domain, f"general files import general files, trouper.store.seams and .errors, but: {domain}"


def test_no_file_imports_a_bare_room() -> None:
    # The linter bans it in the product; this reads the tests, the examples and the tools as well.
    bare = [
        f"{path.relative_to(ROOT)}:{found.line} imports {found.target}; legal is trouper.{found.target}"
        for path in python_files()
        for found in imports_of(path)
        if found.target.split(".")[0] in ROOMS
    ]
    assert not bare
