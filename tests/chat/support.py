"""What the tests of the chat server ask it, and how."""

from __future__ import annotations

import http.client
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import attrs
import trio

import trouper
from tests.chat.server import ROOT, ChatServer
from trouper.actors.output_pieces import End, Transcript
from trouper.transport.client_options import ClientOptions

T = TypeVar("T")

PATIENCE_S = 60.0
"""What has not happened after so long does not happen."""
_EAGER = ClientOptions(backoff_base_s=0.05, backoff_max_s=0.2)


@attrs.frozen
class Answer:
    """A whole HTTP response; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def cookie(self) -> str:
        """The cookie that it sets, as it is to be sent back."""
        return self.headers["set-cookie"].partition(";")[0]


def ask(server: ChatServer, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
    """One request on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)) as connection:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        got = {name.lower(): value for name, value in response.getheaders()}
        # What was upgraded has no end.
        return Answer(response.status, got, "" if response.status == 101 else response.read().decode())


def log_in(server: ChatServer, name: str | bytes, **headers: str) -> Answer:
    return ask(
        server,
        "POST",
        "/login",
        urlencode({"name": name}),
        origin=headers.pop("origin", server.url),
        **headers,
    )


def upgrade(server: ChatServer, **headers: str) -> Answer:
    """Ask for the WebSocket, and go away again."""
    wanted = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec_websocket_version": "13",
        "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec_websocket_protocol": "trouper.v1",
    }
    return ask(server, "GET", "/ws", **{**wanted, **headers})


@asynccontextmanager
async def client_of(server: ChatServer, cookie: str) -> AsyncIterator[trouper.Client]:
    """A client that comes back quickly; all of it bounded."""
    with trio.fail_after(2 * PATIENCE_S):
        async with trouper.connect(server.url, headers=[("cookie", cookie)], options=_EAGER) as client:
            yield client


async def aside(call: Any, *arguments: Any) -> Any:
    """Wait for a process without holding up what else goes on here."""
    return await trio.to_thread.run_sync(call, *arguments)


async def stopped(client: trouper.Client, stop: Any, *arguments: Any) -> tuple[int, int | None]:
    """Stop the server of a client by ``stop``: (its exit code, what the connection was closed with)."""
    codes: list[int | None] = []

    async def watch() -> None:
        while (connection := client.connection).state == "connected":
            await client.wait_connection_changed()
        codes.append(connection.code)

    with trio.fail_after(10):  # the grace of jobs and of sessions, and then some
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            exit_code: int = await aside(stop, *arguments)
    return exit_code, codes[0]


async def transcript_of(client: trouper.Client, job_id: str) -> tuple[Transcript, list[Any]]:
    """All of a job's output until its end, and the rewinds that came in between."""
    transcript, rewinds = Transcript(), []
    async with aclosing(client.output(job_id)) as items:
        async for item in items:
            transcript.add(item)
            if isinstance(item, trouper.Rewind):
                rewinds.append(item)
    return transcript, rewinds


async def has_ended(client: trouper.Client, job_id: str) -> Any:
    """The row of a job on the feed when it has ended."""
    async with aclosing(client.changes()) as changes:
        async for change in changes:
            for job in change.jobs:
                if job.id == job_id and job.ended:
                    return job
    raise AssertionError("the feed has no end")


def check_whole(server: ChatServer, job_id: str, end: End | None, *states: str) -> tuple[str, int, int]:
    """One terminal state, one notification, an output that the client verified: (state, attempt, used)."""
    rows = server.rows("SELECT state, attempt, attempts_used, entries, sha256 FROM jobs WHERE id = ?", job_id)
    assert len(rows) == 1
    state, attempt, used, entries, sha256 = rows[0]
    assert state in states
    assert end is not None
    assert end.verified
    assert (end.entries, end.sha256) == (entries, sha256)
    assert server.rows("SELECT kind, key FROM notifications WHERE job = ?", job_id) == [("ended", "")]
    return state, attempt, used


def check_integrity(database: Path) -> None:
    """For a database that nobody holds: what a process left behind can be read, as it was left."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def run_to_its_end(*options: str) -> subprocess.CompletedProcess[str]:
    """``python -m examples.chat`` where it is not to start."""
    command = [sys.executable, "-m", "examples.chat", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
