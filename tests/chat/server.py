"""The chat server in a process of its own, for tests: started, killed, started again."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_START_S = 60.0
_STOP_S = 40.0


class ChatServer:
    """``python -m examples.chat`` on a database in ``folder``. One process at a time.

    ``python``: of another environment than this one. ``own_group``: a group of processes of its own, as a
    shell in a terminal gives it.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        environ: dict[str, str] | None = None,
        python: Path | str = sys.executable,
        own_group: bool = False,
    ) -> None:
        self.folder = folder
        self.database = folder / "chat.db"
        self.transcripts = folder / "transcripts"
        self.port = 0
        self.output: list[str] = []
        self.options = options
        self._own_group = own_group
        self._python = str(python)
        self._environ = environ or {}
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._listens = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        """Start it, on the port of the time before, and wait until it listens."""
        assert self._process is None, "it runs already"
        command = [self._python, "-m", "examples.chat", "--port", str(self.port)]
        command += ["--database", str(self.database), *self.options, *options]
        environ = {
            **os.environ,
            "TROUPER_CHAT_INDEX": str(self.folder / "index"),
            "TROUPER_CHAT_TRANSCRIPTS": str(self.transcripts),
            **self._environ,
        }
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=self._own_group,
        )
        self._listens, listening = False, threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process, listening), daemon=True)
        self._reader.start()
        listening.wait(_START_S)
        assert self._listens, "it did not start: " + "".join(self.output[-30:])

    def _read(self, process: subprocess.Popen[str], listening: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.output.append(line)
                if found := re.search(r"listening on http://[^ ]*:(\d+)", line):
                    self.port = int(found[1])
                    self._listens = True
                    listening.set()
        listening.set()  # it has ended: it will not listen any more

    def kill(self) -> None:
        """SIGKILL: no cleanup runs."""
        assert self._process is not None
        self._process.kill()
        self._gone(self._process.wait())

    def _gone(self, code: int) -> int:
        """Let go of a process that has ended, and that has left nobody who holds its output."""
        assert self._reader is not None
        self._reader.join(_STOP_S)
        assert not self._reader.is_alive(), "a process that it started is still there"
        self._process = self._reader = None
        return code

    def wait_killed(self, timeout_s: float = 60.0) -> None:
        """Wait until it has killed itself at a fault point."""
        assert self._process is not None
        code = self._gone(self._process.wait(timeout_s))
        assert code == -signal.SIGKILL, f"exit code {code}: " + "".join(self.output[-30:])

    def send_signal(self, number: int) -> None:
        """Send it a signal and wait for nothing."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it in order; its exit code."""
        if self._process is None:
            return 0
        self.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended, which somebody has told it to; its exit code."""
        assert self._process is not None
        process = self._process
        try:
            process.wait(_STOP_S)
        finally:
            process.kill()
            self._gone(process.wait())
        return process.returncode

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    # --- as a person or a program would ask it ---

    def log_in(self, name: str) -> str:
        """The cookie of a user, as ``name=value``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.url}
        connection.request("POST", "/login", f"name={name}", headers)
        response = connection.getresponse()
        assert response.status == 303, response.read()
        cookie = response.getheader("set-cookie")
        connection.close()
        assert cookie is not None
        return cookie.partition(";")[0]

    def rows(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """What the database holds, read through a connection of its own that cannot write."""
        uri = f"file:{self.database}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            return connection.execute(query, arguments).fetchall()

    def transcript(self, job_id: str) -> bytes:
        """What the job wrote to a file of its own."""
        return (self.transcripts / f"{job_id}.md").read_bytes()


@contextlib.contextmanager
def chat_server(
    folder: Path,
    *options: str,
    environ: dict[str, str] | None = None,
    python: Path | str = sys.executable,
    own_group: bool = False,
) -> Iterator[ChatServer]:
    """A running server, ended at the end whatever happened."""
    server = ChatServer(folder, *options, environ=environ, python=python, own_group=own_group)
    try:
        server.start()
        yield server
    finally:
        server.stop()
