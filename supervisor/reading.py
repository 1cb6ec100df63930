"""Reading a job's output in this process: ``runtime.read`` gives an ``OutputReader``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import orjson
import trio

from trouper.actors.channel import SubscriberChannel
from trouper.actors.channel_items import ChannelItem, EndItem, GoneItem, OutputItem, RewindItem
from trouper.store.protocol import Store
from trouper.store.records import JobState
from trouper.supervisor.refusals import UnknownJob

_TAKE_BYTES = 64 * 1024


@attrs.frozen
class Text:
    """A piece of output text (neighbouring entries joined)."""

    text: str


@attrs.frozen
class Event:
    """A named event in the output, its data decoded."""

    name: str
    data: Any


@attrs.frozen
class Rewind:
    """A later attempt has begun: of what was read, only the first ``keep`` entries stand."""

    attempt: int
    keep: int


@attrs.frozen
class End:
    """The output is complete; ``sha256`` is over all of it."""

    entries: int
    sha256: str | None
    state: JobState


OutputPiece = Text | Event | Rewind | End


class OutputReader:
    """An async iterator over a job's output, from a cursor to its ``End``.

    **Resources**: its channel is opened by the first step and closed after ``End``, by an error, or by
    ``aclose``: who leaves the loop early uses ``contextlib.aclosing``. **Cancellation** of a step loses
    nothing: the next step goes on.
    """

    def __init__(
        self,
        job_id: str,
        attempt: int,
        n: int,
        store: Store,
        open_channel: Callable[[str], SubscriberChannel],
        close_channel: Callable[[SubscriberChannel], None],
    ) -> None:
        self._cursor = (job_id, attempt, n)
        self._store = store
        self._open_channel = open_channel
        self._close_channel = close_channel
        self._channel: SubscriberChannel | None = None
        self._ready = trio.Event()
        self._pieces: deque[OutputPiece] = deque()
        self._ended = False

    def __aiter__(self) -> OutputReader:
        return self

    async def __anext__(self) -> OutputPiece:
        """The next piece. Raises ``UnknownJob``, ``StoreUnavailable``; ends after ``End``."""
        while not self._pieces:
            if self._ended:
                raise StopAsyncIteration
            channel = self._channel or await self._open()
            ready = self._ready
            items = channel.take(_TAKE_BYTES)
            for item in items:
                self._apply(channel, item)
            if not items:
                await ready.wait()
                self._ready = trio.Event()
        return self._pieces.popleft()

    async def aclose(self) -> None:
        """Close the channel. Safe to call again. Never blocks."""
        self._ended = True
        if self._channel is not None:
            self._close_channel(self._channel)
            self._channel = None

    async def _open(self) -> SubscriberChannel:
        job_id, attempt, n = self._cursor
        job = await self._store.job(job_id)
        if job is None:
            raise UnknownJob(f"there is no job {job_id!r}")
        channel = self._channel = self._open_channel(job.user)
        channel.on_ready = self._wake
        channel.attach(job_id, attempt, n)
        return channel

    def _wake(self) -> None:
        self._ready.set()

    def _apply(self, channel: SubscriberChannel, item: ChannelItem) -> None:
        match item:
            case OutputItem():
                channel.ack(item.sent, 0)
                for part in item.parts:
                    self._pieces.append(
                        Text(part) if isinstance(part, str) else Event(part[0], orjson.loads(part[1]))
                    )
            case RewindItem(attempt=attempt, keep=keep):
                channel.attach(item.job_id, attempt, keep)
                self._pieces.append(Rewind(attempt, keep))
            case EndItem():
                self._pieces.append(End(item.entries, item.sha256, item.state))
                self._finish()
            case GoneItem():
                self._finish()
                raise UnknownJob(f"the output of job {item.job_id!r} is gone")
            case _:
                pass

    def _finish(self) -> None:
        self._ended = True
        if self._channel is not None:
            self._close_channel(self._channel)
            self._channel = None
