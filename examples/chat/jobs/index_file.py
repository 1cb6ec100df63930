"""The index of places: one SQLite file with a full-text table, made once and then only read.

``places`` says what there is, ``words`` (FTS5, without content of its own) what it can be found by.
Identifiers are split into their words when they are put in, since nobody asks for ``open_memory_channel``
or ``TimestampSigner`` in one word.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from examples.chat.jobs.interface import Place

FORMAT = 2
"""Rises whenever the file or what is put into it changes: an index of another format is made anew."""
COLUMNS = ("name", "qualified", "signature", "lead", "doc")
"""What is indexed, and weighed, apart: the last name, the path to it, its parameters, the first paragraph of
the docstring, the rest of it."""
MAX_WORDS_OF_DOC = 1_500
"""Characters of a docstring, after its first paragraph, that are indexed: bm25 marks down long texts, and
the packages with the best documentation are not to be found last."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS packages (name TEXT PRIMARY KEY, version TEXT NOT NULL, places INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS places (
    id INTEGER PRIMARY KEY, package TEXT NOT NULL, name TEXT NOT NULL, aliases TEXT NOT NULL,
    kind TEXT NOT NULL, signature TEXT NOT NULL, lead TEXT NOT NULL,
    file TEXT NOT NULL, line INTEGER NOT NULL,
    mentions INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS mentions (name TEXT PRIMARY KEY, files INTEGER NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
    name, qualified, signature, lead, doc, content='', tokenize='porter unicode61'
);
"""


def key_of(installed: Iterable[tuple[str, str]]) -> str:
    """Names the index of exactly these (name, version): another set, another file."""
    text = json.dumps([FORMAT, sorted(installed)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def create(connection: sqlite3.Connection) -> None:
    """Make the tables where they are not there yet."""
    connection.executescript(SCHEMA)


def has(connection: sqlite3.Connection, package: str) -> bool:
    """Whether ``package`` has been put in."""
    return connection.execute("SELECT 1 FROM packages WHERE name = ?", (package,)).fetchone() is not None


def add(
    connection: sqlite3.Connection,
    package: str,
    version: str,
    places: Sequence[Place],
    mentions: Mapping[str, int],
) -> int:
    """Put the places of a package in, all or none; returns how many the index holds of it.

    A package that is in already is left as it is, so that a builder that was interrupted may ask again.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not has(connection, package):
            for place in places:
                _insert(connection, package, place)
            connection.executemany(
                "INSERT INTO mentions VALUES (?, ?) ON CONFLICT DO UPDATE SET files = files + excluded.files",
                mentions.items(),
            )
            connection.execute("INSERT INTO packages VALUES (?, ?, ?)", (package, version, len(places)))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    row = connection.execute("SELECT places FROM packages WHERE name = ?", (package,)).fetchone()
    return int(row[0])


def _insert(connection: sqlite3.Connection, package: str, place: Place) -> None:
    lead, rest = paragraphs(place.doc)
    cursor = connection.execute(
        "INSERT INTO places (package, name, aliases, kind, signature, lead, file, line, mentions)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
        (
            package, place.name, json.dumps(place.aliases), place.kind, place.signature, lead[:2_000],
            place.file, place.line,
        ),
    )  # fmt: skip
    path, _, last = place.name.rpartition(".")
    aliases = " ".join(alias.rpartition(".")[2] for alias in place.aliases)
    connection.execute(
        "INSERT INTO words (rowid, name, qualified, signature, lead, doc) VALUES (?, ?, ?, ?, ?, ?)",
        (
            cursor.lastrowid,
            words(f"{last} {aliases}"),
            words(path),
            words(place.signature),
            words(lead),
            words(rest[:MAX_WORDS_OF_DOC]),
        ),
    )


def finish(connection: sqlite3.Connection) -> None:
    """Count in how many files each place is mentioned, then merge the parts of the full-text table."""
    connection.execute("BEGIN IMMEDIATE")
    counts = dict(connection.execute("SELECT name, files FROM mentions"))
    rows = connection.execute("SELECT id, name, aliases FROM places").fetchall()
    for place, name, aliases in rows:
        if mentions := sum(counts.get(each, 0) for each in (name, *json.loads(aliases))):
            connection.execute("UPDATE places SET mentions = ? WHERE id = ?", (mentions, place))
    connection.execute("DELETE FROM mentions")
    connection.execute("INSERT INTO words (words) VALUES ('optimize')")
    connection.execute("COMMIT")


def paragraphs(doc: str) -> tuple[str, str]:
    """The first paragraph of a docstring, on one line, and what follows it."""
    first, _, rest = doc.strip().partition("\n\n")
    return " ".join(first.split()), rest.strip()


def words(text: str) -> str:
    """``text`` followed by the words that its identifiers consist of."""
    parts = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    parts = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", parts)
    split = parts.replace("_", " ")
    return text if split == text else f"{text} {split}"
