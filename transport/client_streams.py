"""The client's iterators: one output's items, and the changes of the feed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import trio

from trouper.actors.output_pieces import OutputPiece
from trouper.transport.client_core import ClientCore
from trouper.transport.client_errors import ClientStopped
from trouper.transport.client_feed import FeedChange
from trouper.transport.client_output import OutputState


class StreamOwner(Protocol):
    """What an iterator needs of its client."""

    @property
    def stopped(self) -> ClientStopped | None: ...
    def wake(self) -> None:
        """The core may have something to send."""
        ...


class Output:
    """The output of one job, from a cursor on: an async iterator of ``OutputPiece``.

    It ends after ``End`` and in no other way: a lost connection is waited out and resumed. It raises
    ``OutputGone``, ``OutputCorrupt`` (fetched twice, the hash was wrong both times) and
    ``ClientStopped``, each after what was buffered before.

    **Cancellation**: nothing is lost, ``async for`` may go on. **Resources**: it detaches itself at
    the end; whoever leaves it earlier closes it (``contextlib.aclosing``).
    """

    def __init__(
        self, owner: StreamOwner, core: ClientCore, state: OutputState, on_close: Callable[[Output], None]
    ) -> None:
        self._owner = owner
        self._core = core
        self._state = state
        self._on_close = on_close
        self._closed = False
        self.changed = trio.lowlevel.ParkingLot()

    @property
    def job_id(self) -> str:
        return self._state.job_id

    @property
    def received(self) -> tuple[int, int]:
        """The cursor (attempt, entries) of what was received; the consumer may be behind it."""
        return self._state.attempt, self._state.entries

    def __aiter__(self) -> Output:
        return self

    async def __anext__(self) -> OutputPiece:
        await trio.lowlevel.checkpoint()
        while not self._closed:
            item = self._core.read(self._state)
            if item is not None:
                self._owner.wake()
                return item
            if self._state.failure is not None:
                raise self._state.failure
            if self._state.ended:
                break
            if self._owner.stopped is not None:
                raise self._owner.stopped
            await self.changed.park()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Detach; a task that waits for an item sees the end of the iteration. Any number of times.

        **Cancellation**: it is closed all the same.
        """
        self._closed = True
        self._core.close_output(self._state)
        self._on_close(self)
        self._owner.wake()
        self.changed.unpark_all()
        await trio.lowlevel.checkpoint()


class Changes:
    """Changes of the feed, conflated: each is what changed since the last one was taken.

    It holds a cursor and no queue, so a slow reader gets fewer and larger changes. The first one is
    the feed as it is, marked ``replaced``. It never ends; it raises ``ClientStopped``.

    **Cancellation**: nothing is lost. **Resources**: ``aclose`` it, or leave it to the client's end.
    """

    def __init__(self, owner: StreamOwner, core: ClientCore, on_close: Callable[[Changes], None]) -> None:
        self._owner = owner
        self._core = core
        self._on_close = on_close
        self._seq = -1
        self._snapshots = -1
        self._places: Mapping[str, int] | None = None
        self._closed = False
        self.changed = trio.lowlevel.ParkingLot()

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> FeedChange:
        await trio.lowlevel.checkpoint()
        while not self._closed:
            change = self._core.feed.changes_since(self._seq, self._snapshots, self._places)
            if change is not None:
                self._seq, self._snapshots = change.seq, self._core.feed.snapshots
                self._places = change.places
                return change
            if self._owner.stopped is not None:
                raise self._owner.stopped
            await self.changed.park()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """A task that waits for a change sees the end of the iteration. Any number of times."""
        self._closed = True
        self._on_close(self)
        self.changed.unpark_all()
        await trio.lowlevel.checkpoint()
