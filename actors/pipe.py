"""Work beside the handler whose result comes back as a message: ``context.pipe_to_self``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from trouper.actors.envelope import OwnEnvelope
from trouper.actors.errors import LimitReached
from trouper.actors.mailbox import Mailbox
from trouper.actors.reports import split_crash

M = TypeVar("M")
T = TypeVar("T")

PIPES_MAX: Final = 1024
"""Bound of the work of one actor that is under way, or whose result waits in its mailbox."""


class Pipes(Generic[M]):
    """The work that one incarnation has under way beside its handler."""

    __slots__ = ("_count", "_mailbox")

    def __init__(self, mailbox: Mailbox[M]) -> None:
        self._mailbox = mailbox
        self._count = 0

    @property
    def busy(self) -> bool:
        """Whether a result is still to come, or waits."""
        return self._count > 0

    def enter(self) -> None:
        """Make room for one more. Raises: ``LimitReached``."""
        if self._count >= PIPES_MAX:
            raise LimitReached(f"the actor has {PIPES_MAX} results of pipe_to_self to wait for already")
        self._count += 1

    async def run(
        self,
        work: Callable[[], Awaitable[T]],
        on_success: Callable[[T], M],
        on_failure: Callable[[Exception], M] | None,
    ) -> None:
        """Do the work, then put what ``on_success`` or ``on_failure`` makes of its outcome in line."""
        try:
            message = on_success(await work())
        except BaseException as error:  # noqa: ASYNC103  # split: what must pass is raised again
            failure, passing = split_crash(error)
            if failure is None or passing is not None or on_failure is None:
                raise
            message = on_failure(failure)
        self._mailbox.add_own(OwnEnvelope(message, on_left=self._left))

    def _left(self) -> None:
        self._count -= 1
