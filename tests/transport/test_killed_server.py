"""SIGKILL at every fault point, while a client watches: what it holds at the end, and what it was told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import trouper
from tests.torture.database import opened
from tests.transport.killed_server import LINES, line

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0


class Life:
    """The server's lives, one after the other, on one database and one port."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.port = 0
        self._process: trio.Process | None = None

    async def start(self, *fault_point: str) -> None:
        command = [sys.executable, "-m", "tests.transport.killed_server", str(self.database), str(self.port)]
        self._process = await trio.lowlevel.open_process(
            [*command, *fault_point], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        said = await self._process.stdout.receive_some()
        assert said, "it did not start"
        self.port = int(said)

    async def end(self) -> int:
        """Wait until it has died; its exit code."""
        process, self._process = self._process, None
        assert process is not None
        assert process.stdout is not None
        code = await process.wait()
        await process.stdout.aclose()
        return code

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self.end()


@asynccontextmanager
async def open_life(database: Path, *fault_point: str) -> AsyncIterator[Life]:
    life = Life(database)
    try:
        with trio.fail_after(PATIENCE_S):
            await life.start(*fault_point)
            yield life
    finally:
        with trio.move_on_after(5, shield=True):
            await life.kill()


@pytest.mark.clause("J6", "N1", "O2", "O3", "O6")
@pytest.mark.parametrize(
    ("site", "occurrence", "attempts"),
    [
        ("admit.begun", 1, 1),
        ("admit.committed", 1, 1),
        ("claim.begun", 2, 1),
        ("claim.committed", 2, 2),
        ("output.appended", 1, 2),
        ("output.appended", 3, 2),
        ("output.committed", 1, 2),
        ("output.committed", 3, 2),
        ("output.committed", 4, 2),
        ("finish.begun", 1, 2),
        ("finish.committed", 1, 1),
    ],
)
async def test_a_client_outlives_a_kill_at_any_point_with_all_of_it_once(
    tmp_path: Path, site: str, occurrence: int, attempts: int
) -> None:
    options = trouper.ClientOptions(backoff_base_s=0.02, backoff_max_s=0.1)
    async with open_life(tmp_path / "chat.db", site, str(occurrence)) as life:
        url = f"ws://127.0.0.1:{life.port}"
        async with trouper.connect(url, token="ada", options=options) as client:
            async with trio.open_nursery() as nursery:

                async def live_on() -> None:
                    assert await life.end() == -signal.SIGKILL
                    await until_all_is_shown(client)
                    check_shown(transcript, life.database)
                    await life.start()

                nursery.start_soon(live_on)
                transcript = trouper.Transcript()
                job = await client.submit("ledger", thread="t1", key="k1")
                async with aclosing(client.output(job.id)) as output:
                    async for item in output:
                        transcript.add(item)
            await check(client, job.id, transcript, attempts)
            await life.kill()
            await life.start()
            await check(client, job.id, transcript, attempts)
            assert client.frames.connections >= 3


async def until_all_is_shown(client: trouper.Client) -> None:
    """What came before the death has reached who reads it."""
    while client.connection.state == "connected":
        await client.wait_connection_changed()
    await trio.testing.wait_all_tasks_blocked()


def check_shown(transcript: trouper.Transcript, path: Path) -> None:
    """Whatever a person has seen is in the file that the dead have left."""
    with opened(path) as database:
        entries: list[Any] = [entry for job in database.jobs().values() for entry in database.log(job)]
    texts = [entry for entry in entries if isinstance(entry, str)]
    events = [(entry[0], json.loads(entry[1])) for entry in entries if not isinstance(entry, str)]
    assert "".join(texts).startswith(transcript.text)
    assert events[: len(transcript.events)] == transcript.events


async def check(client: trouper.Client, job_id: str, transcript: trouper.Transcript, attempts: int) -> None:
    """What the client holds is what the job wrote, and each notification came once."""
    assert transcript.text == "".join(map(line, range(LINES)))
    assert transcript.events == [("line", number) for number in range(LINES)]
    assert transcript.end is not None
    assert transcript.end.verified
    ended = await client.job(job_id)
    assert (ended.state, ended.attempt, ended.entries) == ("completed", attempts, 2 * LINES)
    assert [row.id for row in await client.jobs()] == [job_id]
    told = sorted((row.kind, row.key) for row in await client.notifications())
    assert told == sorted([("ended", ""), *(("message", str(number)) for number in range(2, LINES, 3))])
    assert await client.text(job_id) == transcript.text
