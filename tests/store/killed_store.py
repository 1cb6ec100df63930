"""A program that works on a database until it kills itself at a named fault point.

``python -m tests.store.killed_store DATABASE SITE OCCURRENCE``: runs one job (claiming what is left
of an earlier life), each attempt writing entries up to ``e5`` with a savepoint after ``e2``.
"""

from __future__ import annotations

import os
import signal
import sys

import trio

from tests.store.support import Source, admission, options, sha256
from trouper.store.protocol import Appended, EndingKind, Finish, Savepoint
from trouper.store.records import Entry
from trouper.store.seams import Seams
from trouper.store.urls import create_store


def killer(site: str, occurrence: int) -> Seams:
    count = 0

    def fault(at: str) -> None:
        nonlocal count
        count += at == site
        if at == site and count == occurrence:
            os.kill(os.getpid(), signal.SIGKILL)

    return Seams(fault=fault)


async def main(path: str, site: str, occurrence: int) -> None:
    store = create_store(f"sqlite:///{path}", killer(site, occurrence))
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await store.admit(admission("j1", idempotency_key="k", options=options(attempts=9)))
        claims = await store.claim(1)
        for job in claims.started:
            source = Source(store, job, start=job.entries)
            for number in range(job.entries, 5):
                assert isinstance(await source.commit(f"e{number}"), Appended)
                if number == 1:
                    await store.savepoint(Savepoint("j1", job.fence, 2, '"two"', 0))
            entries: list[Entry] = [f"e{number}" for number in range(5)]
            await store.finish(
                Finish(
                    job_id="j1",
                    fence=job.fence,
                    kind=EndingKind.RETURNED,
                    entries=5,
                    sha256=sha256(entries),
                    used_ms=1,
                )
            )
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
