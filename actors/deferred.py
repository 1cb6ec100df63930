"""An answer that is given after the handler has returned."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Generic, TypeVar

import trio

from trouper.actors.ask import ReplySlot
from trouper.actors.errors import ActorError, NoReply

R = TypeVar("R")


class DeferredReply(Generic[R]):
    """The handle of one answer that is still owed. Made by ``context.deferred_reply()`` only.

    The asker always hears something: the answer; ``ActorCrashed`` or ``ActorStopped`` if the incarnation
    ends first; ``NoReply`` if the handle is dropped; or the end of its own time.
    """

    __slots__ = ("_name", "_slot", "_token", "_what")

    def __init__(self, slot: ReplySlot[R], name: str, request: object) -> None:
        self._slot = slot
        self._name = name
        self._what = type(request).__name__
        self._token = trio.lowlevel.current_trio_token()

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return self._slot.open

    def succeed(self, value: R) -> bool:
        """Give the answer. Returns: whether it was still wanted."""
        return self._slot.succeed(value)

    def fail(self, error: Exception) -> bool:
        """Make the ``ask`` raise ``error``. Returns: whether it was still wanted."""
        return self._slot.fail(error)

    def __del__(self) -> None:
        # The garbage collector may run in any OS thread and between any two steps: the asker is woken by
        # trio itself, later. A run that is over has no askers.
        if self._slot.open:
            error = NoReply(f"{self._name!r} dropped the answer to {self._what} that it had put off")
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._slot.fail, error)


class OwedReplies:
    """The slots of the answers that an incarnation still owes."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: set[ReplySlot[Any]] = set()

    def add(self, slot: ReplySlot[Any]) -> None:
        """Note one more; those that were given meanwhile are forgotten now and then."""
        if len(self._slots) >= 64 and len(self._slots) & (len(self._slots) - 1) == 0:
            self._forget_given()
        self._slots.add(slot)

    def any(self) -> bool:
        """Whether somebody waits for an answer."""
        self._forget_given()
        return bool(self._slots)

    def fail(self, error: ActorError) -> None:
        """The incarnation has ended: whoever still waits gets ``error``."""
        slots, self._slots = self._slots, set()
        for slot in slots:
            slot.fail(type(error)(*error.args))

    def _forget_given(self) -> None:
        self._slots = {slot for slot in self._slots if slot.open}
