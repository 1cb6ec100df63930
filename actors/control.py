"""The control lane of a mailbox: what the runtime says, handed out before any message.

It has no bound of its own and needs none: one ``Stop``, one ``ConsiderPassivation``, one ``Terminated`` for
each watched actor, and no more inspections than ``INSPECTIONS_MAX``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from trouper.actors.errors import ActorError, LimitReached
from trouper.actors.signals import Command, Inspect, Signal, Stop

INSPECTIONS_MAX: Final = 64
"""Bound of the inspections of one actor that wait for it."""


class ControlLane:
    """What waits for an actor's loop. A second one of a key changes nothing."""

    __slots__ = ("_commands", "_signals", "suspended")

    def __init__(self) -> None:
        self._commands: dict[object, Command] = {}
        self._signals: dict[Hashable, Signal] = {}
        self.suspended = False
        """Only commands are handed out: the actor's own code does not run."""

    def command(self, command: Command) -> None:
        """Put a command in. Raises: ``LimitReached`` for an ``Inspect`` too many."""
        if isinstance(command, Inspect):
            if len(self._commands) >= INSPECTIONS_MAX:
                self._forget_abandoned()
            if len(self._commands) >= INSPECTIONS_MAX:
                raise LimitReached(f"{INSPECTIONS_MAX} inspections wait for this actor already")
            self._commands[command] = command
        else:
            self._commands.setdefault(type(command), command)

    def signal(self, key: Hashable, signal: Signal) -> None:
        """Put a signal in."""
        self._signals.setdefault(key, signal)

    def withdraw(self, key: Hashable) -> None:
        """Take back the signal of that key, if it still waits."""
        self._signals.pop(key, None)

    def take(self) -> Command | Signal | None:
        """The next: an order to stop first, so that no flood of anything keeps an actor from ending."""
        if self._commands:
            stop = self._commands.pop(Stop, None)
            return stop if stop is not None else self._commands.pop(next(iter(self._commands)))
        if self._signals and not self.suspended:
            return self._signals.pop(next(iter(self._signals)))
        return None

    def _forget_abandoned(self) -> None:
        """Those who asked have given up: they take no places of those who still wait."""
        self._commands = {
            key: each
            for key, each in self._commands.items()
            if not isinstance(each, Inspect) or each.slot.open
        }

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._commands and not self._signals

    def end_incarnation(self) -> None:
        """Forget what was said to the incarnation. Inspections are of the ref: the next answers them."""
        self._commands = {key: found for key, found in self._commands.items() if isinstance(found, Inspect)}
        self._signals.clear()
        self.suspended = False

    def close(self, error: Callable[[], ActorError]) -> None:
        """Forget everything; each who waits for an inspection gets an ``error()`` of their own."""
        commands, self._commands = self._commands, {}
        self.end_incarnation()
        for command in commands.values():
            if isinstance(command, Inspect):
                command.slot.fail(error())
