"""Starting the chat server: what it prints, and what keeps it from starting."""

from __future__ import annotations

import hashlib
import re
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from examples.chat.server import job_environ
from tests.chat.server import chat_server
from tests.chat.support import run_to_its_end
from trouper.store import schema

pytestmark = pytest.mark.slow  # each starts a process or two


def complaint(*options: str, code: int = 1) -> str:
    """The one line that it ends with."""
    ended = run_to_its_end(*options)
    assert (ended.returncode, ended.stdout) == (code, "")
    lines = ended.stderr.splitlines()
    if code == 1:
        assert len(lines) == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return lines[-1]


def test_it_prints_where_it_listens_and_keeps_everything_beside_the_database(tmp_path: Path) -> None:
    with chat_server(tmp_path) as server:
        assert server.output == [f"listening on http://127.0.0.1:{server.port}\n"]
        assert server.port > 0
        assert server.stop() == 0
    assert len(server.output) == 1
    names = {"chat.db", "chat.db.lock", "chat.db.secret"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / "chat.db.secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("port", ["70000", "-1", "http", "", "٣"])
def test_a_bad_port_is_refused_with_the_legal_ones(port: str) -> None:
    line = complaint(f"--port={port}", code=2)
    assert line.endswith(f"argument --port: {port!r}: legal are 0 (any free one) to 65535")


@pytest.mark.parametrize("database", ["memory:", ":memory:", "sqlite:///chat.db", "file:chat.db", ""])
def test_what_is_no_file_is_refused_as_a_database_and_none_of_that_name_is_made(database: str) -> None:
    line = complaint("--port", "0", "--database", database, code=2)
    assert f"argument --database: {database!r}: " in line
    assert line.endswith("legal is the path of a file, as chat.db")
    assert not Path(database or "chat.db").is_file()


@pytest.mark.parametrize("point", ["output.committed", "output.committed:0", ":1", "output.committed:x"])
def test_a_bad_fault_point_is_refused_with_the_legal_form(point: str) -> None:
    assert "legal is SITE:N, N from 1" in complaint("--kill-at", point, code=2)


def test_a_port_in_use_is_told_with_the_address(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        line = complaint("--port", str(port), "--database", str(tmp_path / "chat.db"))
    assert line == f"examples.chat: cannot listen on http://127.0.0.1:{port}: Address already in use"


@pytest.mark.parametrize("demo", [(), ("--demo",)], ids=["plain", "demo"])
def test_a_host_that_is_none_is_told_with_the_address(tmp_path: Path, demo: tuple[str, ...]) -> None:
    line = complaint("--host", "256.1.1.1", "--port", "0", "--database", str(tmp_path / "chat.db"), *demo)
    assert line.startswith("examples.chat: cannot listen on http://256.1.1.1:0: ")


def test_a_second_server_on_the_same_database_is_told_who_holds_it(tmp_path: Path) -> None:
    with chat_server(tmp_path) as server:
        line = complaint("--port", "0", "--database", str(server.database))
        assert re.fullmatch(
            rf"examples\.chat: {re.escape(str(server.database))} is in use by another runtime "
            rf"\(process {server.pid}\), which did not end within 5 s",
            line,
        )
        assert server.log_in("ada")  # and the first one goes on
        assert server.stop() == 0


def file_of(folder: Path, content: bytes) -> tuple[Path, str]:
    path = folder / "chat.db"
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


@pytest.mark.clause("E1")
@pytest.mark.parametrize("content", [b"not a database\n", bytes(range(256)) * 64], ids=["text", "bytes"])
def test_a_file_that_is_no_database_is_told_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path, digest = file_of(tmp_path, content)
    line = complaint("--port", "0", "--database", str(path))
    assert line.startswith(f"examples.chat: {path} is not a database, or is damaged")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert {each.name for each in tmp_path.iterdir()} == {"chat.db", "chat.db.lock"}


@pytest.mark.clause("E1")
def test_a_newer_schema_and_a_foreign_database_are_told_and_left_as_they_are(tmp_path: Path) -> None:
    with chat_server(tmp_path) as server:
        server.stop()
    for pragma, complaint_ in (
        ("user_version = 99", f"was written with version 99 of the schema; legal are 1 to {schema.VERSION}"),
        ("application_id = 7", "is the database of another program"),
    ):
        with closing(sqlite3.connect(server.database)) as connection:
            connection.execute(f"PRAGMA {pragma}")
        digest = hashlib.sha256(server.database.read_bytes()).hexdigest()
        line = complaint("--port", "0", "--database", str(server.database))
        assert line == f"examples.chat: {server.database} {complaint_}"
        assert hashlib.sha256(server.database.read_bytes()).hexdigest() == digest


def test_a_folder_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    line = complaint("--port", "0", "--database", str(tmp_path / "nowhere" / "chat.db"))
    assert f"there is no directory {tmp_path / 'nowhere'}" in line


def test_the_index_is_beside_the_database_unless_the_environment_says_where(tmp_path: Path) -> None:
    database = tmp_path / "my chats.db"
    assert job_environ(database, {})["TROUPER_CHAT_INDEX"] == f"{database}.index"
    assert job_environ(database, {"TROUPER_CHAT_INDEX": ""})["TROUPER_CHAT_INDEX"] == f"{database}.index"
    assert job_environ(database, {"TROUPER_CHAT_INDEX": "/x", "A": "b"}) == {
        "TROUPER_CHAT_INDEX": "/x",
        "A": "b",
    }
    assert "DATABASE.index/" in run_to_its_end("--help").stdout.replace("\n", " ")
