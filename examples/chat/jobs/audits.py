"""How much of a distribution's public interface is documented, without importing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib import metadata

import attrs

from examples.chat.jobs import packages, sources
from examples.chat.jobs.interface import Interface, Place, is_public

WORST = 5
"""Names without a docstring that an audit tells."""


@attrs.frozen
class Audit:
    """What the report tells of one distribution, apart from how long it takes to import."""

    package: packages.Package
    public: Mapping[str, int]
    """How many public modules, classes, functions and methods there are, by kind."""
    undocumented: int
    """How many of them have no docstring."""
    worst: tuple[str, ...]
    """The names of some of these, those first that most readers meet."""
    unreadable: tuple[str, ...]
    """Files that cannot be parsed, with the cause."""


def audit(distribution: metadata.Distribution) -> Audit:
    """Read the metadata and the source files of ``distribution``."""
    places, _, unreadable = survey(distribution)
    counts = Counter(place.kind for place in places)
    without = [place for place in places if not place.doc]
    without.sort(key=lambda place: (place.kind == "module", place.name.count("."), place.name))
    return Audit(
        package=packages.describe(distribution),
        public={kind: counts[kind] for kind in ("module", "class", "function", "method")},
        undocumented=len(without),
        worst=tuple(place.name for place in without[:WORST]),
        unreadable=tuple(unreadable),
    )


def survey(distribution: metadata.Distribution) -> tuple[list[Place], Counter[str], list[str]]:
    """The public places of a distribution; in how many of its files each dotted name is mentioned; and the
    files that could not be read, with the cause."""
    mentions: Counter[str] = Counter()
    read: dict[str, sources.Source] = {}
    unreadable = []
    for module, (file, path) in packages.module_files(distribution).items():
        try:
            read[module] = source = sources.read(module, file, path)
            mentions.update(source.mentions)
        except sources.Unreadable as error:
            if is_public(module):
                unreadable.append(f"{file}: {error}")
    own = packages.canonical(distribution.metadata["Name"] or "").replace("-", "_")
    return Interface(own, read).places(), mentions, unreadable
