"""All that the simulation touches of trio's private parts. Nothing else of trouper touches any.

``NAMES`` lists them; ``missing_names`` compares that with the installed trio, and a test fails with the
names that changed. What each is for:

* ``_r.shuffle(batch)`` orders the tasks that can run, if ``_ALLOW_DETERMINISTIC_SCHEDULING`` is set (trio's
  own support for Hypothesis uses both): so the order of tasks can be chosen, and a task put back.
* ``Task._abort_func`` is there while a task waits for something that can be cancelled, and
  ``_attempt_abort`` ends that wait with an exception: so it can be any exception.
* ``Task._next_send`` is what a task that can run will find in the place of what it waited for.
  Whose function it is tells what the task waits for (``OUTSIDE``).
* ``EntryQueue.run_sync_soon`` is what ``TrioToken.run_sync_soon`` and ``trio.from_thread`` come through: so
  that other threads can be kept out.
* ``Task._cancel_status`` leads to the scopes around a task: so that one task can be cancelled.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import outcome
import trio
from trio._core import _run as private
from trio.lowlevel import Task

from trouper.simulation.errors import BadTrio

NAMES: Final = {
    "trio._core._run": ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r", "GLOBAL_RUN_CONTEXT", "Task", "Runner"),
    "trio._core._run.Task": ("_abort_func", "_attempt_abort", "_cancel_status", "_next_send"),
    "trio._core._run.Runner": ("runq", "entry_queue"),
    "trio._core._run.EntryQueue": ("run_sync_soon",),
    "trio._core._run.CancelStatus": ("_scope", "parent"),
    "trio._core._run.CancelScope": ("_cancel_status",),
}


def missing_names() -> list[str]:
    """The private names that the installed trio does not have."""
    missing = []
    for path, names in NAMES.items():
        owner: Any = private if path == "trio._core._run" else getattr(private, path.rpartition(".")[2], None)
        known = {*dir(owner), *getattr(owner, "__annotations__", ())}
        missing += [f"{path}.{name}" for name in names if name not in known]
    return missing


OUTSIDE: Final = {
    "trio._threads": "a thread",
    "trio._core._io_epoll": "a socket, a pipe or a process",
    "trio._core._io_kqueue": "a socket, a pipe or a process",
    "trio._core._io_windows": "a socket, a pipe or a process",
}
"""The modules of trio that make a task wait for what no simulation has, and what that is."""

Order = Callable[[list[Task]], list[Task]]
"""From the tasks that can run to those that do, in their order. The others are for the caller to put back."""


class _Orderer(random.Random):
    def __init__(self, order: Order) -> None:
        super().__init__(0)
        self.order = order
        self.thread = threading.get_ident()

    def shuffle(self, x: Any) -> None:
        if threading.get_ident() == self.thread:
            x[:] = reversed(self.order(list(x)))  # trio takes the next from the end
        else:  # a run of trio in another thread, which is none of ours
            super().shuffle(x)


@contextmanager
def ordered_by(order: Order) -> Iterator[None]:
    """Have ``order`` choose what runs next, in all of the process: for one run of trio at a time.

    An exception out of ``order`` ends the run at once, as a ``TrioInternalError`` from it.
    """
    if missing := missing_names():
        raise BadTrio(f"trio {trio.__version__} has no {', '.join(missing)}: the simulation does not know it")
    names: dict[str, Any] = private.__dict__  # one of the two is declared as final
    before = names["_r"], names["_ALLOW_DETERMINISTIC_SCHEDULING"]
    if isinstance(before[0], _Orderer):
        raise RuntimeError("a simulation runs already in this process: one at a time")
    names["_r"], names["_ALLOW_DETERMINISTIC_SCHEDULING"] = _Orderer(order), True
    try:
        yield
    finally:
        names["_r"], names["_ALLOW_DETERMINISTIC_SCHEDULING"] = before


@contextmanager
def closed_to_threads(told: Callable[[], Exception]) -> Iterator[None]:
    """Have whatever another thread sends into this run of trio raise what ``told`` gives, in that thread."""
    context: Any = private.GLOBAL_RUN_CONTEXT
    own, thread = context.runner.entry_queue, threading.get_ident()
    queues: Any = vars(private)["EntryQueue"]
    before = queues.run_sync_soon

    def run_sync_soon(queue: Any, *args: Any, **options: Any) -> None:
        if queue is own and threading.get_ident() != thread:
            raise told()
        before(queue, *args, **options)

    queues.run_sync_soon = run_sync_soon
    try:
        yield
    finally:
        queues.run_sync_soon = before


def put_back(tasks: Iterable[Task]) -> None:
    """Have tasks that were left out of an order run later: with the next batch."""
    context: Any = private.GLOBAL_RUN_CONTEXT
    context.runner.runq.extend(tasks)


def waits(task: Task) -> bool:
    """Whether the task waits for something, and can be reached there by a cancellation."""
    return task._abort_func is not None


def waits_outside(task: Task) -> str | None:
    """What the task waits for, if that is outside of every simulation."""
    return OUTSIDE.get(getattr(task._abort_func, "__module__", ""))


def throw(task: Task, error: BaseException, on_raised: Callable[[], None]) -> None:
    """End the wait of a task by ``error``. ``on_raised`` is called if that was raised: a wait may refuse."""

    def raise_it() -> NoReturn:
        on_raised()
        raise error

    task._attempt_abort(raise_it)


def poison(task: Task, error: BaseException) -> None:
    """Have a task that can run, and has run before, find ``error`` in the place of what it waited for."""
    if task._next_send is not None:
        task._next_send = outcome.Error(error)


def outermost_scope(task: Task) -> trio.CancelScope | None:
    """The outermost scope that the task has opened itself, ``None`` if it has opened none."""
    nursery = task.parent_nursery
    around = None if nursery is None else nursery.cancel_scope._cancel_status
    status: Any = task._cancel_status
    found: trio.CancelScope | None = None
    while status is not None and status is not around:
        found, status = status._scope, status.parent
    return found
