"""The server kills itself at each named point while a job runs; it is started again, and nothing shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.chat.conftest import PACKAGES
from tests.chat.server import chat_server
from tests.chat.support import (
    aside,
    check_integrity,
    check_whole,
    client_of,
    has_ended,
    log_in,
    transcript_of,
)
from trouper.actors.output_pieces import Transcript

pytestmark = pytest.mark.slow

POINTS = {
    "output.appended:1": (2, 1),
    "output.committed:1": (2, 1),
    "output.appended:3": (2, 1),
    "output.committed:3": (2, 1),
    "finish.begun:1": (2, 1),
    "finish.committed:1": (1, 0),
}
"""Where it dies, and (attempt, attempts used) that the job ends with: only one whose end was committed
before is not run again."""


@pytest.mark.clause("J1", "J6", "N1", "O2", "O6")
@pytest.mark.parametrize("point", POINTS)
async def test_a_job_ends_once_and_is_told_of_once_wherever_the_server_is_killed(
    tmp_path: Path, small_python: Path, point: str
) -> None:
    with chat_server(tmp_path, "--kill-at", point, python=small_python) as server:
        async with client_of(server, log_in(server, "ada").cookie) as client:
            job_id = (await client.submit("index", key="once")).id
            transcript = Transcript()

            async def watch() -> None:
                nonlocal transcript
                transcript, _ = await transcript_of(client, job_id)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                await aside(server.wait_killed)
                check_integrity(server.database)
                server.options = ()
                await aside(server.start)
                assert (await client.submit("index", key="once")).id == job_id

            ended = await has_ended(client, job_id)
            whole = check_whole(server, job_id, transcript.end, "completed")
            assert whole == (ended.state, *POINTS[point])
            assert [each.job for each in client.feed.notifications] == [job_id]
            assert server.rows("SELECT COUNT(*) FROM jobs") == [(1,)]
            lines = transcript.text.splitlines()
            assert [line.split()[1] for line in lines if line.startswith("- ")] == list(PACKAGES)
            assert lines[-1].startswith("The index is ")
        assert await aside(server.stop) == 0
        check_integrity(server.database)
