"""How long to wait before a restart. No ``await``: waiting is a state of the child."""

from __future__ import annotations

import math
from typing import Protocol

import attrs

from trouper.supervisor.errors import BadSpec
from trouper.supervisor.legal import is_number


class Dice(Protocol):
    """What is needed of the source of randomness in the seams."""

    def random(self) -> float:
        """A number from 0 up to, but not, 1."""
        ...


@attrs.frozen
class Backoff:
    """Grows with each failure in a row, up to ``max_s``, less a random part.

    The random part keeps children that failed together from coming back together.
    """

    base_s: float = 0.1
    """Before the first restart."""
    factor: float = 2.0
    max_s: float = 30.0
    jitter: float = 1.0
    """Which part of the wait is random: 0 none, 1 all of it (full jitter: anything up to the wait)."""
    reset_after_s: float = 60.0
    """An incarnation that lived this long makes the next failure the first again; so does one that says
    ``context.mark_healthy()``."""

    def __attrs_post_init__(self) -> None:
        numbers = all(is_number(each) for each in attrs.astuple(self))
        grows = numbers and 0 <= self.base_s <= self.max_s < math.inf and 1 <= self.factor < math.inf
        if not (grows and 0 <= self.jitter <= 1 and self.reset_after_s > 0):
            raise BadSpec(
                "a backoff has 0 <= base_s <= max_s, finite; factor >= 1, finite; 0 <= jitter <= 1; "
                f"reset_after_s > 0; and not {self}"
            )

    def delay_s(self, failures: int, dice: Dice) -> float:
        """Seconds to wait after ``failures`` in a row (1 or more)."""
        try:
            whole = min(self.max_s, self.base_s * self.factor ** (failures - 1))
        except OverflowError:
            whole = self.max_s
        return whole * (1 - self.jitter * dice.random())
