"""The project's files, and what each imports, read without importing anything."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]

ROOMS = ("store", "actors", "supervisor", "transport", "simulation")
"""The floors, lowest first. ``trouper`` itself, the front door, stands above them all."""


@attrs.frozen
class Import:
    """One name that a module imports."""

    target: str
    """The full name of the module, as far as it is known to be one."""
    line: int
    runs: bool
    """Carried out when the importing module is: not in a function, not for type checkers alone."""


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that is in git or could be added to it; a link counts as one file, as in git."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (ROOT / name for name in listing.stdout.split("\0") if name)
    return tuple(sorted({path for path in paths if path.is_file() and not path.is_symlink()}))


def python_files() -> tuple[Path, ...]:
    """The Python files among them."""
    return tuple(path for path in project_files() if path.suffix == ".py")


def module_name(path: Path) -> str:
    """What a file of the product is imported as: ``store/seams.py`` is ``trouper.store.seams``."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] in ROOMS:
        parts.insert(0, "trouper")
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


@cache
def product() -> Mapping[str, Path]:
    """The modules that are shipped, by full name."""
    return {
        module_name(path): path
        for path in python_files()
        if path.relative_to(ROOT).parts[0] in (*ROOMS, "trouper")
    }


def room_of(module: str) -> str:
    """The room that a module of the product lives in; ``trouper`` for the front door."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "trouper"


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    """What the file imports, by full name, in the order of its lines."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return read_imports(path.read_text(encoding="utf-8"), package=package)


def read_imports(source: str, *, package: str) -> tuple[Import, ...]:
    """What a module of ``package`` with this text imports: late, relative and dynamic ones too."""
    return tuple(_imports(ast.parse(source), package, runs=True))


def _imports(node: ast.AST, package: str, *, runs: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield Import(alias.name, node.lineno, runs)
        case ast.ImportFrom(module=module, names=names, level=level):
            base = _absolute(module, level, package)
            for alias in names:
                # "from a.b import c" imports the module a.b.c if there is one, else a.b alone.
                whole = f"{base}.{alias.name}"
                yield Import(whole if whole in product() else base, node.lineno, runs)
        case ast.Call(
            func=ast.Name(id=called) | ast.Attribute(attr=called), args=[ast.Constant(value=str(target)), *_]
        ):
            if called in ("import_module", "__import__"):
                yield Import(target, node.lineno, runs)
            yield from _children(node, package, runs=runs)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            yield from _children(node, package, runs=False)
        case ast.If(test=test) if _names_type_checking(test):
            for child in node.body:
                yield from _imports(child, package, runs=False)
            for child in node.orelse:
                yield from _imports(child, package, runs=runs)
        case _:
            yield from _children(node, package, runs=runs)


def _children(node: ast.AST, package: str, *, runs: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, package, runs=runs)


def _absolute(module: str | None, level: int, package: str) -> str:
    if level == 0:
        return module or ""
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - level + 1])
    return f"{base}.{module}" if module else base


def _names_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )
