"""What looks at the installed packages: a program of its own, ``python -m examples.chat.jobs.survey``.

Parsing a large package holds Python's lock for seconds, and importing one runs foreign code, so neither
happens in the server: it starts this, which prints one line of JSON. See ``surveyor`` for the other end.

    survey list                     [[name, version], …]
    survey audit NAME               an ``Audit`` as JSON
    survey index DATABASE NAME      put the places of a distribution into an index; {"places": n}

Where a package is broken beyond that, the answer is {"error": "…"}.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs

from examples.chat.jobs import audits, index_file, packages


def main(arguments: Sequence[str]) -> int:
    """Carry out one command and print its answer. Returns the exit status."""
    try:
        answer = answer_to(arguments)
    except Exception as error:  # whatever is wrong with a package is an answer about it
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer))
    return 0


def answer_to(arguments: Sequence[str]) -> Any:
    """What a command answers, as JSON-able data."""
    match arguments:
        case ["list"]:
            return packages.installed()
        case ["audit", name]:
            return attrs.asdict(audits.audit(metadata.distribution(name)))
        case ["index", database, name]:
            return {"places": index(Path(database), metadata.distribution(name))}
        case _:
            raise ValueError(f"no such command: {' '.join(arguments)!r}; legal are list, audit, index")


def index(database: Path, distribution: metadata.Distribution) -> int:
    """Put a distribution into the index at ``database``, in one transaction; again changes nothing."""
    places, mentions, _ = audits.survey(distribution)
    address = f"{database.resolve().as_uri()}?mode=rw"  # one that was taken away is not made anew, empty
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=30)
    try:
        name, version = distribution.metadata["Name"], distribution.version or "?"
        return index_file.add(connection, name, version, places, mentions)
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
