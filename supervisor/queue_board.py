"""The queue as people see it: which place their waiting jobs have.

A start moves the places of all who wait, so places are no rows and have no seq: they are told like progress,
the latest only, and to sessions of their user. One read of the store gives them for everybody with sessions,
at most once in ``places_interval_s`` and only while the queue moves; a commit costs a flag.
"""

from __future__ import annotations

import trio

from trouper.actors.subscribers import Subscribers
from trouper.store.errors import StoreUnavailable
from trouper.store.protocol import CommitNotice, Store
from trouper.supervisor.child_spec import ChildContext
from trouper.supervisor.options import RuntimeOptions


class QueueBoard:
    """A child of the core."""

    def __init__(self, store: Store, subscribers: Subscribers, options: RuntimeOptions) -> None:
        self.queued = 0
        """Queued rows, over all users, as of the last claim."""
        self._store = store
        self._subscribers = subscribers
        self._options = options
        self._moved = trio.Event()
        self._told: frozenset[str] = frozenset()

    def counted(self, queued: int) -> None:
        """A claim has counted the queue."""
        self.queued = queued

    def committed(self, notice: CommitNotice) -> None:
        """The step after each commit."""
        if notice.jobs:
            self._moved.set()

    def opened(self) -> None:
        """There is one more session."""
        self._moved.set()

    async def run(self, context: ChildContext) -> None:
        """Tell until told to stop. **Cancellation**: nothing is lost: the next one tells all places anew."""
        context.started()
        self._moved.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_forever)
            await context.stopping.wait()
            nursery.cancel_scope.cancel()

    async def _tell_forever(self) -> None:
        while True:
            await self._moved.wait()
            self._moved = trio.Event()
            try:
                await self._tell()
            except StoreUnavailable:
                self._moved.set()
            await trio.sleep(self._options.places_interval_s)

    async def _tell(self) -> None:
        options = self._options
        places = await self._store.queue_places(
            self._subscribers, per_user=options.places_per_user, users=options.places_users
        )
        for user in self._told | places.keys():
            for channel in self._subscribers.of(user):
                channel.set_places(places.get(user, ()))
        self._told = frozenset(places)
