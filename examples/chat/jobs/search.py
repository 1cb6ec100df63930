"""From a question to places: which words are looked for, and in which order what was found is told.

The order is SQLite's bm25 over the weighted columns, then corrected by what bm25 does not see: how many of
the question's words a place has at all, whether the question names its package, how much others speak of it.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterable, Sequence

import attrs

WEIGHTS = (8.0, 3.0, 1.0, 8.0, 2.0)
"""Of the columns ``name, qualified, signature, lead, doc``."""
CANDIDATES = 300
"""Places that bm25 hands to the second look."""
MAX_WORDS = 24
"""Words of a question that are looked for."""
NAMED = 2.5
"""What the score of a place is multiplied with if the question names its package."""
KINDS = {"module": 0.6, "class": 1.0, "function": 1.1, "method": 0.9}
"""What the score is multiplied with: of two that say the same, the one at the top is the better answer."""
COVER = 1.5
"""How much it counts to have all words of the question, against having one of them often."""
KNOWN = 0.15
"""How much being mentioned counts: what many files speak of is what most people look for."""
UNDOCUMENTED = 0.4
"""The same for a place without a docstring: it has nothing to show."""
_STOP_WORDS = """
a about above after all already also am an and another any anything are as at be because been best but by
can cannot could did do does doing don done down each else enough ever every few for from get gets
getting give gives go goes got had has have having he help her here him his how i if in into is it its
itself just know like lot make makes many may me might more most much must my need needs no not now of
off on once one only or other others our out over own please possible really right same several shall she
should so some someone something such take takes tell than that the their them then there there's
these they thing things this those through to too under until up us use used uses using very want wants
was way ways we well were what when where whether which while who whose why will with within without
would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that say nothing of what is looked for."""
SAME = (
    ("dict", "dictionary", "mapping"),
    ("str", "string"),
    ("int", "integer"),
    ("func", "function", "callable"),
    ("dir", "directory", "folder"),
    ("arg", "argument", "parameter"),
    ("timeout", "deadline"),
    ("exception", "error"),
    ("process", "subprocess"),
    ("regex", "regexp"),
    ("frozen", "immutable"),
    ("config", "configuration", "settings"),
    ("concurrently", "parallel", "simultaneously"),
    ("url", "uri"),
    ("remove", "delete"),
    ("create", "make", "build"),
    ("start", "spawn", "launch", "run", "execute"),
    ("stop", "cancel", "abort"),
)
"""Words that programmers use for one another."""

PHRASES = (
    (r"\bat the same time\b", "concurrently"),
    (r"\bat once\b", "concurrently"),
    (r"\bin parallel\b", "concurrently"),
)
"""Turns of speech that would fall apart into stop words."""


@attrs.frozen
class Hit:
    """A place that may answer a question."""

    name: str
    package: str
    kind: str
    signature: str
    lead: str
    """The first paragraph of its docstring; may be empty."""
    file: str
    line: int
    score: float
    """Higher is better; comparable within one answer only."""
    aliases: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


def terms(question: str) -> list[str]:
    """The words of a question that say something, in lower case, each once, in order; "time-out" is one."""
    found: dict[str, None] = {}
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", question)
    for phrase, word in PHRASES:
        text = re.sub(phrase, word, text, flags=re.IGNORECASE)
    for word in re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text):
        word = word.lower().replace("’", "'").split("'")[0]
        if word in STOP_WORDS:
            continue
        if len(word) > 1 or word.isdigit():
            found[word] = None
    return list(found)[:MAX_WORDS]


def alternatives(word: str) -> tuple[str, ...]:
    """``word`` and what programmers say instead of it."""
    spellings = [word.replace("-", " "), word.replace("-", "")] if "-" in word else [word]
    singular = spellings[-1].removesuffix("s")
    for group in SAME:
        if spellings[-1] in group or singular in group:
            spellings += (other for other in group if other not in (spellings[-1], singular))
    return tuple(spellings)


def search(connection: sqlite3.Connection, question: str, limit: int = 5) -> list[Hit]:
    """The best places for ``question``, best first, at most ``limit``; each thing once.

    Blocking, for milliseconds: call it from a worker thread.
    """
    asked = terms(question)
    matches = [_match(alternatives(word)) for word in asked]
    if not matches:
        return []
    rows = connection.execute(
        f"SELECT rowid, bm25(words, {', '.join(map(str, WEIGHTS))}) AS rank FROM words WHERE words MATCH ?"
        " ORDER BY rank LIMIT ?",
        (" OR ".join(matches), CANDIDATES),
    ).fetchall()
    covered = _coverage(connection, matches, [row[0] for row in rows])
    named = _packages_named(connection, asked)
    hits = [_hit(connection, place, -rank * covered[place] ** COVER, named) for place, rank in rows]
    hits.sort(key=lambda hit: (-hit.score, hit.name))
    return _distinct(hits, limit)


def _match(words: Iterable[str]) -> str:
    return "(" + " OR ".join(f'"{word}"' for word in words) + ")"


def _coverage(
    connection: sqlite3.Connection, matches: Sequence[str], places: Sequence[int]
) -> dict[int, float]:
    """Which share of the question each place has, from 0 to 1; rare words count for more."""
    (total,) = connection.execute("SELECT count(*) FROM places").fetchone()
    wanted = set(places)
    shares = dict.fromkeys(places, 0.0)
    whole = 0.0
    for match in matches:
        found = {
            row[0] for row in connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (match,))
        }
        if not found:
            continue  # nobody has it: it cannot tell places apart
        weight = math.log(1 + total / len(found))
        whole += weight
        for place in found & wanted:
            shares[place] += weight
    return {place: share / whole if whole else 0.0 for place, share in shares.items()}


def _packages_named(connection: sqlite3.Connection, asked: Iterable[str]) -> set[str]:
    """The packages whose name, or top-level module, is a word of the question."""
    words = set(asked)
    rows = connection.execute("SELECT name FROM packages").fetchall()
    return {name for (name,) in rows if name.lower() in words}


def _hit(connection: sqlite3.Connection, place: int, score: float, named: set[str]) -> Hit:
    package, name, aliases, kind, signature, lead, file, line, mentions = connection.execute(
        "SELECT package, name, aliases, kind, signature, lead, file, line, mentions FROM places WHERE id = ?",
        (place,),
    ).fetchone()
    if package in named:
        score *= NAMED
    score *= KINDS[kind] * (1 + KNOWN * math.log2(1 + mentions))
    if not lead:
        score *= UNDOCUMENTED
    return Hit(name, package, kind, signature, lead, file, line, score, tuple(json.loads(aliases)))


def _distinct(hits: Iterable[Hit], limit: int) -> list[Hit]:
    """The first ``limit``; twins (one text under two names, as sync and async forms often are) count once."""
    kept: list[Hit] = []
    seen: set[tuple[str, str]] = set()
    for hit in hits:
        twin = (hit.package, hit.lead)
        if hit.lead and twin in seen:
            continue
        seen.add(twin)
        kept.append(hit)
        if len(kept) == limit:
            break
    return kept


def accepted(hit: Hit, names: Iterable[str]) -> bool:
    """Whether ``hit`` is one of ``names``, or lies below one."""
    own = (hit.name, *hit.aliases)
    return any(each == name or each.startswith(f"{name}.") for name in names for each in own)
