"""The counters of one mailbox: what was accepted, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trouper.actors.consumer import ConsumerSide
from trouper.actors.envelope import DeadLetter, DeadLetterOffice, DeadReason, Envelope
from trouper.actors.errors import ActorError

if TYPE_CHECKING:
    from trouper.actors.trace import Trace


class Tally(ConsumerSide):
    """The part of a mailbox that counts."""

    __slots__ = (
        "_accepted",
        "_dead",
        "_handled",
        "_on_dead_letter",
        "_refused",
        "_returned",
        "_superseded",
        "_taken",
        "_trace",
    )

    _on_dead_letter: DeadLetterOffice | None
    _taken: int
    _handled: int

    def __init__(self) -> None:
        super().__init__()
        self._accepted = self._refused = self._handled = self._superseded = self._returned = 0
        self._taken = 0  # of which the actor was given, and which it neither put aside nor lost
        self._dead: dict[DeadReason, int] | None = None  # made when first needed
        self._trace: Trace | None = None

    def progress(self) -> tuple[int, int]:
        """Two numbers, of which one changes with every message that comes or is handled."""
        return self._accepted, self._handled

    def handled(self, _envelope: Envelope[Any]) -> None:
        """The message that was taken was handled."""
        self._handled += 1

    def bury(self, envelope: Envelope[Any], reason: DeadReason, error: ActorError | None = None) -> None:
        """The message that was taken will not be handled; its asker, if any, gets ``error``."""
        self._taken -= 1
        self._dead_letter(envelope, reason)
        if envelope.slot is not None and error is not None:
            envelope.slot.fail(error)

    def _refuse(self, envelope: Envelope[Any]) -> None:
        self._refused += 1
        self._trace_offered(envelope)

    def _trace_offered(self, envelope: Envelope[Any]) -> None:
        """Once for each message: of one whose sender waits, when there is room for it."""
        if self._trace is not None:
            self._trace.note("offered", envelope.message)

    def _dead_letter(self, envelope: Envelope[Any], reason: DeadReason) -> None:
        if self._dead is None:
            self._dead = dict.fromkeys(DeadReason, 0)
        self._dead[reason] += 1
        if self._on_dead_letter is not None:
            self._on_dead_letter(DeadLetter(envelope.message, reason))
