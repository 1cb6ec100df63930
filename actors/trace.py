"""The last messages of one actor, for whoever looks on live. An actor that nobody traces pays nothing."""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

import attrs
import trio

TRACE_SIZE: Final = 100
"""Events that a trace keeps unless told otherwise; older ones are forgotten."""

What = Literal["offered", "taken"]


@attrs.frozen
class TraceEvent:
    """A message was offered to the mailbox (and accepted or not), or was taken out to be handled."""

    at: float
    """On trio's clock, seconds."""
    what: What
    message: object


class Trace:
    """A ring of the newest events, the oldest first in ``events``."""

    def __init__(self, size: int = TRACE_SIZE) -> None:
        if size < 1:
            raise ValueError(f"a trace keeps at least 1 event, not {size!r}")
        self._ring: deque[TraceEvent] = deque(maxlen=size)
        self.seen = 0
        """How many events there were, forgotten ones included."""

    @property
    def events(self) -> list[TraceEvent]:
        """The newest events, the oldest first."""
        return list(self._ring)

    def note(self, what: What, message: object) -> None:
        """Add an event."""
        self.seen += 1
        self._ring.append(TraceEvent(trio.current_time(), what, message))
