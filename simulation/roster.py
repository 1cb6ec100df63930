"""The tasks of a run: their numbers, the names by which plans know them, and where each waits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import trio
from trio.lowlevel import Task

TREE_MAX: Final = 200
"""Bound of the tasks that a tree shows."""

ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
"""What a ``repr`` holds that differs from run to run."""


class Roster(trio.abc.Instrument):
    """Numbers the tasks in the order in which they begin, whatever else runs in the process."""

    def __init__(self) -> None:
        self._known: dict[Task, tuple[int, str]] = {}
        self._next = 0

    def task_spawned(self, task: Task) -> None:
        """Called by trio."""
        self._add(task)

    def task_exited(self, task: Task) -> None:
        """Called by trio."""
        self._known.pop(task, None)

    def number(self, task: Task) -> int:
        """Its number, from 0."""
        return self._of(task)[0]

    def site(self, task: Task) -> str:
        """Its name, without what differs from run to run."""
        return self._of(task)[1]

    def rename(self, task: Task, site: str) -> None:
        """Call a task something else."""
        self._known[task] = (self.number(task), site)

    def alive(self) -> list[Task]:
        """The tasks that have begun and not ended, the oldest first."""
        return list(self._known)

    def tree(self, root: Task) -> str:
        """The tasks from ``root`` on, each with the place where it waits."""
        lines = list(self._lines(root, 0))
        hidden = [f"… and {len(lines) - TREE_MAX} more"] if len(lines) > TREE_MAX else []
        return "\n".join([*lines[:TREE_MAX], *hidden])

    def line(self, task: Task) -> str:
        """The task, and the place where it waits."""
        return f"{self.site(task)}: {_place(task)}"

    def forget(self) -> None:
        """The run is over: hold no task any more."""
        self._known.clear()

    def _lines(self, task: Task, depth: int) -> Iterator[str]:
        yield f"{'    ' * depth}{self.line(task)}"
        for nursery in task.child_nurseries:
            for child in sorted(nursery.child_tasks, key=self.number):
                yield from self._lines(child, depth + 1)

    def _of(self, task: Task) -> tuple[int, str]:
        return self._known.get(task) or self._add(task)

    def _add(self, task: Task) -> tuple[int, str]:
        entry = self._known[task] = (self._next, ADDRESS.sub("", task.name))
        self._next += 1
        return entry


def is_system(task: Task) -> bool:
    """Whether it is one of trio's own, or was begun by ``spawn_system_task``. (So is a run's main task.)"""
    nursery = task.parent_nursery
    return nursery is None or nursery.parent_task.parent_nursery is None


def _place(task: Task) -> str:
    """The innermost frame that is not trio's, as the one who looks for a deadlock wants it."""
    found = "it has not begun, or is ending"
    for frame, line in task.iter_await_frames():
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package != "trio":
            found = f"{frame.f_code.co_qualname}, {frame.f_code.co_filename}:{line}"
    return found
