"""``python -m tests.torture.server FOLDER PORT [SITE OCCURRENCE]``: serves ``FOLDER/store.db``, prints the
port that it listens at, and kills itself when it comes to a fault point for the n-th time."""

from __future__ import annotations

import functools
import os
import signal
import sys
from pathlib import Path

import trio

import trouper
from tests.torture.jobs import GRACE_S, JOBS, SCENE
from tests.transport.ws_peer import by_token
from trouper.actors.options import JobLimits
from trouper.transport.gateway import Gateway


def killer(site: str, occurrence: int) -> trouper.Seams:
    """Seams that end the process there. What it was at is written down first: that outlives it."""
    passed = 0

    def fault(at: str) -> None:
        nonlocal passed
        passed += at == site
        if at == site and passed == occurrence:
            SCENE.note("deaths.jsonl", site=site, running=SCENE.running)
            os.kill(os.getpid(), signal.SIGKILL)

    return trouper.Seams(fault=fault)


async def main(folder: Path, port: int, seams: trouper.Seams) -> None:
    options = trouper.RuntimeOptions(jobs=JobLimits(grace_s=GRACE_S))
    SCENE.folder, SCENE.fault = folder, seams.fault
    async with (
        trouper.open_runtime(
            f"sqlite:///{folder / 'store.db'}",
            jobs=JOBS,
            seams=seams,
            options=options,
            on_report=lambda _: None,
        ) as SCENE.runtime,
        trio.open_nursery() as nursery,
    ):
        gateway: Gateway = await nursery.start(
            functools.partial(trouper.serve, SCENE.runtime, port=port, authenticate=by_token)
        )
        print(gateway.port, flush=True)


if __name__ == "__main__":
    fault_point = sys.argv[3:] or ["none", "0"]
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), killer(fault_point[0], int(fault_point[1])))
