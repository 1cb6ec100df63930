"""A program that serves one flood of output, and tells what it holds while somebody does not read it.

Started as a subprocess, so that its memory is its own: ``python -m tests.transport.slow_server``. It
prints ``{"port": …}`` and then answers each line of its input with a line of JSON:

* ``flood``: lets the job ``flood`` write; answered when all that it writes at first is committed
* ``finish``: lets ``flood`` write its last lines and end; answered when it has ended
* ``statistics``: of the gateway, of the runtime and of every channel of ada's; and the resident memory

It ends with its input. Its send buffers are small, or the system would swallow a whole window, and the
gateway would never have anything pending.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import random
import socket
import sys
from pathlib import Path
from typing import Any

import attrs
import trio

import trouper
from trouper.transport.gateway import Gateway

FLOOD_BYTES = 10 * 1024 * 1024
SEND_BUFFER_BYTES = 16 * 1024
STATUS = Path("/proc/self/status")

_WORDS = (
    "output",
    "naïve",
    "straße",
    "日本語",
    "🎪",
    '"quoted"',
    "back\\slash",
    "line\n",
    "tab\t",
    "–",
    "\x7f",
)


class _SmallBuffers(trio.abc.SocketFactory):
    """Sockets that the system buffers little for; what a listener accepts inherits it."""

    def socket(self, family: int = -1, type: int = -1, proto: int = -1) -> trio.socket.SocketType:
        plain = socket.socket(family, type, proto)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        return trio.socket.from_stdlib_socket(plain)


@attrs.define
class Gates:
    """What the jobs wait for, and what they tell."""

    begin: trio.Event = attrs.field(factory=trio.Event)
    produced: trio.Event = attrs.field(factory=trio.Event)
    finish: trio.Event = attrs.field(factory=trio.Event)
    job_id: str = ""
    bytes: int = 0


GATES = Gates()


@trouper.job(client=True)
async def flood(ctx: trouper.JobContext) -> int:
    """10 MB of texts of all sizes, with events in between; the same at every run."""
    dice = random.Random(10)
    GATES.job_id = ctx.job_id
    await GATES.begin.wait()
    while GATES.bytes < FLOOD_BYTES:
        text = " ".join(dice.choices(_WORDS, k=dice.choice((1, 3, 10, 100, 2000))))
        await ctx.write(text)
        GATES.bytes += len(text.encode())
        if dice.random() < 0.05:
            await ctx.emit("place", {"bytes": GATES.bytes, "word": text[:8]})
    GATES.produced.set()
    await GATES.finish.wait()
    await ctx.emit("last", {"bytes": GATES.bytes})
    await ctx.write("the end\n")
    return GATES.bytes


@trouper.job(client=True)
async def echo(ctx: trouper.JobContext, *, text: str) -> None:
    """A neighbour's small job."""
    for letter in text:
        await ctx.write(letter)


def resident_bytes() -> int | None:
    """The resident memory of this process; None where the system does not tell it."""
    gc.collect()
    if not STATUS.exists():
        return None
    line = next(line for line in STATUS.read_text("ascii").splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def statistics(runtime: trouper.Runtime, gateway: Gateway) -> dict[str, Any]:
    channels = runtime._tree.audience.subscribers.of("ada")  # no public way to them, and none is needed
    return {
        "gateway": attrs.asdict(gateway.statistics()),
        "runtime": runtime.statistics(),
        "channels": [attrs.asdict(channel.statistics()) for channel in channels],
        "resident_bytes": resident_bytes(),
    }


def say(**answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def answer(command: str, runtime: trouper.Runtime, gateway: Gateway) -> None:
    match command:
        case "flood":
            GATES.begin.set()
            await GATES.produced.wait()
            job = await runtime.job(GATES.job_id)
            assert job is not None
            say(bytes=GATES.bytes, entries=job.entries)
        case "finish":
            GATES.finish.set()
            job = await runtime.wait(GATES.job_id)
            say(state=job.state, entries=job.entries, sha256=job.sha256)
        case "statistics":
            say(**statistics(runtime, gateway))
        case _:
            say(error=f"{command!r}: legal are flood, finish, statistics")


async def main() -> None:
    trio.socket.set_custom_socket_factory(_SmallBuffers())
    async with (
        trouper.open_runtime("memory:", jobs=[flood, echo]) as runtime,
        trio.open_nursery() as nursery,
    ):
        gateway: Gateway = await nursery.start(
            functools.partial(trouper.serve, runtime, port=0, authenticate=lambda hello: hello.token)
        )
        say(port=gateway.port)
        lines = b""
        async with trio.lowlevel.FdStream(os.dup(0)) as commands:
            async for chunk in commands:
                *whole, lines = (lines + chunk).split(b"\n")
                for line in whole:
                    await answer(line.decode(), runtime, gateway)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
