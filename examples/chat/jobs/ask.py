"""The job ``ask``: answers a question about the installed packages with the places that it found.

There is no model in it: what is shown is what the packages' own authors wrote, found by full-text search.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

import trouper
from examples.chat.jobs.index import Index, find
from examples.chat.jobs.report_text import code
from examples.chat.jobs.search import Hit, terms

SHOWN = 5
"""Places in an answer."""
MAX_QUESTION = 1_000
"""Characters of a question."""
MAX_LEAD = 600
"""Characters of a docstring's first paragraph that are shown."""


def ask_job(index: Index) -> trouper.JobSpec[..., Any]:
    """The job ``ask`` over ``index``, which it builds first if there is none that fits."""

    @trouper.job(name="ask", client=True, timeout=1800, retry=trouper.Retry(attempts=10))
    async def ask(ctx: trouper.JobContext, *, question: str) -> dict[str, Any]:
        if len(question) > MAX_QUESTION:
            raise trouper.Fail(f"the question has {len(question)} characters: up to {MAX_QUESTION} are legal")
        if not terms(question):
            raise trouper.Fail("the question has no word to look for")
        path, built = await index.ensure(ctx)
        if built:
            await ctx.write("---\n\n")
        hits, damage = await trio.to_thread.run_sync(_find, path, question)
        if damage is not None:
            await index.discard(path)
            raise trouper.Again(f"the index cannot be read and is built anew: {damage}") from damage
        await ctx.write(answer_head(question, hits))
        for number, hit in enumerate(hits, 1):
            await ctx.emit("source", {"title": hit.name, "where": hit.where, "score": round(hit.score, 2)})
            await ctx.write(answer_part(number, hit))
        return {"sources": [hit.name for hit in hits]}

    return ask


def _find(path: Path, question: str) -> tuple[list[Hit], sqlite3.DatabaseError | None]:
    """The places, or what is wrong with the index. Blocking."""
    try:
        return find(path, question, SHOWN), None
    except sqlite3.DatabaseError as error:
        return [], error


def answer_head(question: str, hits: Sequence[Hit]) -> str:
    """What comes before the places."""
    if not hits:
        words = ", ".join(code(word) for word in terms(question))
        return f"Nothing in the installed packages speaks of {words}.\n"
    best = hits[0]
    return f"Look at {code(best.name)} of {best.package} first.\n\n"


def answer_part(number: int, hit: Hit) -> str:
    """One place: its name, where it is, its signature, what its author says of it."""
    lead = shortened(as_markdown(hit.lead)) or "*(no docstring)*"
    return (
        f"**{number}. {code(hit.name)}** · {code(hit.where)}\n\n"
        f"```python\n{hit.signature.replace('```', '')}\n```\n\n{lead}\n\n"
    )


def as_markdown(text: str) -> str:
    """A docstring's reStructuredText, as far as Markdown must not be misled by it."""
    text = re.sub(r":[a-z:+-]+:`[~!]?([^`<]*?)(?:\s*<[^`>]*>)?`", r"`\1`", text)  # :func:`~a.b`, :ref:`x <y>`
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    text = re.sub(r"`([^`<]+?)\s*<[^`>]*>`__?", r"\1", text)  # `text <address>`_
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<>\[\]#|])", r"\\\1", part) for part in parts)


def shortened(text: str) -> str:
    """At most ``MAX_LEAD`` characters, cut between words."""
    if len(text) <= MAX_LEAD:
        return text
    cut = text[:MAX_LEAD].rsplit(" ", 1)[0]
    return cut + ("`" if cut.count("`") % 2 else "") + " …"
