"""How often something is tried, and the pauses between: for attempts of a job and for its hook."""

from __future__ import annotations

from typing import Any

import attrs


def _positive(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if value < 0:
        raise ValueError(f"{attribute.name}={value!r}: legal are numbers from 0")


@attrs.frozen
class Backoff:
    """Before retry k: a uniform draw from 0 to ``min(max, base × factor^(k-1))`` seconds."""

    base: float = attrs.field(default=1.0, validator=_positive)
    factor: float = attrs.field(default=2.0, validator=_positive)
    max: float = attrs.field(default=60.0, validator=_positive)


@attrs.frozen
class Retry:
    """How many attempts a job has (crashes and process deaths use them up), and the pause between.

    The default is one attempt, so no retry: a model call costs money.
    """

    attempts: int = 1
    backoff: Backoff = Backoff()

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.attempts <= 1000:
            raise ValueError(f"attempts={self.attempts!r}: legal are 1 to 1000")
