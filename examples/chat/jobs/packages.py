"""What a distribution says of itself and which files are its own: metadata alone, nothing is imported.

It runs in a process of its own (see ``survey``): walking a file system would hold up the server.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

import attrs

MAX_FILES = 50_000
"""Files of one distribution that are looked at."""
NOT_API = frozenset({"tests", "test", "conftest", "setup", "docs", "examples", "benchmarks"})
"""Names of modules and folders that are installed by accident and are nobody's interface."""


@attrs.frozen
class Package:
    """One installed distribution, as far as its metadata tells."""

    name: str
    version: str
    summary: str
    licence: str
    """Empty if it names none."""
    dependencies: tuple[str, ...]
    """Names of what it requires without an extra being asked for."""
    files: int
    bytes: int
    importable: tuple[str, ...]
    """The top-level modules that a user would import."""
    editable: bool
    """Installed as a link to a working tree."""


def installed() -> list[tuple[str, str]]:
    """The (name, version) of every distribution on the path, once each, sorted by name."""
    found: dict[str, tuple[str, str]] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if (
            name and (key := canonical(name)) not in found
        ):  # the first on the path is the one that is imported
            found[key] = (name, distribution.version or "?")
    return [found[key] for key in sorted(found)]


def canonical(name: str) -> str:
    """The name of a distribution as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def describe(distribution: metadata.Distribution) -> Package:
    """Read everything of ``Package``; what is missing or broken is empty, never an error."""
    about = distribution.metadata
    files = own_files(distribution)
    sources = module_files(distribution, files)
    return Package(
        name=about["Name"] or "?",
        version=distribution.version or "?",
        summary=" ".join(_field(about, "Summary").split())[:200],
        licence=licence(about),
        dependencies=tuple(sorted(set(dependencies(distribution.requires or ())))),
        files=len(files),
        bytes=sum(size for _, _, size in files),
        importable=importable(about["Name"] or "", list(sources) + list(_binary_modules(files))),
        editable=_is_editable(distribution),
    )


def licence(about: metadata.PackageMetadata) -> str:
    """A short name of the licence: the SPDX expression, else the field if short, else the classifiers."""
    if expression := _field(about, "License-Expression"):
        return expression
    field = _field(about, "License")
    if field and "\n" not in field and len(field) <= 60 and field.upper() != "UNKNOWN":
        return field
    classifiers = about.get_all("Classifier") or []
    names = [line.rsplit("::", 1)[-1].strip() for line in classifiers if line.startswith("License ::")]
    names = [name for name in names if name != "OSI Approved"]
    if names:
        return ", ".join(sorted(set(names)))
    return field.splitlines()[0][:60] if field and field.upper() != "UNKNOWN" else ""


def _field(about: metadata.PackageMetadata, name: str) -> str:
    return str(about[name] or "").strip() if name in about else ""


def dependencies(requires: Iterable[str]) -> Iterator[str]:
    """The names in requirement lines, without those that only an extra asks for."""
    for line in requires:
        requirement, _, marker = line.partition(";")
        if not re.search(r"\bextra\b", marker) and (
            match := re.match(r"\s*([A-Za-z0-9][\w.-]*)", requirement)
        ):
            yield match[1]


def own_files(distribution: metadata.Distribution) -> list[tuple[str, Path, int]]:
    """(path relative to the installation, absolute path, size in bytes) of each file that is there."""
    found: list[tuple[str, Path, int]] = []
    for relative, path in _listed(distribution):
        try:
            found.append((relative, path, path.stat().st_size))
        except OSError:
            continue  # listed and gone: a report of what is there does not stop at it
        if len(found) == MAX_FILES:
            break
    return found


def _listed(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    listed = distribution.files
    base = Path(str(distribution.locate_file("")))
    links: list[Path] = []
    for item in listed or ():
        path = Path(str(distribution.locate_file(item)))
        yield item.as_posix(), path
        if item.suffix == ".pth" and _is_editable(distribution):
            links.extend(_linked_folders(path))
    if listed is None:  # an old way of installing, or a system's package manager
        for top in (distribution.read_text("top_level.txt") or "").split():
            yield from _walk(base, top)
    for folder in links:
        yield from _walk(folder, canonical(distribution.metadata["Name"] or "?").replace("-", "_"))


def _linked_folders(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [Path(line) for line in lines if line.strip() and not line.startswith(("#", "import "))]


def _walk(base: Path, top: str) -> Iterator[tuple[str, Path]]:
    """The files of one top-level module under ``base``; links are followed, each folder once."""
    if (single := base / f"{top}.py").is_file():
        yield single.name, single
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(base / top, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            yield path.relative_to(base).as_posix(), path


def _is_editable(distribution: metadata.Distribution) -> bool:
    text = distribution.read_text("direct_url.json")
    try:
        return bool(json.loads(text or "{}").get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return False


def module_files(
    distribution: metadata.Distribution, files: Iterable[tuple[str, Path, int]] | None = None
) -> dict[str, tuple[str, Path]]:
    """Dotted module name → (relative path, absolute path) of each Python source file."""
    found: dict[str, tuple[str, Path]] = {}
    for relative, path, _ in own_files(distribution) if files is None else files:
        pure = PurePosixPath(relative)
        parts = list(pure.with_suffix("").parts)
        if pure.suffix != ".py" or not all(part.isidentifier() for part in parts):
            continue  # scripts, metadata, templates, what lies outside of the folder
        if parts[-1] == "__init__":
            parts.pop()
        if parts:
            found[".".join(parts)] = (relative, path)
    return found


def _binary_modules(files: Iterable[tuple[str, Path, int]]) -> Iterator[str]:
    for relative, _, _ in files:
        if relative.endswith((".so", ".pyd")):
            pure = PurePosixPath(relative)
            parts = [*pure.parts[:-1], pure.name.split(".", 1)[0]]
            if all(part.isidentifier() for part in parts):
                yield ".".join(parts)


def importable(name: str, modules: Iterable[str], limit: int = 4) -> tuple[str, ...]:
    """The top-level names among ``modules`` that a user imports, at most ``limit``: the public ones, or,
    if there are none, the private ones; the one that is called like the distribution first."""
    tops = {module.split(".", 1)[0] for module in modules} - NOT_API
    public = {top for top in tops if not top.startswith("_")}
    own = canonical(name).replace("-", "_")
    return tuple(sorted(public or tops, key=lambda top: (top.lower() != own, top))[:limit])
