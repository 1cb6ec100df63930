"""What the supervision library raises.

    TrouperError
    └── SupervisionError
        ├── BadSpec               a child spec, a strategy or a number that is not legal (also a ValueError)
        ├── MaxRestartIntensity   children failed too often; raised out of ``run`` to the parent
        ├── StartFailed           a child ended before it said ``started()``
        │   └── StartTimeout      it did not say so in time
        ├── ChildExists           the name is taken
        ├── NoSuchChild           nobody has the name, or not in the state that was asked for
        ├── TooManyChildren       ``max_children`` are there
        └── SupervisorStopped     the supervisor is not running, or is stopping

What a job's submitter is refused with is not here but in ``refusals``.
"""

from __future__ import annotations

from trouper.store.errors import TrouperError


class SupervisionError(TrouperError):
    """The base of what supervisors raise."""


class BadSpec(SupervisionError, ValueError):
    """Something was declared that is not legal; the message says what is."""


class MaxRestartIntensity(SupervisionError):
    """Children failed more often than the supervisor restarts them; its cause is the last crash."""


class StartFailed(SupervisionError):
    """A child ended before it said ``started()``; its cause is the crash, if it was one."""


class StartTimeout(StartFailed):
    """A child did not say ``started()`` within its ``start_timeout_s``, and was cancelled."""


class ChildExists(SupervisionError):
    """The supervisor has a child of this name."""


class NoSuchChild(SupervisionError):
    """The supervisor has no child of this name, or it is not in a state for what was asked."""


class TooManyChildren(SupervisionError):
    """The supervisor has as many children as it may."""


class SupervisorStopped(SupervisionError):
    """The supervisor is not running, or is stopping: it starts nothing."""
