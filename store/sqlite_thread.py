"""The store's thread: what it holds of the database, and an end that has a bound.

A store that ends while its disk hangs cannot wait for it: its process would hang as well. So its thread is
left behind (a daemon, which keeps no process from ending), and with it go the connection and the lock: as
long as a call may still write into the file, nobody else opens it. When the call returns at last, the thread
closes the one and lets go of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from trouper.store.errors import StoreAbandoned, StoreInUse, StoreRefused
from trouper.store.file_lock import FileLock
from trouper.store.options import StoreOptions
from trouper.store.seams import Seams, ThreadAbandoned
from trouper.store.sqlite_batch import SqliteEngine
from trouper.store.sqlite_overdue import Overdue, comes_in_time

T = TypeVar("T")

THREAD_NAME: Final = "trouper-store"

_LOCK_POLL_S = 0.05


class StoreThread:
    """The thread of one run of the store. **Resources**: whoever makes it closes it."""

    def __init__(self, path: Path, seams: Seams, options: StoreOptions) -> None:
        self._path = path
        self._seams = seams
        self._options = options
        self._thread = seams.open_thread(THREAD_NAME)
        self._held = ExitStack()
        """What is to be let go of, on the thread: the lock, and before it the connection."""
        self._end_began = trio.Event()
        self._end_began_at = 0.0
        self._over = trio.Event()
        self.left = False
        """Whether it was left behind."""
        self._left_with = ""
        self.overdue = Overdue(str(path), options.answer_s)

    async def run(self, call: Callable[[], T], doing: Callable[[], str]) -> T:
        """Carry out ``call`` on the thread. ``doing`` tells people what it is.

        Raises ``StoreAbandoned`` if the thread is left meanwhile, or was before. **Cancellation**: it is
        waited for.
        """
        self.overdue.began()
        answered = True
        try:
            return await self._thread.run(call)
        except ThreadAbandoned:
            answered = False
        finally:
            self.overdue.over(answered=answered)
        self._left_with = self._left_with or doing()
        raise StoreAbandoned(self._complaint())

    def _complaint(self) -> str:
        return (
            f"{self._path} did not answer within {self._options.close_s:g} s (close_s) as the store ended: "
            f"its thread was left with {self._left_with}. Nothing that was acknowledged is lost; what was "
            "not may be in the file, or come to be. Until that call returns, or this process ends, nobody "
            "else can open the file"
        )

    async def open(self) -> SqliteEngine:
        """Own the file, and open it. Raises what ``SqliteStore.run`` does.

        **Cancellation**: what was begun is waited for, and is closed with the thread.
        """
        path = await self.run(partial(_resolved, self._path), lambda: "the look for the file")
        lock = FileLock(path)
        self._held.callback(lock.release)
        await self.run(lock.open, lambda: "the opening of the lock")
        give_up_at = trio.current_time() + self._options.lock_wait_s
        while not await self.run(lock.take, lambda: "the lock"):
            if trio.current_time() >= give_up_at:
                owner = await self.run(lock.owner, lambda: "the lock")
                waited = f"which did not end within {self._options.lock_wait_s:g} s"
                raise StoreInUse(f"{path} is in use by another runtime ({owner}), {waited}")
            await trio.sleep(_LOCK_POLL_S)
        return await self.run(partial(self._open_engine, path), lambda: "the opening of the database")

    def _open_engine(self, path: Path) -> SqliteEngine:
        engine = SqliteEngine(path, self._seams, self._options)
        self._held.callback(engine.close)
        return engine

    # --- the end ---

    def begin_end(self) -> None:
        """From now on the time runs that the end has."""
        self._end_began.set()

    async def close(self) -> None:
        """Close what was opened, let go of the lock, and end the thread. Raises ``StoreAbandoned``.

        **Cancellation**: shielded. It is bounded by ``bound_the_end``.
        """
        with trio.CancelScope(shield=True):
            try:
                await self.run(self._held.close, lambda: "the closing of the database")
                await self._thread.aclose()
            finally:
                self._over.set()

    async def bound_the_end(self) -> None:
        """Leave the thread if it is not closed ``close_s`` after the end began, which is also when this task
        is cancelled. For a task beside the one that uses the thread."""
        try:
            await self._end_began.wait()
        finally:
            if not await comes_in_time(self._over, self._options.close_s):  # noqa: ASYNC102  # shields itself
                self.left = True
                self._thread.abandon(self._held.close)


def _resolved(path: Path) -> Path:
    """Without links, so that two names of one file are one lock. Raises ``StoreRefused``."""
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError) as error:  # links in a circle, a home that nobody has
        raise StoreRefused(f"{path} is no place for a database: {error}") from error
