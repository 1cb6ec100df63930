"""What goes through a mailbox's control lane: few, made by the runtime only, at most one of a kind."""

from __future__ import annotations

import enum

import attrs


class StopReason(enum.Enum):
    """Why an incarnation ended."""

    STOPPED = "stopped"
    """It was asked to: ``ref.stop()`` or ``context.stop()``."""
    SHUTDOWN = "shutdown"
    """Its supervisor stops it, alone or with the whole tree."""
    PASSIVATED = "passivated"
    """It had nothing to do; the next message to its key starts another incarnation."""
    CANCELLED = "cancelled"
    """It did not end within its grace, or was cancelled from outside."""
    CRASHED = "crashed"
    """An exception came out of one of its methods or tasks."""


@attrs.frozen
class Stop:
    """End after the message under way."""

    reason: StopReason


@attrs.frozen
class ConsiderPassivation:
    """End if there is nothing to do (``context.maybe_passivate``)."""


Signal = Stop | ConsiderPassivation
