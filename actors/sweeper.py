"""The deadlines of asks: one task for all of a run, and no cancel scope for each.

A scope with a deadline costs as much as all the rest of an ask. Most asks are answered in time, so here a
deadline is one entry of a heap, which is looked at when it is due or thrown out when answered.
"""

from __future__ import annotations

import heapq
from typing import Any, Final

import trio

from trouper.actors.ask import ReplySlot

_ANSWERED_MAX: Final = 64
"""Answered asks that may stay in the heap besides as many as are open. Below, a rebuild costs more."""


class Sweeper:
    """Tells slots that their time is over.

    Its task lives from the first ask on until it finds none open, or until ``rest``. It is a system task:
    an ask has no nursery, and its deadline must hold whatever becomes of the actor.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, ReplySlot[Any]]] = []
        self._number = 0  # of equal deadlines the older goes first; slots cannot be compared
        self._rebuild_at = _ANSWERED_MAX
        self._sleep = trio.CancelScope()
        self._woken: trio.Event | None = None
        """Set when the task has slept; ``None`` while there is no task."""

    @trio.lowlevel.enable_ki_protection
    def add(self, slot: ReplySlot[Any], deadline: float) -> None:
        """Have ``slot.expire()`` called at ``deadline``, on trio's clock, unless it is answered before."""
        self._number += 1
        heapq.heappush(self._heap, (deadline, self._number, slot))
        if len(self._heap) > self._rebuild_at:
            self._throw_out_answered()
        if self._woken is None:
            self._woken = trio.Event()
            trio.lowlevel.spawn_system_task(self._sweep, name="deadlines of asks")
        elif deadline < self._sleep.deadline:
            self._sleep.deadline = deadline

    async def rest(self) -> None:
        """End the task if no ask is open: a supervisor that has stopped leaves none behind.

        **Cancellation**: shielded, since it takes one step.
        """
        self._throw_out_answered()
        if self._woken is not None and not self._heap:
            self._sleep.cancel()
            with trio.CancelScope(shield=True):
                await self._woken.wait()

    async def _sweep(self) -> None:
        try:
            while self._heap:
                self._sleep = trio.CancelScope(deadline=self._heap[0][0])
                with self._sleep:
                    await trio.sleep_forever()
                self._expire(trio.current_time())
                self._say_woken(trio.Event())
        finally:
            self._say_woken(None)

    def _say_woken(self, again: trio.Event | None) -> None:
        woken, self._woken = self._woken, again
        if woken is not None:
            woken.set()

    def _expire(self, now: float) -> None:
        while self._heap and (self._heap[0][0] <= now or not self._heap[0][2].open):
            _, _, slot = heapq.heappop(self._heap)
            slot.expire()

    def _throw_out_answered(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].open]
        heapq.heapify(self._heap)
        self._rebuild_at = _ANSWERED_MAX + 2 * len(self._heap)


_of_run: trio.lowlevel.RunVar[Sweeper] = trio.lowlevel.RunVar("trouper.actors.sweeper")


def sweeper() -> Sweeper:
    """That of this run of trio."""
    try:
        return _of_run.get()
    except LookupError:
        found = Sweeper()
        _of_run.set(found)
        return found
