"""A call that does not return: who waits for the store is told so, and so is whoever comes, until it returns.

Nothing can end a system call that hangs (an ``fsync`` on a disk that is gone, a file on a network), and to
open the database once more beside it would be the end of the database. So the call is waited for; its
callers need not wait with it. That it hangs is found by looking, now and then and not at the call's
beginning and end: those are the hot path. And it is found by several looks, not by one clock: a process that
was frozen has had one look for all of that time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import trio

LOOKS: Final = 5
"""How often a call is looked at before it is taken for one that hangs."""

_log = logging.getLogger("trouper")


class Overdue:
    """The present call of a store's thread. ``name``: whose, for the log."""

    def __init__(self, name: str, answer_s: float) -> None:
        self._name = name
        self._answer_s = answer_s
        self._call = 0
        """The number of the present call, 0 between two."""
        self._calls = 0
        self._since = 0.0
        self.late = False
        """Whether it has been let go: who comes now is not to wait for it."""
        self._asleep = False
        self._wake = trio.Event()

    # --- the hot path ---

    def began(self) -> None:
        """A call was handed over."""
        self._calls = self._call = self._calls + 1
        self._since = trio.current_time()
        if self._asleep:
            self._asleep = False
            self._wake.set()

    def over(self, *, answered: bool) -> None:
        """And is over, or nobody waits for it any more."""
        if self.late:
            if answered:
                _log.warning("%s has answered after %.1f s", self._name, self.lasts_s)
            self.late = False
            self._wake.set()
        self._call = 0

    # --- for everybody ---

    @property
    def lasts_s(self) -> float:
        """How long the present call has lasted, in seconds; 0 if there is none."""
        return trio.current_time() - self._since if self._call else 0.0

    @property
    def complaint(self) -> str:
        """What those are told who would have to wait."""
        return f"{self._name} has not answered for {self.lasts_s:.1f} s (answer_s is {self._answer_s:g})"

    # --- the task ---

    async def watch(self, let_go: Callable[[], int]) -> None:
        """Have those let go who wait for a call that lasts ``answer_s``: no later, and no more than a sixth
        of that earlier. ``let_go`` tells them, and gives how many they were. **Cancellation**: none is told.
        """
        call = looks = 0
        while True:
            if self.late or not self._call:
                self._asleep = not self.late
                self._wake = trio.Event()
                await self._wake.wait()
                continue
            if call != self._call:
                call, looks = self._call, 0
            elif looks == LOOKS:
                self.late = True
                _log.warning("%s: %d who waited are told so", self.complaint, let_go())
                continue
            await trio.sleep(self._answer_s / (LOOKS + 1))
            looks += 1


async def comes_in_time(event: trio.Event, seconds: float) -> bool:
    """Whether ``event`` is set within ``seconds``; of the time in which the process was frozen a part counts.

    **Cancellation**: shielded.
    """
    for _ in range(LOOKS):
        with trio.move_on_after(seconds / LOOKS, shield=True):
            await event.wait()
        if event.is_set():
            return True
    return False
