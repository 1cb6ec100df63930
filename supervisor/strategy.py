"""Who is stopped and started again with a child that ended, and when that ends it all.

Pure functions, no ``await``: a supervisor's loop asks them and does what they say.
"""

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


class AutoShutdown(enum.Enum):
    """Whether a supervisor ends by itself when significant children have ended by themselves."""

    NEVER = "never"
    """It does not, and no child may be significant."""
    ANY_SIGNIFICANT = "any_significant"
    """When one of them has."""
    ALL_SIGNIFICANT = "all_significant"
    """When the last of them has that was still active."""


class ExitReason(enum.Enum):
    """How an incarnation ended."""

    RETURNED = "returned"
    """By itself."""
    STOPPED = "stopped"
    """It was asked to, and returned within its grace."""
    CANCELLED = "cancelled"
    """It was cancelled: its start was given up, or its grace was over."""
    CRASHED = "crashed"
    """An exception came out of it."""
    IGNORED = "ignored"
    """It said at its start that there is nothing to run."""


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


def calls_for_restart(restart: Restart, exit: ExitReason) -> bool:
    """Whether a child that ended is started again.

    One that its supervisor asked to end, or that said that it has nothing to run, is not, whatever its
    type. One that was cancelled has not done its work: that counts as a crash does.
    """
    match exit:
        case ExitReason.STOPPED | ExitReason.IGNORED:
            return False
        case ExitReason.RETURNED:
            return restart is Restart.PERMANENT
        case ExitReason.CRASHED | ExitReason.CANCELLED:
            return restart is not Restart.TEMPORARY


def shuts_down(auto_shutdown: AutoShutdown, others_active: int) -> bool:
    """Whether a supervisor ends now that a significant child has ended by itself, for good.

    ``others_active``: its other significant children that run, or wait for a restart.
    """
    match auto_shutdown:
        case AutoShutdown.NEVER:
            return False
        case AutoShutdown.ANY_SIGNIFICANT:
            return True
        case AutoShutdown.ALL_SIGNIFICANT:
            return others_active == 0


def may_be_significant(auto_shutdown: AutoShutdown, restart: Restart) -> bool:
    """Whether a child may be significant: a permanent one never ends for good, and where nothing ends by
    itself the word would be a mistake that nobody notices."""
    return auto_shutdown is not AutoShutdown.NEVER and restart is not Restart.PERMANENT
