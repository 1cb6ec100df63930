"""Stopping the chat server by a signal, while a job runs: in order, and at once."""

from __future__ import annotations

import signal
from contextlib import aclosing
from pathlib import Path

import pytest

import trouper
from tests.chat.server import ChatServer, chat_server
from tests.chat.stubborn import stubborn_session
from tests.chat.support import (
    aside,
    check_integrity,
    check_whole,
    client_of,
    has_ended,
    log_in,
    stopped,
    transcript_of,
)
from tests.examples.fake_openai import FakeOpenAI, Says, Stalls, fake_openai
from trouper.transport.client_streams import Output

pytestmark = pytest.mark.slow

ROW = "SELECT state, reason, attempt, attempts_used, savepoint FROM jobs WHERE id = ?"


async def until_behind_a_savepoint(server: ChatServer, output: Output) -> int:
    """Read until the job has saved and has written more since; the savepoint.

    A report does so early: it saves behind its introduction and writes the heading of its first package,
    which then takes seconds.
    """
    async for _ in output:
        savepoint: int = server.rows(ROW, output.job_id)[0][-1]
        if 0 < savepoint < output.received[1]:
            return savepoint
    raise AssertionError("the job has ended")


async def next_rewind(output: Output) -> trouper.Rewind:
    async for item in output:
        if isinstance(item, trouper.Rewind):
            return item
    raise AssertionError("the job has ended")


async def next_text(output: Output) -> trouper.Text:
    """The next piece of text; progress may come before it."""
    async for item in output:
        if isinstance(item, trouper.Text):
            return item
        assert isinstance(item, trouper.Progress)
    raise AssertionError("the job has ended")


@pytest.mark.clause("E3", "J5", "O3")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
async def test_a_stopped_server_releases_its_job_which_goes_on_at_the_next_start(
    tmp_path: Path, small_python: Path, number: int
) -> None:
    with chat_server(tmp_path, python=small_python) as server:
        async with client_of(server, log_in(server, "ada").cookie) as client:
            job_id = (await client.submit("report")).id
            async with aclosing(client.output(job_id)) as output:
                savepoint = await until_behind_a_savepoint(server, output)
                assert await stopped(client, server.stop, number) == (0, 4001)
                assert "Traceback" not in "".join(server.output)
                check_integrity(server.database)
                assert server.rows(ROW, job_id) == [("queued", "released", 1, 0, savepoint)]

                await aside(server.start)
                rewind = await next_rewind(output)
                assert (rewind.attempt, rewind.keep) == (2, savepoint)
                await next_text(output)
            assert (await client.cancel(job_id)).answer == "accepted"
            ended = await has_ended(client, job_id)
            assert (ended.state, ended.attempt) == ("cancelled", 2)
            assert client.feed.notifications == ()  # who cancels needs no telling


@pytest.mark.clause("E3", "N1", "O6")
async def test_a_job_that_was_released_ends_once_and_is_told_of_once(tmp_path: Path) -> None:
    async with fake_openai(Stalls(("What ", "was said")), Says(("All of it.",)), Says(("A title",))) as model:
        with chat_server(tmp_path, environ=environ_of(model)) as server:
            async with client_of(server, log_in(server, "ada").cookie) as client:
                job_id = (await client.submit("model", {"prompt": "Say something."})).id
                async with aclosing(client.output(job_id)) as output:
                    await anext(output)
                    assert await stopped(client, server.stop, signal.SIGTERM) == (0, 4001)
                await aside(server.start)
                transcript, _ = await transcript_of(client, job_id)
                assert transcript.text == "All of it."
                assert check_whole(server, job_id, transcript.end, "completed") == ("completed", 2, 0)
                await has_ended(client, job_id)
                assert [each.job for each in client.feed.notifications] == [job_id]


def environ_of(model: FakeOpenAI) -> dict[str, str]:
    return {"OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": "small-1"}


@pytest.mark.clause("S1", "J6")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
async def test_a_second_signal_ends_it_at_once_and_the_job_goes_on_all_the_same(
    tmp_path: Path, small_python: Path, number: int
) -> None:
    with chat_server(tmp_path, python=small_python) as server:
        cookie = log_in(server, "ada").cookie
        async with client_of(server, cookie) as client:
            job_id = (await client.submit("report")).id
            async with aclosing(client.output(job_id)) as output:
                savepoint = await until_behind_a_savepoint(server, output)

                def stop_twice() -> int:
                    with stubborn_session(server, cookie) as session:
                        server.send_signal(number)
                        assert session.wait_told_to_close() == 4001
                        return server.stop(number)

                assert await aside(stop_twice) == -number
                assert "Traceback" not in "".join(server.output)
                check_integrity(server.database)
                row = server.rows(ROW, job_id)[0]
                assert row[0] in ("queued", "running")

                await aside(server.start)
                rewind = await next_rewind(output)
                assert (rewind.attempt, rewind.keep) == (2, savepoint)
                await next_text(output)
            await client.cancel(job_id)
            assert (await has_ended(client, job_id)).state == "cancelled"


def test_a_session_that_does_not_answer_the_close_holds_up_a_stop_for_a_moment_only(tmp_path: Path) -> None:
    with (
        chat_server(tmp_path) as server,
        stubborn_session(server, log_in(server, "ada").cookie),
    ):
        assert server.stop() == 0
