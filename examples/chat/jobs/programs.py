"""Running a short program and taking its answer, with every bound that this needs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

MAX_ANSWER_BYTES = 8 * 1024 * 1024


class ProgramFailed(Exception):
    """A program gave no answer; says why."""


async def answer_of(
    command: Sequence[str],
    *,
    timeout_s: float,
    folder: Path,
    with_errors: bool = False,
    max_bytes: int = MAX_ANSWER_BYTES,
) -> bytes:
    """Run ``command`` in ``folder`` and return what it printed.

    Args:
        timeout_s: seconds until it is killed.
        with_errors: take its standard error along; by default that is thrown away.
        max_bytes: of output; a program that prints more is killed.

    Raises:
        ProgramFailed: it could not be started, took too long, printed too much or ended badly.

    **Cancellation** kills the program and waits until it is gone.
    """
    errors = subprocess.STDOUT if with_errors else subprocess.DEVNULL
    output = bytearray()
    process: trio.Process | None = None
    try:
        with trio.move_on_after(timeout_s) as scope:
            async with trio.open_nursery() as nursery:
                process = await nursery.start(
                    partial(
                        trio.run_process,
                        list(command),
                        stdout=subprocess.PIPE,
                        stderr=errors,
                        cwd=folder,
                        check=False,
                        deliver_cancel=_kill,
                    )
                )
                assert process is not None
                assert process.stdout is not None
                async for piece in process.stdout:
                    output += piece
                    if len(output) > max_bytes:
                        nursery.cancel_scope.cancel()
    except* OSError as group:
        raise ProgramFailed(f"could not be started: {group.exceptions[0]}") from None
    if scope.cancelled_caught:
        raise ProgramFailed(f"took more than {timeout_s:g} s")
    if len(output) > max_bytes:
        raise ProgramFailed(f"printed more than {max_bytes} bytes")
    if process is None or process.returncode:
        status = process.returncode if process else "unknown"
        raise ProgramFailed(f"ended with status {status}")
    return bytes(output)


async def _kill(process: trio.Process) -> None:
    process.kill()  # it has nothing to put in order
