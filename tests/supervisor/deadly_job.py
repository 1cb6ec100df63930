"""A runtime with a job that kills its process before it has written anything.

``python -m tests.supervisor.deadly_job DATABASE STARTS``: each attempt adds its number to ``STARTS``.
A life in which the job is not begun any more ends by itself, with code 0.
"""

from __future__ import annotations

import os
import signal
import sys

import trio

import trouper

ATTEMPTS = 2


@trouper.job(retry=trouper.Retry(attempts=ATTEMPTS))
async def deadly(ctx: trouper.JobContext) -> None:
    async with await trio.open_file(sys.argv[2], "a") as starts:
        await starts.write(f"{ctx.attempt} ")
    os.kill(os.getpid(), signal.SIGKILL)


async def main(database: str) -> None:
    async with trouper.open_runtime(f"sqlite:///{database}", jobs=[deadly]) as runtime:
        job = await runtime.submit(deadly.call(), user="ada", idempotency_key="k")
        await runtime.wait(job.id)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
