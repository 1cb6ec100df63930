"""A program that serves a database until it kills itself at a named fault point.

``python -m tests.transport.killed_server DATABASE PORT [SITE OCCURRENCE]``: prints the port that it
listens at. Its one job, ``ledger``, writes lines with a savepoint after every third.
"""

from __future__ import annotations

import functools
import os
import signal
import sys

import trio

import trouper
from tests.transport.ws_peer import by_token
from trouper.transport.gateway import Gateway

LINES = 12


def line(number: int) -> str:
    return f"line {number}: naïve 🎪\n"


@trouper.job(client=True, retry=trouper.Retry(attempts=5, backoff=trouper.Backoff(base=0.001)))
async def ledger(ctx: trouper.JobContext) -> int:
    for number in range(ctx.saved or 0, LINES):
        await ctx.write(line(number))
        await ctx.emit("line", number)
        if number % 3 == 2:
            await ctx.notify(key=f"{number}", title=f"line {number}")  # what was written is committed first
            await ctx.savepoint(number + 1)
    return ctx.attempt


def killer(site: str, occurrence: int) -> trouper.Seams:
    passed = 0

    def fault(at: str) -> None:
        nonlocal passed
        passed += at == site
        if at == site and passed == occurrence:
            os.kill(os.getpid(), signal.SIGKILL)

    return trouper.Seams(fault=fault)


async def main(database: str, port: int, seams: trouper.Seams) -> None:
    async with (
        trouper.open_runtime(f"sqlite:///{database}", jobs=[ledger], seams=seams) as runtime,
        trio.open_nursery() as nursery,
    ):
        gateway: Gateway = await nursery.start(
            functools.partial(trouper.serve, runtime, port=port, authenticate=by_token)
        )
        print(gateway.port, flush=True)


if __name__ == "__main__":
    fault_point = sys.argv[3:] or ["none", "0"]
    trio.run(main, sys.argv[1], int(sys.argv[2]), killer(fault_point[0], int(fault_point[1])))
