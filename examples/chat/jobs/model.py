"""The job ``model``: asks a language model, and shows the answer as it comes.

A completion cannot be continued. So each *finished* call is a savepoint, which is never paid for twice, and a
new attempt asks the one that was under way again: the page is rewound to the last savepoint. There are two
calls, the answer and a title for it. What was said before in the conversation is not sent along: each prompt
stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import trouper
from examples.chat.jobs.completions import Completions, Endpoint, Refused, Unavailable, open_completions
from examples.chat.settings import BadSetting

MAX_WAIT_S = 3600.0
"""Seconds that a server may ask to wait; beyond that it is honest to fail and say so."""
EXCERPT = 2_000
"""Characters of the answer that are kept for making the title."""
MAX_TITLE = 80
"""Characters of a title."""


def endpoint_of(environ: Mapping[str, str]) -> Endpoint | None:
    """What ``OPENAI_BASE_URL``, ``OPENAI_API_KEY`` and ``OPENAI_MODEL`` say; None without the first.

    Raises ``BadSetting``."""
    if not (base_url := environ.get("OPENAI_BASE_URL", "").strip()):
        return None
    try:
        parts = urlsplit(base_url)
        legal = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        legal = False
    if not legal:
        raise BadSetting(
            f"OPENAI_BASE_URL={base_url!r}: legal are http://… and https://…, up to and with /v1"
        )
    return Endpoint(
        base_url=base_url,
        api_key=environ.get("OPENAI_API_KEY") or None,
        model=environ.get("OPENAI_MODEL") or None,
    )


def model_job(
    endpoint: Endpoint, wall: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> trouper.JobSpec[..., Any]:
    """The job ``model`` over ``endpoint``."""

    @trouper.job(name="model", client=True, timeout=3600, retry=trouper.Retry(attempts=10))
    async def model(ctx: trouper.JobContext, *, prompt: str) -> dict[str, Any]:
        if not prompt.strip():
            raise trouper.Fail("there is nothing to ask: the prompt is empty")
        try:
            async with open_completions(endpoint, wall) as completions:
                return await converse(ctx, completions, prompt)
        except Refused as error:
            raise trouper.Fail(str(error)) from error
        except Unavailable as error:
            if error.after is None:
                raise  # tried again after the back-off, as after any crash
            if error.after > MAX_WAIT_S:
                raise trouper.Fail(f"{error} (come back in {error.after / 3600:.1f} hours)") from error
            raise trouper.Again(str(error), after=error.after) from error

    return model


async def converse(ctx: trouper.JobContext, completions: Completions, prompt: str) -> dict[str, Any]:
    """Both calls, without those that an earlier attempt finished.

    Raises ``Unavailable``, ``Refused``; what was finished before is saved.
    """
    saved: dict[str, Any] = ctx.saved or {}
    if not saved:
        name = await completions.model()
        await ctx.progress(0, 2, f"asking {name}")
        answer = await _answer(ctx, completions, name, prompt)
        saved = {"model": name, "answer": answer}
        await ctx.savepoint(saved)
    if "title" not in saved:
        await ctx.progress(1, 2, "finding a title")
        title = await _title(completions, saved["model"], prompt, saved["answer"])
        if title:
            await ctx.emit("title", {"title": title})
        saved = {**saved, "title": title}
        await ctx.savepoint(saved)
    await ctx.progress(2, 2, None)
    return {"model": saved["model"], "title": saved["title"]}


async def _answer(ctx: trouper.JobContext, completions: Completions, name: str, prompt: str) -> str:
    """Stream the answer to the page; returns its beginning."""
    excerpt = ""

    async def on_text(piece: str) -> None:
        nonlocal excerpt
        await ctx.write(piece)
        if len(excerpt) < EXCERPT:
            excerpt = (excerpt + piece)[:EXCERPT]

    await completions.complete(name, [{"role": "user", "content": prompt}], on_text)
    if not excerpt:
        await ctx.write("*(The model had nothing to say.)*")
    return excerpt


async def _title(completions: Completions, name: str, prompt: str, answer: str) -> str:
    """A line that says what it is about; empty if the model will not give one (the answer stands anyway)."""
    messages = [
        {"role": "user", "content": prompt[:EXCERPT]},
        {"role": "assistant", "content": answer},
        {
            "role": "user",
            "content": "Give this conversation a title of at most six words. Reply with the title only.",
        },
    ]
    text = ""

    async def on_text(piece: str) -> None:
        nonlocal text
        text += piece

    try:
        await completions.complete(name, messages, on_text)
    except Refused:
        return ""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return line.strip().strip("\"'#*“”").strip()[:MAX_TITLE]
