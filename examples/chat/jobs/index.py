"""The job ``index``, and the index itself: built from the installed packages, again when those change.

Each set of packages and versions has a file of its own. It is built beside, under a name of the job that
builds it, one package per transaction, and takes its place in one step: who reads never meets half an index,
and a builder that was killed goes on where it was.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import trio

import trouper
from examples.chat.jobs import index_file, search
from examples.chat.jobs.report_text import code, many, plain
from examples.chat.jobs.surveyor import Broken, Surveyor

T = TypeVar("T")

KEPT_INDEXES = 4
"""Finished files that are kept in the folder, the newest: several environments may share it."""
STALE_S = 86_400.0
"""Seconds after which an unfinished file is nobody's any more."""


class Index:
    """The index in ``folder`` of what ``surveyor`` finds installed.

    One is shared by all jobs of a process: only one of them builds at a time.
    """

    def __init__(self, folder: Path, surveyor: Surveyor) -> None:
        self._folder = folder
        self._surveyor = surveyor
        self._building = trio.Lock()

    def path(self, installed: list[tuple[str, str]]) -> Path:
        """Where the index of exactly these packages is, or will be."""
        return self._folder / f"packages-{index_file.key_of(installed)}.sqlite"

    async def ensure(self, ctx: trouper.JobContext) -> tuple[Path, bool]:
        """Have an index that fits what is installed now; (its path, whether this job wrote of building it).

        Building writes a line for each package to the output and saves after each; the state saved is
        ``{"key": …, "done": packages done}``, and belongs to this function until it returns.

        Raises ``trouper.Fail`` where the folder cannot be written, or SQLite has no full-text search.

        **Cancellation**: what was built stays, for the next attempt of the same job.
        """
        installed = await self._surveyor.installed()
        path = self.path(installed)
        if await _blocking(path.is_file):
            if ctx.saved is not None:  # built by an earlier attempt of this job, whose lines are still there
                await ctx.write("\n")
            return path, ctx.saved is not None
        await ctx.progress(0, len(installed), "waiting for another build of the index")
        async with self._building:
            if await _blocking(path.is_file):  # by the one that was waited for
                return path, False
            await self._build(ctx, installed, path)
        return path, True

    async def discard(self, path: Path) -> None:
        """Take away an index that cannot be read."""
        await _blocking(lambda: path.unlink(missing_ok=True))

    async def _build(self, ctx: trouper.JobContext, installed: list[tuple[str, str]], path: Path) -> None:
        unfinished = path.with_suffix(f".{ctx.job_id}.partial")
        await _blocking(lambda: _open_folder(self._folder, unfinished))
        done = await self._done_before(ctx, path, unfinished, installed)
        if done == 0:
            await ctx.write(f"Reading the docstrings of {many(len(installed), 'package')}.\n\n")
        for name, version in installed[done:]:
            await ctx.progress(done, len(installed), name)
            try:
                places = await self._surveyor.index(unfinished, name)
                line = f"- {plain(name)} {plain(version)}: {many(places, 'place')}\n"
            except Broken as error:
                line = f"- {plain(name)} {plain(version)}: left out, {plain(str(error))}\n"
            done += 1
            await ctx.write(line)
            await ctx.savepoint({"key": path.stem, "done": done})
        await ctx.progress(len(installed), len(installed), "putting the index in place")
        await _blocking(lambda: _put_in_place(unfinished, path))
        await ctx.write("\n")

    async def _done_before(
        self, ctx: trouper.JobContext, path: Path, unfinished: Path, installed: list[tuple[str, str]]
    ) -> int:
        """How many packages an earlier attempt has put into the unfinished file."""
        saved: dict[str, Any] = ctx.saved or {}
        done = saved.get("done", 0) if saved.get("key") == path.stem else 0
        if not done:
            return 0
        if await _blocking(lambda: _holds(unfinished)):
            return int(done)
        await ctx.write("\nThe unfinished index is gone: once more from the beginning.\n\n")
        return 0


async def _blocking(call: Callable[[], T]) -> T:
    """Run ``call`` in a worker thread; what the disk refuses ends the job with the reason."""
    try:
        return await trio.to_thread.run_sync(call)
    except OSError as error:
        raise trouper.Fail(f"the index cannot be written: {error}") from error
    except sqlite3.OperationalError as error:
        if "fts5" in str(error):
            raise trouper.Fail(
                "the index needs full-text search, and this Python's SQLite has no FTS5"
            ) from error
        raise trouper.Fail(f"the index cannot be written: {error}") from error


def _open_folder(folder: Path, unfinished: Path) -> None:
    """Make the folder and the empty tables; take away what builders left that never came back."""
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.glob("packages-*.partial"):
        if other != unfinished and time.time() - other.stat().st_mtime > STALE_S:
            other.unlink(missing_ok=True)
    connection = sqlite3.connect(unfinished)
    try:
        index_file.create(connection)
    finally:
        connection.close()


def _holds(unfinished: Path) -> bool:
    """Whether the unfinished file has anything in it."""
    connection = sqlite3.connect(unfinished)
    try:
        return connection.execute("SELECT 1 FROM packages LIMIT 1").fetchone() is not None
    finally:
        connection.close()


def _put_in_place(unfinished: Path, path: Path) -> None:
    connection = sqlite3.connect(unfinished, isolation_level=None)
    try:
        index_file.finish(connection)
    finally:
        connection.close()
    unfinished.replace(path)
    finished = sorted(path.parent.glob("packages-*.sqlite"), key=lambda each: each.stat().st_mtime)
    for old in finished[:-KEPT_INDEXES]:
        old.unlink(missing_ok=True)


def find(path: Path, question: str, limit: int) -> list[search.Hit]:
    """Search the index at ``path``. Blocking."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        return search.search(connection, question, limit)
    finally:
        connection.close()


def counts(path: Path) -> tuple[int, int]:
    """(packages, places) in the index at ``path``. Blocking."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        row = connection.execute("SELECT count(*), coalesce(sum(places), 0) FROM packages").fetchone()
        return int(row[0]), int(row[1])
    finally:
        connection.close()


def index_job(index: Index) -> trouper.JobSpec[..., Any]:
    """The job ``index``: bring the index up to date, or tell that it is."""

    @trouper.job(name="index", client=True, timeout=1800, retry=trouper.Retry(attempts=10))
    async def build(ctx: trouper.JobContext) -> dict[str, int]:
        path, built = await index.ensure(ctx)
        packages, places = await _blocking(lambda: counts(path))
        said = "The index is ready" if built else "The index is up to date"
        await ctx.write(
            f"{said}: {many(places, 'place')} in {many(packages, 'package')}, {code(path.name)}.\n"
        )
        return {"packages": packages, "places": places}

    return build
