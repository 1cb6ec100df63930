"""``--demo``: a parent process that starts the server again when it was killed."""

from __future__ import annotations

import http.client
import os
import signal
from contextlib import aclosing
from pathlib import Path

import pytest

import trouper
from tests.chat.server import ChatServer, chat_server
from tests.chat.support import (
    aside,
    ask,
    check_integrity,
    check_whole,
    client_of,
    has_ended,
    log_in,
    stopped,
    transcript_of,
)
from tests.examples.fake_openai import Says, Stalls, fake_openai

pytestmark = pytest.mark.slow


def serving_pid(server: ChatServer) -> int:
    """The process that holds the database: the child."""
    return int(Path(f"{server.database}.lock").read_text("ascii"))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def press_kill(server: ChatServer) -> None:
    """The button: nobody is left to answer."""
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask(server, "POST", "/demo/kill", "", origin=server.url)


@pytest.mark.clause("J6", "N1", "O6")
async def test_a_killed_server_comes_back_on_its_port_and_the_job_goes_on(tmp_path: Path) -> None:
    async with fake_openai(Stalls(("Half of ",)), Says(("All ", "of it.")), Says(("Title",))) as model:
        environ = {"OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": "small-1"}
        with chat_server(tmp_path, "--demo", environ=environ) as server:
            port, first = server.port, serving_pid(server)
            cookie = log_in(server, "ada").cookie
            assert ask(server, "GET", "/config.json", cookie=cookie).json["demo"] is True
            async with client_of(server, cookie) as client:
                job_id = (await client.submit("model", {"prompt": "Say something."})).id
                async with aclosing(client.output(job_id)) as output:
                    async for item in output:
                        if isinstance(item, trouper.Text):
                            break
                await aside(press_kill, server)
                transcript, _ = await transcript_of(client, job_id)
                assert transcript.text == "All of it."
                assert check_whole(server, job_id, transcript.end, "completed") == ("completed", 2, 1)
                await has_ended(client, job_id)
                assert [each.job for each in client.feed.notifications] == [job_id]
            second = serving_pid(server)
            assert second not in (first, server.pid)
            assert not is_alive(first)
            assert server.port == port
            assert ask(server, "GET", "/config.json", cookie=cookie).json["user"] == "ada"
            assert await aside(server.stop) == 0
            assert not is_alive(second)
            assert [line for line in server.output if "listening" not in line] == [
                "the server was killed: starting it again\n"
            ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_parent_stops_both(tmp_path: Path, number: int) -> None:
    with chat_server(tmp_path, "--demo") as server:
        child = serving_pid(server)
        assert server.stop(number) == 0
        assert not is_alive(child)
        assert server.output == [f"listening on http://127.0.0.1:{server.port}\n"]
        check_integrity(server.database)


async def test_ctrl_c_in_a_terminal_reaches_the_server_once(tmp_path: Path) -> None:
    """A terminal sends it to the whole group of processes; twice would mean to end at once."""
    with chat_server(tmp_path, "--demo", own_group=True) as server:
        child = serving_pid(server)
        async with client_of(server, log_in(server, "ada").cookie) as client:
            await client.wait_connected()

            def press_ctrl_c() -> int:
                os.killpg(server.pid, signal.SIGINT)
                return server.wait()

            assert await stopped(client, press_ctrl_c) == (0, 4001)
        assert not is_alive(child)


def test_a_parent_that_is_killed_leaves_no_server_behind(tmp_path: Path) -> None:
    with chat_server(tmp_path, "--demo") as server:
        server.kill()  # which waits until nobody holds its output any more
        check_integrity(server.database)
        server.start()
        assert server.stop() == 0


def test_a_server_that_cannot_start_is_not_started_again(tmp_path: Path) -> None:
    server = ChatServer(tmp_path, "--demo")
    server.database.write_bytes(b"not a database\n")
    with pytest.raises(AssertionError, match=r"did not start: examples\.chat: .* is not a database"):
        server.start()
    assert server.wait() == 1
    assert len(server.output) == 1


def test_another_site_cannot_press_the_button(tmp_path: Path) -> None:
    with chat_server(tmp_path, "--demo") as server:
        pid = serving_pid(server)
        assert ask(server, "POST", "/demo/kill", "", origin="http://evil.example").status == 403
        assert ask(server, "GET", "/demo/kill").status == 405
        assert serving_pid(server) == pid
        assert is_alive(pid)
