"""A surveyor whose packages and figures are known: what jobs make of them can be compared to the letter."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from examples.chat.jobs import index_file
from examples.chat.jobs.audits import Audit
from examples.chat.jobs.interface import Place
from examples.chat.jobs.packages import Package
from examples.chat.jobs.surveyor import Broken, ImportTime


def place(name: str, doc: str, *, kind: str = "function", aliases: tuple[str, ...] = ()) -> Place:
    return Place(name, aliases, kind, f"{name.rpartition('.')[2]}()", doc, name.split(".")[0] + ".py", 7)


PLACES = {
    "alpha": [
        place("alpha.open_door", "Open the door of a house.\n\nIt may be locked."),
        place("alpha.HouseKeeper", "Keeps a house, and cleans its windows.", kind="class"),
    ],
    "beta": [place("beta.window_of", "The window of a room."), place("beta.silent", "")],
}


def files(folder: Path) -> list[Path]:
    """What is in ``folder``."""
    return sorted(folder.iterdir())


class KnownEnvironment:
    """Packages ``alpha`` and ``beta`` are well, ``gamma`` is broken, ``delta`` cannot be imported.

    ``before_audit``, called with the name of each package, may hold it up or raise.
    """

    def __init__(self, before_audit: Callable[[str], Awaitable[None]] | None = None) -> None:
        self.packages = [("alpha", "1.0"), ("beta", "2.1"), ("delta", "0.1"), ("gamma", "3")]
        self.audited: list[str] = []
        self.indexed: list[str] = []
        self._before_audit = before_audit

    async def installed(self) -> list[tuple[str, str]]:
        await trio.lowlevel.checkpoint()
        return list(self.packages)

    async def audit(self, name: str) -> Audit:
        await trio.lowlevel.checkpoint()
        if self._before_audit is not None:
            await self._before_audit(name)
        self.audited.append(name)
        if name == "gamma":
            raise Broken("PackageNotFoundError: its metadata is <gone>")
        package = Package(
            name=name,
            version=dict(self.packages)[name],
            summary="The *first* of them" if name == "alpha" else "",
            licence="MIT" if name != "delta" else "",
            dependencies=("beta", "omega") if name == "alpha" else (),
            files=3 if name != "delta" else 0,
            bytes=123_456 if name != "delta" else 0,
            importable=(name,),
            editable=False,
        )
        public = {"module": 1, "class": 1, "function": 20, "method": 3}
        unreadable = ("beta/old.py: SyntaxError: print",) if name == "beta" else ()
        return Audit(package, public, 5, (f"{name}.a", f"{name}.b"), unreadable)

    async def import_time(self, module: str, budget_s: float) -> ImportTime:
        await trio.lowlevel.checkpoint()
        if module == "delta":
            raise Broken("ImportError: no | such <thing>")
        return ImportTime(module, 5, 0.0421, 0.25)

    async def index(self, database: Path, name: str) -> int:
        await trio.lowlevel.checkpoint()
        self.indexed.append(name)
        if name not in PLACES:
            raise Broken("it has no files")
        connection = sqlite3.connect(database, isolation_level=None)
        try:
            mentions = {"alpha.open_door": 3}
            return index_file.add(connection, name, "1", PLACES[name], mentions)
        finally:
            connection.close()
