"""The server's lives, one after the other, on one database and one port."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import trio

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 15.0
"""A life that has not come to its fault point by then is ended from outside."""
OUTSIDE = "outside"


def lines_of(path: Path) -> list[dict[str, Any]]:
    """What the server has noted in a file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@attrs.define
class Lives:
    """At most one process at a time."""

    folder: Path
    port: int = 0
    outside: list[int] = attrs.field(factory=list)
    """For each life that was ended from outside: how many attempts it had running, as the file says."""
    _process: trio.Process | None = None

    async def start(self, *fault_point: str) -> None:
        command = [sys.executable, "-m", "tests.torture.server", str(self.folder), str(self.port)]
        process = await trio.lowlevel.open_process([*command, *fault_point], cwd=ROOT, stdout=subprocess.PIPE)
        self._process = process
        assert process.stdout is not None
        said = await process.stdout.receive_some()
        if said:
            self.port = int(said)
        # else it came to its fault point before it listened: that is a life, too

    async def wait_killed(self, enough: Callable[[], Awaitable[None]]) -> bool:
        """Wait until it has killed itself, or kill it when it is ``enough`` or too late. Whether it did."""
        process = self._process
        assert process is not None
        with trio.move_on_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:

                async def watch() -> None:
                    await process.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(watch)
                await enough()
                nursery.cancel_scope.cancel()
        by_itself = process.poll() is not None
        assert await self.kill() == -signal.SIGKILL
        return by_itself

    async def kill(self) -> int:
        """SIGKILL, if it has not happened yet; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.kill()
        assert process.stdout is not None
        code = await process.wait()
        await process.stdout.aclose()
        return code

    def deaths(self) -> Deaths:
        """Where it died so far."""
        noted = lines_of(self.folder / "deaths.jsonl")
        sites = Counter(str(death["site"]) for death in noted)
        sites[OUTSIDE] = len(self.outside)
        running = sum(death["running"] > 0 for death in noted) + sum(count > 0 for count in self.outside)
        return Deaths(sites, running)


@attrs.frozen
class Deaths:
    """Kills, counted by the fault point at which they fell."""

    sites: Counter[str]
    running: int
    """Of all: how many fell while an attempt ran."""

    @property
    def total(self) -> int:
        return self.sites.total()

    @property
    def before_telling(self) -> int:
        """Between a commit and anybody's hearing of it."""
        return sum(count for site, count in self.sites.items() if site.endswith(".committed"))

    @property
    def inside(self) -> int:
        """Inside the transaction of an admission or of an end."""
        return self.sites["admit.begun"] + self.sites["finish.begun"]

    def __str__(self) -> str:
        by_site = ", ".join(f"{site} {count}" for site, count in sorted(self.sites.items()))
        return (
            f"{self.total} kills: {self.running} with an attempt running, {self.before_telling} between"
            f" commit and send, {self.inside} inside admission or finish ({by_site})"
        )
