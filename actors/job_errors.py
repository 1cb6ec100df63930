"""What the calls of a ``JobContext`` raise inside a job.

TrouperError
├── OutputRefused      this piece of output cannot be written; says which and why
│   └── OutputTooLarge   the job's output would go beyond its bound
├── BadState           a state, result or notification that is not JSON or too large
├── AttemptOver        the attempt is no longer this node's; the job's task is being stopped
└── (job_spec) BadArguments, Fail, Again
"""

from trouper.store.errors import TrouperError


class OutputRefused(TrouperError):
    """A piece of output that cannot be written. Nothing of it was."""


class OutputTooLarge(OutputRefused):
    """The job has produced all the output that it may, over its attempts."""


class BadState(TrouperError):
    """A state, a result or a notification that is not JSON, or too large."""


class AttemptOver(TrouperError):
    """The store refused a write: another attempt of the job has begun, or it has ended."""


def beyond(what: str, size: int, unit: str, most: int, option: str) -> str:
    """The one wording for what is too large: what it is, how large, and the legal size by its option."""
    return f"{what} has {size} {unit}: legal are up to {most} ({option})"
