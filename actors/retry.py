"""How often something is tried, and the pauses between: for attempts of a job and for its hook."""

from __future__ import annotations

import attrs

from trouper.store.checks import need_options, number, wrong_count


@attrs.frozen
class Backoff:
    """Before retry k: a uniform draw from 0 to ``min(max, base × factor^(k-1))`` seconds."""

    base: float = number(1.0, zero=True)
    factor: float = number(2.0, zero=True)
    max: float = number(60.0, zero=True)


@attrs.frozen
class Retry:
    """How many attempts a job has (crashes and process deaths use them up), and the pause between.

    The default is one attempt, so no retry: a model call costs money.
    """

    attempts: int = 1
    backoff: Backoff = Backoff()

    def __attrs_post_init__(self) -> None:
        need_options("backoff", self.backoff, Backoff)
        if wrong_count(self.attempts) or self.attempts > 1000:
            raise ValueError(f"attempts={self.attempts!r}: legal are 1 to 1000")
