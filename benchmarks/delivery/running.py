"""A server and the load generator, each in a process of its own, and a figure of theirs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs

from benchmarks.delivery import node_peers
from benchmarks.delivery.scenario import Scenario
from benchmarks.footprint import PAGE_BYTES, ROOT

LONGEST_S = 90.0
"""A server or load generator that is still there then is killed: nothing here may hang."""


@attrs.frozen
class Server:
    """One of those who are measured."""

    name: str
    kind: str
    """How the load generator speaks to it."""
    command: tuple[str, ...]
    sqlite: bool = False
    options: tuple[str, ...] = ()
    needs: str | None = None
    """A package of the extra ``bench``, without which it is left out."""

    @staticmethod
    def python(
        name: str, module: str, kind: str = "plain", *, sqlite: bool = False, needs: str | None = None
    ) -> Server:
        """A module of ours, run by this Python."""
        command = (sys.executable, "-m", f"benchmarks.delivery.{module}")
        return Server(name, kind, command, sqlite, needs=needs)

    @staticmethod
    def node(package: str) -> Server:
        """node's, of this package."""
        script = str(Path(__file__).with_name("node_peer.mjs"))
        return Server(f"node {package}" if package == "ws" else package, package, ("node", script))

    @property
    def is_node(self) -> bool:
        return self.command[0] == "node"

    def available(self) -> bool:
        """Whether it can be measured here: processor time of another process is Linux' to tell."""
        if self.is_node and not node_peers.available(self.kind):
            return False
        return sys.platform == "linux" and (self.needs is None or find_spec(self.needs) is not None)


class Run:
    """A server that runs, and the load generator beside it."""

    def __init__(self, server: subprocess.Popen[str], load: subprocess.Popen[str]) -> None:
        self._server = server
        self._load = load

    def go(self) -> None:
        """The sources begin."""
        assert self._server.stdin is not None
        self._server.stdin.write("go\n")
        self._server.stdin.flush()

    def tell(self, command: str, **arguments: Any) -> dict[str, float]:
        """A command of ``load.Load``, and its answer."""
        assert self._load.stdin is not None
        self._load.stdin.write(json.dumps([command, arguments]) + "\n")
        self._load.stdin.flush()
        return _answer(self._load, "the load generator")

    def resident(self) -> int:
        """Bytes of the server in memory."""
        text = Path(f"/proc/{self._server.pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * PAGE_BYTES

    def end(self, seconds: float) -> None:
        """Let the server end in order, within so many seconds."""
        assert self._server.stdin is not None
        self._server.stdin.write("end\n")
        self._server.stdin.flush()
        self._server.wait(timeout=seconds)


@contextmanager
def running(server: Server, scenario: Scenario, *prefix: str) -> Iterator[Run]:
    """Start both; end both. ``prefix`` goes before the server's script (a profiler)."""
    folder = tempfile.mkdtemp(prefix="trouper-bench-")
    if server.sqlite:
        scenario = attrs.evolve(scenario, store=f"sqlite:///{folder}/bench.db")
    processes: list[subprocess.Popen[str]] = []

    def give_up() -> None:
        for process in processes:
            process.kill()

    watchdog = threading.Timer(LONGEST_S, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        tail = (scenario.as_json(), server.kind, *server.options)
        served = _start((*server.command[:1], *prefix, *server.command[1:], *tail), processes)
        facts = _answer(served, server.name)
        pinned = os.sched_getaffinity(0)
        others = sorted(set(range(os.cpu_count() or 1)) - pinned) if len(pinned) == 1 else []
        target = {"kind": server.kind, "pid": served.pid, "cores": others, **facts}
        command = (sys.executable, "-m", "benchmarks.delivery.load", scenario.as_json(), json.dumps(target))
        yield Run(served, _start(command, processes))
    finally:
        watchdog.cancel()
        for process in processes:
            process.kill()
            process.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def _start(command: tuple[str, ...], processes: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    modules = {"TROUPER_BENCH_NODE_MODULES": str(node_peers.folder() / "node_modules")}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **modules},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    processes.append(process)
    return process


def _answer(process: subprocess.Popen[str], who: str) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{who} ended with {process.wait()} (its error is above)")
    answer = json.loads(line)
    assert isinstance(answer, dict)
    return answer
