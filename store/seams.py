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
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import attrs
import outcome
import trio

T = TypeVar("T")


class ThreadAbandoned(Exception):
    """The thread was abandoned: what became of the call, nobody will tell."""


class BlockingThread(Protocol):
    """A thread of its own for blocking calls, which run one after the other in order."""

    async def run(self, call: Callable[[], T]) -> T:
        """Run ``call`` on the thread and give its result. Raises ``ThreadAbandoned``.

        **Cancellation**: not a checkpoint that can be cancelled: once handed over, a call is waited
        for, so that its caller knows what became of it.
        """
        ...

    def abandon(self, then: Callable[[], object]) -> None:
        """Wait for nothing any more: who awaits ``run`` gets ``ThreadAbandoned``, now and from now on.

        The call that is under way cannot be ended, and goes on. When it has returned, ``then`` is called on
        the thread, which ends by that; what was handed over behind it is not run. (``then`` is told to
        nobody. If the process ends before, it is never called.)
        """
        ...

    async def aclose(self) -> None:
        """Wait for what was handed over, then join the thread; one that was abandoned is not joined.

        **Cancellation**: shielded.
        """
        ...


class NamedThread:
    """The real ``BlockingThread``: a daemon thread with a name, joined at close.

    trio's own worker threads are cached and outlive ``trio.run``; a database connection must not. It is a
    daemon so that one that was abandoned keeps no process from ending.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting: set[trio.lowlevel.Task] = set()
        self._abandoned = False
        self._then: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while (call := self._calls.get()) is not None:
            if not self._abandoned:
                call()
        self._then()

    async def run(self, call: Callable[[], T]) -> T:
        if self._abandoned:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise ThreadAbandoned(self._thread.name)
        token = trio.lowlevel.current_trio_token()
        task = trio.lowlevel.current_task()

        def on_thread() -> None:
            result = outcome.capture(call)
            with suppress(trio.RunFinishedError):  # it was abandoned, and the loop is gone
                token.run_sync_soon(self._returned, task, result)

        self._waiting.add(task)
        self._calls.put(on_thread)
        result: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return result

    def _returned(self, task: trio.lowlevel.Task, result: outcome.Outcome[Any]) -> None:
        if not self._abandoned:
            self._waiting.remove(task)
            trio.lowlevel.reschedule(task, result)

    def abandon(self, then: Callable[[], object]) -> None:
        self._then = then
        self._abandoned = True
        self._calls.put(None)
        for task in self._waiting:
            trio.lowlevel.reschedule(task, outcome.Error(ThreadAbandoned(self._thread.name)))
        self._waiting.clear()

    async def aclose(self) -> None:
        if self._abandoned or not self._thread.is_alive():
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        try:
            await self.run(lambda: None)
        except ThreadAbandoned:  # meanwhile
            return
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
