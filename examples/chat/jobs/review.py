"""The job ``review``: a report on the packages that a person chooses.

It lists what there is, and asks which of it, how many and how closely, before its long part begins. While it
waits it runs nowhere: the question is in the database and on the page of its user, on every device, over any
restart. Nobody answers for ``PATIENCE_S``: it goes on by itself, with what takes least time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

import trouper
from examples.chat.jobs import report_text as text
from examples.chat.jobs.report import audit_all
from examples.chat.jobs.surveyor import Surveyor
from examples.chat.jobs.work import Work, named

PATIENCE_S = 900.0
"""Seconds that it waits for each answer."""
QUESTIONS = 5
"""After so many answers that fit no package it gives up."""
FACTS, TIMES = "facts only", "with import times"


def schema_of(packages: int) -> dict[str, Any]:
    """What an answer may be. Its titles and descriptions are what the page shows."""
    properties = {
        "name": {
            "type": "string",
            "title": "Only those whose name holds",
            "description": "Empty for all of them.",
            "maxLength": 100,
        },
        "most": {
            "type": "integer",
            "title": "At most",
            "description": f"How many packages, from 1 to {packages}.",
            "minimum": 1,
            "maximum": max(packages, 1),
            "default": min(10, max(packages, 1)),
        },
        "depth": {
            "type": "string",
            "title": "How closely",
            "enum": [FACTS, TIMES],
            "default": TIMES,
        },
        "summary": {"type": "boolean", "title": "Sum up at the end", "default": True},
    }
    return {"type": "object", "properties": properties, "required": ["most", "depth"]}


async def choose(ctx: trouper.JobContext, work: Work, *, patience_s: float = PATIENCE_S) -> str:
    """Ask which packages, until an answer fits some; what is to be said of it. The choice is in ``work``.

    Raises ``trouper.Fail`` if none of ``QUESTIONS`` answers does. **Cancellation**: the attempt ends with the
    question; the next one, which finds the answer, begins at the savepoint before.
    """
    problem = ""
    for number in range(1, QUESTIONS + 1):
        key, question = f"choice.{number}", f"{problem}Which packages, and how closely?"
        try:
            answer: dict[str, Any] = await ctx.ask_user(
                question,
                schema=schema_of(len(work.packages)),
                timeout=patience_s,
                key=key,
            )
        except trouper.NoAnswer:
            await ctx.emit("answered", {"key": key, "question": question, "answer": None})
            work.brief = True
            return text.chosen_by_nobody(work)
        await ctx.emit("answered", {"key": key, "question": question, "answer": answer})
        part = answer.get("name", "")
        found = named(work.packages, part)
        if found:
            work.todo = found[: answer["most"]]
            work.brief = answer["depth"] == FACTS
            work.summary = answer.get("summary", True)
            return text.chosen(work, part.strip(), len(found))
        problem = f"No package has “{part.strip()}” in its name. "
    raise trouper.Fail(f"none of {QUESTIONS} answers fits a package that is installed here")


def review_job(
    surveyor: Surveyor,
    transcripts: Path | None = None,
    now: Callable[[], float] = trio.current_time,
    *,
    patience_s: float = PATIENCE_S,
) -> trouper.JobSpec[..., Any]:
    """The job ``review``; the arguments are those of ``audit_all`` and ``choose``."""

    @trouper.job(name="review", client=True, timeout=3600, retry=trouper.Retry(attempts=10))
    async def review(ctx: trouper.JobContext) -> dict[str, Any]:
        asking = partial(choose, patience_s=patience_s)
        return await audit_all(ctx, surveyor, choose=asking, transcripts=transcripts, now=now)

    return review
