"""The states of a session as a table. No ``await``.

state      hello      welcomed   end
WAITING    OPENING    –          CLOSED
OPENING    –          OPEN       CLOSED
OPEN       –          –          CLOSED
CLOSED     –          –          CLOSED
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from trouper.transport.errors import TransportError


class SessionState(enum.Enum):
    """Where a session stands."""

    WAITING = "waiting for hello"
    OPENING = "being authenticated and opened"
    OPEN = "open"
    CLOSED = "closed"


class SessionEvent(enum.Enum):
    """What moves a session."""

    HELLO = "hello"
    WELCOMED = "welcomed"
    END = "end"


_NEXT: Mapping[tuple[SessionState, SessionEvent], SessionState] = {
    (SessionState.WAITING, SessionEvent.HELLO): SessionState.OPENING,
    (SessionState.OPENING, SessionEvent.WELCOMED): SessionState.OPEN,
    (SessionState.WAITING, SessionEvent.END): SessionState.CLOSED,
    (SessionState.OPENING, SessionEvent.END): SessionState.CLOSED,
    (SessionState.OPEN, SessionEvent.END): SessionState.CLOSED,
    (SessionState.CLOSED, SessionEvent.END): SessionState.CLOSED,
}


class IllegalSessionEvent(TransportError):
    """A bug of ours: the event is not legal in the state; the message names both."""


def after(state: SessionState, event: SessionEvent) -> SessionState:
    """The state after ``event``. Raises ``IllegalSessionEvent``, naming both."""
    following = _NEXT.get((state, event))
    if following is None:
        raise IllegalSessionEvent(f"{event.value!r} is not legal in the state {state.value!r}")
    return following
