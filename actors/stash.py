"""Messages that an actor puts aside until it can handle them.

The stash belongs to the mailbox, not to the incarnation: what it holds survives a crash, and the next
incarnation, which begins where the first one began, gets it before anything newer. When the actor ends for
good, askers are told so and the rest are dead letters.

What is taken up again goes ahead of what waits in the mailbox, in the order in which it was put aside. It
stays in the stash's own bound until it is handled, so that it takes no places of the mailbox.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from trouper.actors.envelope import DeadReason, Envelope
from trouper.actors.errors import LimitReached

M = TypeVar("M")

STASH_CAPACITY: Final = 1024
"""Messages that may be put aside, unless ``context.set_stash_capacity`` says otherwise."""


class Stash(Generic[M]):
    """The messages of one mailbox that were put aside."""

    __slots__ = ("aside", "capacity", "resumed")

    def __init__(self, capacity: int = STASH_CAPACITY) -> None:
        self.capacity = capacity
        self.aside: deque[Envelope[M]] = deque()
        """Put aside, the oldest first."""
        self.resumed: deque[Envelope[M]] = deque()
        """Their turn has come; they are handed out before what waits in the mailbox."""

    def add(self, envelope: Envelope[M], bury: Callable[[Envelope[M], DeadReason], None]) -> None:
        """Put a message aside. Raises: ``LimitReached``, if it is full of what somebody still wants handled;
        the rest goes to ``bury``."""
        if len(self.aside) + len(self.resumed) >= self.capacity:
            self._throw_out_unwanted(bury)
        if len(self.aside) + len(self.resumed) >= self.capacity:
            raise LimitReached(f"all {self.capacity} places of the stash are taken")
        self.aside.append(envelope)
        if envelope.slot is not None:
            envelope.slot.taken = False

    def resume(self) -> int:
        """Have everything that was put aside handed out. Returns: how many messages."""
        count = len(self.aside)
        # What was put aside while older ones were being handed out is older than those that were not yet.
        self.resumed.extendleft(reversed(self.aside))
        self.aside.clear()
        return count

    def take(self, bury: Callable[[Envelope[M], DeadReason], None]) -> Envelope[M] | None:
        """The next whose turn has come; those that nobody wants any more go to ``bury``."""
        while self.resumed:
            envelope = self.resumed.popleft()
            if (reason := envelope.unwanted()) is None:
                return envelope
            bury(envelope, reason)
        return None

    def _throw_out_unwanted(self, bury: Callable[[Envelope[M], DeadReason], None]) -> None:
        for line in self.aside, self.resumed:
            for envelope in [each for each in line if each.slot is not None]:
                if (reason := envelope.unwanted()) is not None:
                    line.remove(envelope)  # an envelope is equal to itself only
                    bury(envelope, reason)

    def clear(self) -> list[Envelope[M]]:
        """Take everything out, the oldest first."""
        everything = [*self.aside, *self.resumed]
        self.aside.clear()
        self.resumed.clear()
        return everything
