"""Who is stopped and started again with a child that failed. Pure functions, no ``await``."""

from __future__ import annotations

import enum
from collections.abc import Sequence


class Strategy(enum.Enum):
    """What the failure of one child means for its siblings."""

    ONE_FOR_ONE = "one_for_one"
    """Nothing."""
    REST_FOR_ONE = "rest_for_one"
    """Those started after it depend on it, and are restarted with it."""
    ONE_FOR_ALL = "one_for_all"
    """All depend on each other, and are restarted together."""


class Restart(enum.Enum):
    """Whether a child that ended is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """If it crashed."""
    TEMPORARY = "temporary"
    """Never; nor is its end a failure."""


def affected(strategy: Strategy, children: Sequence[str], failed: str) -> Sequence[str]:
    """The children to restart when ``failed`` failed, itself among them, in the order of their start.

    Those that still run are stopped in the reverse order first.
    """
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return (failed,)
        case Strategy.REST_FOR_ONE:
            return children[children.index(failed) :]
        case Strategy.ONE_FOR_ALL:
            return children


def is_failure(restart: Restart, *, crashed: bool) -> bool:
    """Whether the end of a child calls for a restart."""
    return restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and crashed)
