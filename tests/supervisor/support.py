"""What the tests of the runtime share: a few jobs, and a runtime on the memory store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

import trouper


@trouper.job(client=True)
async def echo(ctx: trouper.JobContext, *, text: str) -> dict[str, int]:
    for character in text:
        await ctx.write(character)
    return {"length": len(text)}


@trouper.job
async def forever(ctx: trouper.JobContext) -> None:
    await ctx.write("begun")
    await trio.sleep_forever()


@trouper.job
async def broken(ctx: trouper.JobContext) -> None:
    await ctx.write("so far")
    raise ValueError("no such model")


class VirtualWall:
    """A wall clock that goes with trio's."""

    @staticmethod
    def seams() -> trouper.Seams:
        return trouper.Seams(wall=lambda: 1_000_000.0 + trio.current_time())


Open = Callable[..., AbstractAsyncContextManager[trouper.Runtime]]


def opener() -> Open:
    """Open a runtime whose reports are collected in ``runtime.reports``-like lists by the caller."""

    @asynccontextmanager
    async def open_one(
        *jobs: Any, reports: list[trouper.Report] | None = None, **options: Any
    ) -> AsyncIterator[trouper.Runtime]:
        heard = [] if reports is None else reports
        async with trouper.open_runtime("memory:", jobs=jobs, on_report=heard.append, **options) as runtime:
            yield runtime

    return open_one
