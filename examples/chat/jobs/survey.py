"""What looks at the installed packages: a program of its own, ``python -m examples.chat.jobs.survey``.

Parsing a large package holds Python's lock for seconds, and importing one runs foreign code, so neither
happens in the server: it starts this, which prints one line of JSON. See ``surveyor`` for the other end.

    survey list                     [[name, version], …]
    survey audit NAME               what the report tells of a distribution, without importing it
    survey index DATABASE NAME      put the places of a distribution into an index; {"places": n}
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs

from examples.chat.jobs import index_file, packages, sources
from examples.chat.jobs.interface import Interface, Place, is_public

WORST = 5
"""Names without a docstring that an audit tells."""


def main(arguments: Sequence[str]) -> int:
    """Carry out one command; prints JSON. Returns the exit status."""
    match arguments:
        case ["list"]:
            answer: Any = packages.installed()
        case ["audit", name]:
            answer = audit(metadata.distribution(name))
        case ["index", database, name]:
            answer = {"places": index(Path(database), metadata.distribution(name))}
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    sys.stdout.write(json.dumps(answer))
    return 0


def audit(distribution: metadata.Distribution) -> dict[str, Any]:
    """The metadata of a distribution and how much of its public interface has docstrings."""
    package = packages.describe(distribution)
    places, _, unreadable = survey(distribution)
    counts = {kind: [0, 0] for kind in ("module", "class", "function", "method")}
    without = []
    for place in places:
        counts[place.kind][0] += 1
        if not place.doc:
            counts[place.kind][1] += 1
            without.append(place)
    # The shortest name of something is the one that most readers meet.
    without.sort(key=lambda place: (place.kind == "module", place.name.count("."), place.name))
    return {
        **attrs.asdict(package),
        "public": counts,
        "undocumented": [place.name for place in without[:WORST]],
        "unreadable": unreadable,
    }


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


def index(database: Path, distribution: metadata.Distribution) -> int:
    """Put a distribution into the index at ``database``, in one transaction; again changes nothing."""
    places, mentions, _ = survey(distribution)
    connection = sqlite3.connect(database, isolation_level=None, timeout=30)
    try:
        name, version = distribution.metadata["Name"], distribution.version or "?"
        return index_file.add(connection, name, version, places, mentions)
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
