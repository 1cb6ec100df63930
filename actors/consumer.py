"""The consumer's side of a mailbox: the one task that waits, and what the runtime says to that task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any

import trio

from trouper.actors.control import ControlLane
from trouper.actors.lifeline import Lifeline
from trouper.actors.signals import Command, Signal


class ConsumerSide(Lifeline):
    """The part of a mailbox that has the control lane and wakes the consumer."""

    __slots__ = ("_consumer", "_control", "_special", "occupant")

    def __init__(self) -> None:
        super().__init__()
        self.occupant: Any = None
        """The incarnation that lives from this mailbox now, for inspections."""
        self._consumer: trio.lowlevel.Task | None = None  # set only while it is parked
        self._control: ControlLane | None = None  # made when first needed
        self._special = False  # whether to look for anything besides plain messages

    @trio.lowlevel.enable_ki_protection
    def post(self, command: Command) -> None:
        """Put a command in the control lane: handed out before any message, one of a kind, never refused
        (but ``LimitReached`` for an inspection too many). A closed mailbox forgets it."""
        if self._closed is None:
            self._lane().command(command)
            self._wake()

    @trio.lowlevel.enable_ki_protection
    def signal(self, key: Hashable, signal: Signal) -> None:
        """Put a signal in the control lane: after commands, before any message, one of each key."""
        if self._closed is None:
            self._lane().signal(key, signal)
            self._wake()

    def withdraw_signal(self, key: Hashable) -> None:
        """Take back the signal of that key, if it still waits."""
        if self._control is not None:
            self._control.withdraw(key)

    def suspend(self, suspended: bool) -> None:
        """Hand out commands only, or everything again."""
        self._lane().suspended = suspended
        self._wake()

    @property
    def suspended(self) -> bool:
        """Whether only commands are handed out."""
        return self._control is not None and self._control.suspended

    def wait(self) -> Awaitable[object]:
        """Wait until ``take`` may have something. **Cancellation**: nothing was taken.

        To be awaited at once. No ``async def``, whose frame each of very many idle actors would keep.
        """
        if self._consumer is not None:
            raise RuntimeError("a mailbox has one consumer, and another task is waiting already")
        self._consumer = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._abort_wait)  # noqa: ASYNC105  # by who calls this

    def _lane(self) -> ControlLane:
        self._special = True
        if self._control is None:
            self._control = ControlLane()
        return self._control

    def _wake(self) -> None:
        if self._consumer is not None:
            trio.lowlevel.reschedule(self._consumer)
            self._consumer = None

    def _abort_wait(self, _raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        self._consumer = None
        return trio.lowlevel.Abort.SUCCEEDED
