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


def _free_port(host: str) -> int:
    """A port that is free now: a server that is started again must come back on the same one."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _command(settings: Settings) -> list[str]:
    command = [sys.executable, "-m", "examples.chat", "--demo", "--host", settings.host]
    command += ["--port", str(settings.port), "--database", str(settings.database)]
    return command


def run(settings: Settings) -> int:
    """Run the server in a child process until it ends otherwise than by SIGKILL; its exit code."""
    if settings.port == 0:
        settings = attrs.evolve(settings, port=_free_port(settings.host))
    stopping = False
    while True:
        child = subprocess.Popen(_command(settings), env={**os.environ, CHILD: "1"})

        def pass_on(number: int, _: FrameType | None, child: subprocess.Popen[bytes] = child) -> None:
            nonlocal stopping
            stopping = True
            child.send_signal(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, pass_on)
        code = child.wait()
        if code != -signal.SIGKILL or stopping:
            return code
        print("the server was killed: starting it again", flush=True)
