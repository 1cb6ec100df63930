"""The seams: the only way from our code to time, randomness, ids and threads.

One ``Seams`` object is given to ``open_runtime`` and handed down. No module holds one as a global,
so two runtimes in one process can be two nodes with two clocks, and a simulation can own them all.
The linter bans ``time``, ``random``, ``uuid`` and ``trio.to_thread`` everywhere else.
"""

from __future__ import annotations

import queue
import random
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import attrs
import outcome
import trio

T = TypeVar("T")


class BlockingThread(Protocol):
    """A thread of its own for blocking calls, which run one after the other in order."""

    async def run(self, call: Callable[[], T]) -> T:
        """Run ``call`` on the thread and give its result.

        **Cancellation**: not a checkpoint that can be cancelled: once handed over, a call is waited
        for, so that its caller knows what became of it.
        """
        ...

    async def aclose(self) -> None:
        """Wait for what was handed over, then join the thread. **Cancellation**: shielded."""
        ...


class NamedThread:
    """The real ``BlockingThread``: a daemon thread with a name, joined at close.

    trio's own worker threads are cached and outlive ``trio.run``; a database connection must not.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    async def run(self, call: Callable[[], T]) -> T:
        token = trio.lowlevel.current_trio_token()
        task = trio.lowlevel.current_task()

        def on_thread() -> None:
            result = outcome.capture(call)
            token.run_sync_soon(trio.lowlevel.reschedule, task, result)

        self._calls.put(on_thread)
        result: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return result

    async def aclose(self) -> None:
        if self._thread.is_alive():
            await self.run(lambda: None)
            self._calls.put(None)
            self._thread.join()  # it has nothing left to do: this returns at once


def _no_fault(site: str) -> None:
    """The default ``fault``: nothing goes wrong on purpose."""


@attrs.frozen
class Seams:
    """What the runtime asks of the world outside it.

    * ``now()``: seconds on the monotonic clock of the running trio loop; never goes back.
    * ``wall()``: seconds since the epoch; may jump.
    * ``new_id()``: an opaque id, unique across processes, safe in a URL.
    * ``random``: the source of jitter.
    * ``open_thread(name)``: a ``BlockingThread``; whoever opens it closes it.
    * ``fault(site)``: called at named places; a test's may raise, or kill the process. In the SQLite store:
      ``output.appended`` (before the commit), ``output.committed``, and ``.begun`` and ``.committed`` of
      ``admit``, ``claim``, ``cancel`` and ``finish``; at each call of ``ctx``: ``ctx.call.<attempt>``.
    """

    now: Callable[[], float] = trio.current_time
    wall: Callable[[], float] = time.time
    new_id: Callable[[], str] = lambda: secrets.token_urlsafe(12)
    random: random.Random = attrs.field(factory=random.SystemRandom)
    open_thread: Callable[[str], BlockingThread] = NamedThread
    fault: Callable[[str], Any] = _no_fault
