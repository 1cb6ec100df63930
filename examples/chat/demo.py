"""The parent process of ``--demo``: it starts the server again when it was killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from types import FrameType

import attrs

from examples.chat.settings import Settings

CHILD = "TROUPER_CHAT_CHILD"
"""Set in the environment of the process that serves."""


def _with_port(settings: Settings) -> Settings:
    """With a port that is free now: a server that is started again must come back on the same one."""
    if settings.port != 0:
        return settings
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.bind(address)
            return attrs.evolve(settings, port=probe.getsockname()[1])
    except OSError as error:
        raise settings.cannot_listen(error) from error


def _command(settings: Settings) -> list[str]:
    command = [sys.executable, "-m", "examples.chat", "--demo", "--host", settings.host]
    return [*command, "--port", str(settings.port), "--database", str(settings.database)]


class Parent:
    """Keeps one server running, and passes on what it is told itself."""

    def __init__(self, settings: Settings) -> None:
        self._command = _command(settings)
        self._child: subprocess.Popen[bytes] | None = None
        self._stop: int | None = None
        """The signal that it was told to stop by."""

    def run(self) -> int:
        """Until the server ends otherwise than by SIGKILL; its exit code, as a shell would tell it."""
        signal.signal(signal.SIGINT, self._pass_on)
        signal.signal(signal.SIGTERM, self._pass_on)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            signal.signal(signal.SIGHUP, self._pass_on)
        code = self._run_once()
        while code == -signal.SIGKILL and self._stop is None:
            print("the server was killed: starting it again", flush=True)
            code = self._run_once()
        return code if code >= 0 else 128 - code

    def _run_once(self) -> int:
        # A session of its own: Ctrl-C in a terminal goes to a whole process group, and the server would
        # get it twice, which means "at once". Its standard input ends when this process does.
        self._child = subprocess.Popen(
            self._command, env={**os.environ, CHILD: "1"}, stdin=subprocess.PIPE, start_new_session=True
        )
        with self._child as child:
            if self._stop is not None:  # it came while there was no child
                child.send_signal(self._stop)
            return child.wait()

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self._stop = signal.SIGTERM if number == signal.SIGHUP else number
        if self._child is not None:
            self._child.send_signal(self._stop)


def run(settings: Settings) -> int:
    """Run the server in a child process; the exit code. Raises ``OSError`` for an address that is none."""
    return Parent(_with_port(settings)).run()
