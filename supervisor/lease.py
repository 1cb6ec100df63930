"""The node's lease on a store that several nodes share: renewed on a timer, let go in time.

A node that cannot renew is, to the others, a dead one: after the lease they run its attempts. So it stops
them itself before that, ``margin_s`` before the end of the lease by its own monotonic clock, counted from
*before* the last renewal was asked for; and it writes nothing more into them. That alone does not suffice
(a process that was suspended wakes up too late, and does not know it), so the store refuses what such an
attempt writes all the same. Both are needed: the fence keeps the rows right, the margin keeps two
attempts from acting on the world at one time. (C. Gray, D. Cheriton: Leases, SOSP 1989.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio

from trouper.store.errors import StoreUnavailable
from trouper.store.leases import Lease
from trouper.store.protocol import Store
from trouper.store.seams import Seams
from trouper.supervisor.child_spec import ChildContext

RENEWALS_PER_LEASE: Final = 3
"""Of the time in which a node may renew: so two of them may fail, and nothing is lost."""

_RETRY_S = 0.5


class LeaseKeeper:
    """Renews, and says whether the node may claim. On a store with one owner it always may."""

    def __init__(self, store: Store, seams: Seams, on_lost: Callable[[str], None]) -> None:
        self._store = store
        self._seams = seams
        self._on_lost = on_lost
        self._held_until = -math.inf
        self._let_go = False
        """The attempts were stopped: this boot is not to be prolonged."""
        self._renewed = trio.Event()
        self.renewals = 0
        self.losses = 0

    @property
    def lease(self) -> Lease | None:
        return self._store.lease

    @property
    def held(self) -> bool:
        """Whether this node may claim, and what it claimed is its own."""
        return self.lease is None or (not self._let_go and self.left_s > 0)

    def owns(self, boot: int | None) -> bool:
        """Whether what was claimed under ``boot`` is still this node's: to begin, to run, to end."""
        return self.held and boot == self._store.boot

    @property
    def left_s(self) -> float:
        """For how long it holds the lease if it cannot renew it, in seconds; not above 0: it does not."""
        return math.inf if self.lease is None else self._held_until - self._seams.now()

    def begin(self) -> None:
        """The store is about to begin a boot: its lease is counted from here."""
        self._let_go = False
        self._prolong(self._seams.now())

    def _prolong(self, asked_at: float) -> None:
        if self.lease is not None:
            self._held_until = asked_at + self.lease.seconds - self.lease.margin_s

    async def run(self, context: ChildContext) -> None:
        """Keep the lease until it is told to stop. **Cancellation**: the lease runs out by itself."""
        context.started()
        if self.lease is None:
            await context.stopping.wait()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._renew_forever, self.lease)
            nursery.start_soon(self._watch)
            await context.stopping.wait()
            nursery.cancel_scope.cancel()

    async def _renew_forever(self, lease: Lease) -> None:
        period_s = (lease.seconds - lease.margin_s) / RENEWALS_PER_LEASE
        pause_s = period_s
        while True:
            await trio.sleep(pause_s)
            pause_s = period_s if await self._renew() else min(_RETRY_S, period_s)

    async def _renew(self) -> bool:
        asked_at = self._seams.now()
        try:
            renewed = await self._store.renew(anew=self._let_go)
        except StoreUnavailable:
            return False
        if renewed.anew:  # it died before we let go of it, or this is what we asked for
            self._lose("the lease had run out on the store")
        elif self._let_go:  # we let go while we were being answered
            return False
        self._let_go = False
        self._prolong(asked_at)
        self.renewals += 1
        self._renewed.set()
        return self.held

    async def _watch(self) -> None:
        """Let go in time, also while a renewal is under way that nobody answers."""
        while True:
            if self.left_s > 0:
                await trio.sleep(self.left_s)
                continue
            self._lose("the lease could not be renewed in time")
            self._renewed = trio.Event()
            await self._renewed.wait()

    def _lose(self, why: str) -> None:
        if not self._let_go:
            self._let_go = True
            self.losses += 1
            self._on_lost(why)

    def statistics(self) -> dict[str, float]:
        """How the lease stands; empty where there is none."""
        if self.lease is None:
            return {}
        return {
            "held": int(self.held),
            "left_s": round(self.left_s, 3),
            "seconds": self.lease.seconds,
            "margin_s": self.lease.margin_s,
            "renewals": self.renewals,
            "losses": self.losses,
        }
