"""Requests and the one-shot slot that their answer comes back through.

A slot is filled once: a late answer finds it abandoned and goes nowhere, so it can reach neither a
later request of the same asker nor crash the actor that answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import outcome
import trio

from trouper.actors.errors import AskTimeout

R = TypeVar("R")


class Request(Generic[R]):
    """The base of messages that want an answer of type ``R``.

    ``@attrs.frozen class GetJobs(Request[list[Job]]): user: str`` makes ``await ref.ask(GetJobs("ada"),
    timeout=1)`` a ``list[Job]`` for type checkers.
    """

    __slots__ = ()


class ReplySlot(Generic[R]):
    """Where one task waits for one value or error, made by somebody else."""

    __slots__ = ("_outcome", "_task", "abandoned", "deferred", "expired", "taken")

    def __init__(self) -> None:
        self._outcome: outcome.Outcome[R] | None = None
        self._task: trio.lowlevel.Task | None = None
        self.abandoned = False
        """The waiting task was cancelled or timed out: nobody wants the answer any more."""
        self.expired = False
        """It is abandoned because its deadline has passed."""
        self.taken = False
        """Somebody began to work on it: what tells a slow handler from a full mailbox in a time-out."""
        self.deferred = False
        """It will be filled after the handler has returned (``context.deferred_reply``)."""

    @property
    def open(self) -> bool:
        """Whether an answer would still reach somebody."""
        return self._outcome is None and not self.abandoned

    def succeed(self, value: R) -> bool:
        """Give the answer. Says whether it was wanted; a second or late answer is not."""
        return self._fill(outcome.Value(value))

    def fail(self, error: Exception) -> bool:
        """Make the waiting task raise ``error``. Says whether it was wanted."""
        return self._fill(outcome.Error(error))

    @trio.lowlevel.enable_ki_protection
    def expire(self) -> None:
        """Its deadline has passed: make the waiting task raise ``AskTimeout``. Nothing if it is answered."""
        if self.open:
            self.abandoned = self.expired = True
            if self._task is not None:
                trio.lowlevel.reschedule(self._task, outcome.Error(AskTimeout()))
                self._task = None

    @trio.lowlevel.enable_ki_protection
    def _fill(self, result: outcome.Outcome[R]) -> bool:
        if self._outcome is not None or self.abandoned:
            return False
        self._outcome = result
        if self._task is not None:
            trio.lowlevel.reschedule(self._task, result)
            self._task = None
        return True

    async def wait(self) -> R:
        """Wait for the answer.

        Returns: the value given to ``succeed``. Raises: the error given to ``fail``;
        ``AskTimeout`` without a text after ``expire``.

        **Cancellation**: the slot is then abandoned; an answer that was given before wins.
        """
        try:
            if self._outcome is None and not self.abandoned:
                self._task = trio.lowlevel.current_task()
                answer: R = await trio.lowlevel.wait_task_rescheduled(self._abort)
                return answer
            await trio.lowlevel.cancel_shielded_checkpoint()
            if self._outcome is None:
                raise AskTimeout
            return self._outcome.unwrap()
        finally:
            if self._outcome is not None:
                self._outcome = _TAKEN  # not kept: the slot may outlive the answer, in the sweeper's heap

    def _abort(self, _raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        self._task = None
        self.abandoned = True
        return trio.lowlevel.Abort.SUCCEEDED


_TAKEN: outcome.Outcome[Any] = outcome.Error(RuntimeError("the answer was taken"))
