"""The jobs of the tortured server. Every entry is a line ``<attempt>:<number>``, so that a copy tells by
itself what it is a copy of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

import trouper
from trouper.store.protocol import (
    Append,
    Appended,
    AppendFailed,
    EndingKind,
    Finish,
    RefusalReason,
    Refused,
    Savepoint,
)

PACE_S = 0.004
STEADY = trouper.Retry(attempts=1000, backoff=trouper.Backoff(base=0.001))


@attrs.define
class Scene:
    """What the jobs of this process have of the world around them. One, since a job is a function."""

    runtime: trouper.Runtime | None = None
    folder: Path = Path()
    running: int = 0
    """Attempts whose function is under way."""
    fault: Callable[[str], object] = lambda _: None
    """Where it may die, in code of the application's own."""

    def note(self, file: str, **what: object) -> None:
        """Append a line to a file, whole or not at all, whatever comes after."""
        with (self.folder / file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(what) + "\n")


SCENE = Scene()


class LateOutput:
    """Output of an attempt that is over, offered to the store as if it had been under way for long."""

    def __init__(self, request: Append) -> None:
        self._request: Append | None = request
        self.result: Appended | Refused | AppendFailed | None = None
        self.told = trio.Event()

    def take(self) -> Append | None:
        request, self._request = self._request, None
        return request

    def settled(self, result: Appended | Refused | AppendFailed) -> None:
        self.result = result
        self.told.set()


async def haunt(job_id: str) -> None:
    """Write as the attempt before would, whose process was taken for dead: with its fence."""
    assert SCENE.runtime is not None
    store = SCENE.runtime.store
    job = await store.job(job_id)
    assert job is not None
    late = job.fence - 1
    output = LateOutput(Append(job_id, late, job.entries, ("late\n",), 0))
    store.dirty(output)
    await output.told.wait()
    saved = await store.savepoint(Savepoint(job_id, late, job.entries, '"late"', 0))
    ended = await store.finish(
        Finish(
            job_id=job_id,
            fence=late,
            kind=EndingKind.FAILED,
            entries=job.entries,
            sha256="0" * 64,
            used_ms=0,
            error="late",
        )
    )
    for what, result in (("output", output.result), ("savepoint", saved), ("end", ended)):
        refused = isinstance(result, Refused) and result.reason is RefusalReason.FENCED
        SCENE.note("late.jsonl", what=what, job=job_id, refused=refused, result=repr(result)[:200])


@asynccontextmanager
async def at_work(ctx: trouper.JobContext) -> AsyncIterator[None]:
    """Count what is under way; a later attempt is haunted by the one before it."""
    SCENE.running += 1
    try:
        if ctx.attempt > 1:
            await haunt(ctx.job_id)
        yield
    finally:
        SCENE.running -= 1


async def tell(ctx: trouper.JobContext, start: int, lines: int, *, save: bool = True) -> None:
    for number in range(start, lines):
        await ctx.write(f"{ctx.attempt}:{number}\n")
        if save and number % 4 == 3:
            await ctx.savepoint(number + 1)
        await trio.sleep(PACE_S)


@trouper.job(client=True, retry=STEADY)
async def tale(ctx: trouper.JobContext, *, lines: int) -> int:
    """Goes on from its savepoints until it is told; tells of its middle."""
    async with at_work(ctx):
        await tell(ctx, ctx.saved or 0, lines // 2)
        await ctx.notify(key="half", title="half of it")
        await tell(ctx, max(ctx.saved or 0, lines // 2), lines)
    return ctx.attempt


@trouper.job(client=True, retry=STEADY)
async def charge(ctx: trouper.JobContext, *, lines: int) -> str:
    """Has a step that must not be repeated."""
    async with at_work(ctx):
        await tell(ctx, ctx.saved or 0, 2, save=False)
        if ctx.saved is None:
            async with ctx.unsafe("charge"):
                SCENE.note("charges.jsonl", job=ctx.job_id)
                SCENE.fault("charge.begun")
                await trio.sleep(2 * PACE_S)
                await ctx.savepoint(2)
        await tell(ctx, 2, lines, save=False)
    return "charged"


@trouper.job(client=True, on_process_death="end")
async def once(ctx: trouper.JobContext, *, lines: int) -> None:
    """Is lost with its process."""
    async with at_work(ctx):
        await tell(ctx, 0, lines)


@trouper.job(client=True, retry=STEADY)
async def fails(ctx: trouper.JobContext, *, lines: int) -> None:
    """Crashes, and fails for good when it is tried a third time."""
    async with at_work(ctx):
        await tell(ctx, ctx.saved or 0, lines)
    if ctx.attempt < 3:
        raise RuntimeError("again")
    raise trouper.Fail("for good")


@trouper.job(client=True, retry=STEADY, notify_on=("cancelled", "completed", "failed", "lost"))
async def sleeper(ctx: trouper.JobContext) -> None:
    """Ends only if somebody has it end, and that is told of."""
    async with at_work(ctx):
        await ctx.write(f"{ctx.attempt}:0\n")
        await trio.sleep_forever()


@trouper.job(client=True, retry=STEADY)
async def stubborn(ctx: trouper.JobContext) -> None:
    """Does not end when it is told to, and writes when it is over."""
    async with at_work(ctx):
        await ctx.write(f"{ctx.attempt}:0\n")
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(GRACE_S / 2)
                SCENE.fault("cancel.told")
                await trio.sleep(2 * GRACE_S)
            await ctx.write(f"{ctx.attempt}:1\n")  # noqa: ASYNC102  # refused, by then


GRACE_S = 0.1
"""How long a job of the tortured server may take to end."""


@trouper.job(client=True, retry=STEADY)
async def revoke(ctx: trouper.JobContext, *, key: str) -> str:
    """Cancels by key, whether that job has come yet or not."""
    assert SCENE.runtime is not None
    async with at_work(ctx):
        return str((await SCENE.runtime.cancel_key(key, user=ctx.user)).answer)


@trouper.job(client=True, retry=STEADY)
async def steered(ctx: trouper.JobContext, *, lines: int) -> None:
    """Writes what it is told, line by line, until it has been told all."""
    async with at_work(ctx):
        number = ctx.saved or 0
        if number == lines:
            return
        async for message in ctx.messages:
            await ctx.write(f"{ctx.attempt}:{message.data}\n")
            number += 1
            if number % 2 == 0 or number == lines:
                await ctx.savepoint(number)
            if number == lines:
                return


@trouper.job(client=True, retry=STEADY)
async def asks(ctx: trouper.JobContext, *, questions: int) -> list[str]:
    """Asks one thing after the other; what it was told is its result."""
    answers = []
    async with at_work(ctx):
        for number in range(questions):
            answers.append(await ctx.ask_user(f"what is {number}?", key=str(number)))
            if number >= (ctx.saved or 0):
                await ctx.write(f"{ctx.attempt}:{number}\n")
                await ctx.savepoint(number + 1)
    return answers


JOBS = (tale, charge, once, fails, sleeper, stubborn, revoke, steered, asks)


async def has_ended(job: trouper.Job) -> None:
    """What the application does when a job has ended."""
    SCENE.fault("hook.begun")
    SCENE.note("ended.jsonl", job=job.id, state=job.state.value)
    SCENE.fault("hook.noted")


for spec in JOBS:
    spec.on_ended(has_ended)
