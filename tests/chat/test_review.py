"""The job *review* over the wire: it asks, the server is killed while it waits and as it is answered."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trio

import trouper
from tests.chat.server import ChatServer, chat_server
from tests.chat.support import (
    aside,
    check_integrity,
    client_of,
    has_ended,
    log_in,
    transcript_of,
)
from trouper.transport.client_errors import CommandFailed

pytestmark = pytest.mark.slow

ROW = "SELECT state, reason, attempt, attempts_used FROM jobs WHERE id = ?"
ANSWER = {"most": 1, "depth": "facts only", "name": "o"}


async def asking(client: trouper.Client, job_id: str) -> dict[str, Any]:
    """The open question of a job on the feed."""
    async with aclosing(client.changes()) as changes:
        async for change in changes:
            for job in change.jobs:
                if job.id == job_id and job.asking is not None:
                    question: dict[str, Any] = dict(job.asking)
                    return question
    raise AssertionError("the feed has no end")


def check_told(server: ChatServer, job_id: str) -> None:
    """One question and one end, each told of once."""
    query = "SELECT kind, key FROM notifications WHERE job = ? ORDER BY kind"
    assert server.rows(query, job_id) == [("ended", ""), ("question", "choice.1")]


@pytest.mark.clause("J6", "J8", "N1")
async def test_a_question_outlives_a_kill_and_is_answered_once(tmp_path: Path, small_python: Path) -> None:
    with chat_server(tmp_path, python=small_python) as server:
        cookie = log_in(server, "ada").cookie
        async with client_of(server, cookie) as client, client_of(server, cookie) as other:
            job_id = (await client.submit("review")).id
            question = await asking(client, job_id)
            assert question["question"] == "Which packages, and how closely?"
            assert list(question["schema"]["properties"]) == ["name", "most", "depth", "summary"]
            await aside(server.kill)
            check_integrity(server.database)
            assert server.rows(ROW, job_id) == [("queued", "question", 1, 0)]
            await aside(server.start)

            assert await asking(other, job_id) == question
            with pytest.raises(
                CommandFailed, match=r"the answer\.most is 4; legal are numbers from 1 up to 3"
            ):
                await client.answer(job_id, "choice.1", {**ANSWER, "most": 4})
            assert await other.answer(job_id, "choice.1", ANSWER) == "accepted"
            assert await client.answer(job_id, "choice.1", {**ANSWER, "most": 2}) == "already_answered"
            await aside(server.kill)
            await aside(server.start)
            transcript, _ = await transcript_of(client, job_id)
            assert "As chosen: 1 package, of 2 whose name holds `o`.\n" in transcript.text
            ended = await has_ended(client, job_id)
            assert ended.state == "completed"
            check_told(server, job_id)
        assert await aside(server.stop) == 0


@pytest.mark.clause("J6", "J7", "J8", "N1")
@pytest.mark.parametrize("point", ["output.appended:1", "output.committed:1", "finish.begun:1"])
async def test_an_answer_and_a_message_are_not_lost_where_the_server_dies_after_them(
    tmp_path: Path, small_python: Path, point: str
) -> None:
    with chat_server(tmp_path, python=small_python) as server:
        async with client_of(server, log_in(server, "ada").cookie) as client:
            job_id = (await client.submit("review")).id
            await asking(client, job_id)
            assert await client.signal(job_id, {"text": "hello"}, key="m1") == "accepted"
            await aside(server.kill)
            server.options = ("--kill-at", point)  # of the attempt that finds the answer
            await aside(server.start)
            async with trio.open_nursery() as nursery:
                # Dead before it could tell: the client sends it again to the next one.
                nursery.start_soon(client.answer, job_id, "choice.1", ANSWER)
                await aside(server.wait_killed)
                server.options = ()
                await aside(server.start)
            transcript, _ = await transcript_of(client, job_id)
            assert (await has_ended(client, job_id)).state == "completed"
            assert transcript.text.count("> **ada**: hello\n") == 1
            assert transcript.text.count("As chosen: 1 package") == 1
            check_told(server, job_id)
