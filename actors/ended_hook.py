"""What an application has done when a job has ended: declared with ``@reply.on_ended``."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import ClassVar

import attrs

from trouper.actors.retry import Backoff, Retry
from trouper.store.checks import need_options, wrong_number
from trouper.store.records import Job

EndedFunction = Callable[[Job], Awaitable[object]]
"""An async function of the ended job: its state, result, error, arguments …"""


@attrs.frozen(kw_only=True)
class EndedHook:
    """The hook of a job, declared."""

    TIMEOUT_S: ClassVar[float] = 60.0
    RETRY: ClassVar[Retry] = Retry(attempts=10, backoff=Backoff(base=1, factor=2, max=300))

    function: EndedFunction
    timeout_s: float = TIMEOUT_S
    """What one run may take, in seconds."""
    retry: Retry = RETRY


def check_hook(
    name: str,
    function: EndedFunction,
    *,
    timeout: float = EndedHook.TIMEOUT_S,
    retry: Retry = EndedHook.RETRY,
) -> EndedHook:
    """The hook of job ``name``. Raises ``TypeError`` or ``ValueError`` naming the legal forms."""
    legal = "an async function of the ended job"
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"the on_ended hook of job {name!r} is {function!r}: legal is {legal}")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise TypeError(f"the on_ended hook of job {name!r}: {error}; legal is {legal}") from None
    if wrong_number(timeout):
        raise ValueError(f"timeout={timeout!r} of the on_ended hook of {name!r}: legal are seconds above 0")
    need_options(f"retry of the on_ended hook of {name!r}", retry, Retry)
    return EndedHook(function=function, timeout_s=timeout, retry=retry)
