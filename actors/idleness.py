"""Waiting for a message, when it matters how long nothing came.

An actor is idle when nothing waits and no handler runs. A window of idleness begins when that is so and
ends with the next message; what the runtime says to the actor, or asks it for an inspection, does not end
it. An actor that asked for no time-out waits without any of this.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import trio

from trouper.actors.mailbox import Mailbox
from trouper.actors.signals import IdleTimeout, Stop, StopReason


@attrs.frozen
class Passivation:
    """How a keyed supervisor lets idle actors end."""

    leave: Callable[[], None]
    """Called in the step that found nothing to do. What is sent from then on is for the next incarnation."""
    idle_s: float | None = None
    """Seconds without a message before it is considered; ``None``: whenever nothing waits."""


class Idleness:
    """The windows of one incarnation.

    ``leaves``: whether an actor that may be passivated may end, and ends, in this very step.
    """

    __slots__ = ("_idle_from", "_leaves", "_mailbox", "_passivation", "_rest_from", "_seen", "timeout_s")

    def __init__(
        self,
        mailbox: Mailbox[Any],
        passivation: Passivation | None = None,
        leaves: Callable[[], bool] = lambda: False,
    ) -> None:
        self._mailbox = mailbox
        self._passivation = passivation
        self._leaves = leaves
        self.timeout_s: float | None = None
        """Of ``context.set_idle_timeout``."""
        self._seen: object = None
        self._rest_from = 0.0
        self._idle_from: float | None = None
        """``None`` while an ``IdleTimeout`` is being handled."""

    def restart(self) -> None:
        """Begin a new window."""
        self._seen = None

    async def wait(self) -> Stop | IdleTimeout | None:
        """Wait until the mailbox may have something, or a window has passed.

        **Cancellation**: nothing was taken.
        """
        if self._mailbox.suspended:
            self._seen = None
            await self._mailbox.wait()
            return None
        rest_s = None if self._passivation is None else self._passivation.idle_s
        if self._passivation is not None and rest_s is None and self._leaves():
            return Stop(StopReason.PASSIVATED)
        if (seen := self._mailbox.progress()) != self._seen:
            self._seen = seen
            self._rest_from = self._idle_from = trio.current_time()
        elif self._idle_from is None:
            self._idle_from = trio.current_time()
        rest_at = math.inf if rest_s is None else self._rest_from + rest_s
        idle_at = math.inf if self.timeout_s is None else self._idle_from + self.timeout_s
        with trio.move_on_at(min(rest_at, idle_at)):
            await self._mailbox.wait()
            return None
        if not self._mailbox.is_empty():
            return None  # it came in the very moment
        return self._passed(rest_at, idle_at)

    def _passed(self, rest_at: float, idle_at: float) -> Stop | IdleTimeout | None:
        now = trio.current_time()
        if now >= rest_at:
            self._rest_from = now
            if self._leaves():
                return Stop(StopReason.PASSIVATED)
        if now >= idle_at:
            self._idle_from = None  # the next window begins when that has been handled
            return IdleTimeout()
        return None
