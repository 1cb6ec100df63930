"""Messages that an actor sends itself later. Each timer has a key; starting one again replaces it.

A timer that runs out puts its message in line like any other. While it waits there it can still be
cancelled, and a periodic one does not add a second. All end with the incarnation: a message of a timer
never reaches the next one, and never comes after ``cancel``.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from functools import partial
from itertools import count
from typing import Final, Generic, TypeVar

import attrs
import trio

from trouper.actors.envelope import OwnEnvelope
from trouper.actors.errors import LimitReached
from trouper.actors.mailbox import Mailbox

M = TypeVar("M")

TIMERS_MAX: Final = 1024
"""Bound of the timers of one actor."""


@attrs.define(eq=False)
class _Timer(Generic[M]):
    key: Hashable
    message: M
    at: float
    period_s: float | None
    waiting: OwnEnvelope[M] | None = None
    """Its message, while that waits in the mailbox."""


class Timers(Generic[M]):
    """The timers of one incarnation: ``context.timers``. One task serves them all, from the first on."""

    def __init__(self, mailbox: Mailbox[M], nursery: trio.Nursery) -> None:
        self._mailbox = mailbox
        self._nursery = nursery
        self._timers: dict[Hashable, _Timer[M]] = {}
        self._due: list[tuple[float, int, _Timer[M]]] = []
        self._numbers = count()  # timers of one instant run out in the order in which they were started
        self._scope: trio.CancelScope | None = None

    def start_once(self, key: Hashable, delay_s: float, message: M) -> None:
        """Have ``message`` come once, ``delay_s`` seconds from now.

        Raises: ``LimitReached`` beyond ``TIMERS_MAX`` timers.
        """
        if not 0 <= delay_s < math.inf:
            raise ValueError(f"delay_s is a finite number of seconds from 0, not {delay_s!r}")
        self._start(_Timer(key, message, trio.current_time() + delay_s, None))

    def start_periodic(self, key: Hashable, period_s: float, message: M) -> None:
        """Have ``message`` come every ``period_s`` seconds, first in ``period_s`` from now. Periods that pass
        while it still waits, or while the loop is busy, are left out.

        Raises: ``LimitReached`` beyond ``TIMERS_MAX`` timers.
        """
        if not 0 < period_s < math.inf:
            raise ValueError(f"period_s is a finite number of seconds above 0, not {period_s!r}")
        self._start(_Timer(key, message, trio.current_time() + period_s, period_s))

    def cancel(self, key: Hashable) -> bool:
        """End a timer; its message does not come any more, also if it waits already.

        Returns: whether there was one.
        """
        timer = self._timers.pop(key, None)
        if timer is not None and timer.waiting is not None:
            self._mailbox.withdraw_own(timer.waiting)
        return timer is not None

    def cancel_all(self) -> None:
        """End all timers."""
        for key in list(self._timers):
            self.cancel(key)

    def is_active(self, key: Hashable) -> bool:
        """Whether a message of that timer is still to come, or waits."""
        return key in self._timers

    def _start(self, timer: _Timer[M]) -> None:
        self.cancel(timer.key)
        if len(self._timers) >= TIMERS_MAX:
            raise LimitReached(f"the actor has {TIMERS_MAX} timers already")
        if self._scope is None:
            self._scope = trio.CancelScope()
            self._nursery.start_soon(self._run)
        self._timers[timer.key] = timer
        self._push(timer)

    def _push(self, timer: _Timer[M]) -> None:
        heapq.heappush(self._due, (timer.at, next(self._numbers), timer))
        if len(self._due) > 2 * len(self._timers) + 16:
            # An hour's timer that is started anew with each message would else leave an entry each time.
            self._due = [entry for entry in self._due if self._timers.get(entry[2].key) is entry[2]]
            heapq.heapify(self._due)
        if self._scope is not None:
            self._scope.deadline = self._due[0][0]

    async def _run(self) -> None:
        while True:
            at = self._due[0][0] if self._due else math.inf
            with trio.CancelScope(deadline=at) as self._scope:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._due and self._due[0][0] <= now:
                timer = heapq.heappop(self._due)[2]
                if self._timers.get(timer.key) is timer:
                    self._run_out(timer, now)

    def _run_out(self, timer: _Timer[M], now: float) -> None:
        if timer.waiting is None:
            timer.waiting = OwnEnvelope(timer.message, on_left=partial(self._left, timer))
            self._mailbox.add_own(timer.waiting)
        if timer.period_s is not None:
            timer.at += timer.period_s * max(1, math.floor((now - timer.at) / timer.period_s) + 1)
            self._push(timer)

    def _left(self, timer: _Timer[M]) -> None:
        timer.waiting = None
        if timer.period_s is None and self._timers.get(timer.key) is timer:
            del self._timers[timer.key]
