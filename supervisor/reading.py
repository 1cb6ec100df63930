"""Reading a job's output in this process: ``runtime.read`` gives an ``OutputReader``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs
import orjson
import trio

from trouper.actors.channel import SubscriberChannel
from trouper.actors.channel_items import ChannelItem, EndItem, GoneItem, OutputItem, RewindItem
from trouper.actors.job_spec import BadArguments
from trouper.actors.output_pieces import End, Event, OutputPiece, Rewind, Text
from trouper.store.checks import wrong_count
from trouper.store.errors import StoreCorrupt
from trouper.store.output_log import OutputHash
from trouper.store.protocol import Store
from trouper.supervisor.refusals import Draining, UnknownJob

_TAKE_BYTES = 64 * 1024
_BOUNDS_MAX = 512
"""Frame bounds remembered for a rewind. Beyond it every other one is forgotten: a rewind then goes back
a little further than it must, and part of the output comes again."""


@attrs.frozen
class _Bound:
    """What was yielded up to the end of a frame."""

    entries: int
    characters: int
    events: int
    hash: OutputHash | None
    """Over all of it; None if the iterator did not begin at entry 0."""


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
        for what, number in (("attempt", attempt), ("n", n)):
            if legal := wrong_count(number, 0):
                raise BadArguments(f"{what}={number!r:.40} of a cursor: {legal}")
        self._cursor = (job_id, attempt, n)
        self._store = store
        self._open_channel = open_channel
        self._close_channel = close_channel
        self._channel: SubscriberChannel | None = None
        self._ready = trio.Event()
        self._pieces: deque[OutputPiece] = deque()
        self._bounds = [_Bound(n, 0, 0, OutputHash() if n == 0 else None)]
        self._ended = False

    def __aiter__(self) -> OutputReader:
        return self

    async def __anext__(self) -> OutputPiece:
        """The next piece; ends after ``End``.

        Raises ``UnknownJob``, ``StoreUnavailable``, ``Draining`` if the runtime ends before the job, and
        ``StoreCorrupt`` if part of the output cannot be read, or all of it was read and does not match its
        hash.
        """
        while not self._pieces:
            if self._ended:
                raise StopAsyncIteration
            channel = self._channel or await self._open()
            ready = self._ready
            items = channel.take(_TAKE_BYTES)
            for item in items:
                self._apply(channel, item)
            if not items:
                if channel.closed:
                    self._finish()
                    raise Draining("this runtime has ended: read on from here in the next")
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
                self._yield_frame(item)
            case RewindItem(attempt=attempt, keep=keep):
                bound = self._rewind_to(keep)
                channel.attach(item.job_id, attempt, bound.entries)
                self._pieces.append(Rewind(attempt, bound.entries, bound.characters, bound.events))
            case EndItem():
                self._finish()
                self._pieces.append(End(item.entries, item.sha256, self._verified(item), item.state))
            case GoneItem(reason="damaged"):
                self._finish()
                raise StoreCorrupt(f"part of the output of job {item.job_id!r} cannot be read")
            case GoneItem():
                self._finish()
                raise UnknownJob(f"the output of job {item.job_id!r} is gone")
            case _:
                pass

    def _rewind_to(self, keep: int) -> _Bound:
        while len(self._bounds) > 1 and self._bounds[-1].entries > keep:
            self._bounds.pop()
        if self._bounds[0].entries > keep:  # it began beyond: all that it yielded is gone
            self._bounds = [_Bound(0, 0, 0, OutputHash())]
        return self._bounds[-1]

    def _verified(self, item: EndItem) -> bool:
        found = self._bounds[-1].hash
        if found is None:
            return False
        if found.hexdigest() != item.sha256:
            raise StoreCorrupt(f"the output of job {item.job_id!r} does not match the hash kept with its row")
        return True

    def _yield_frame(self, item: OutputItem) -> None:
        last = self._bounds[-1]
        characters, events = last.characters, last.events
        hasher = None if last.hash is None else last.hash.copy()
        for part in item.parts:
            if hasher is not None:
                hasher.update(part)
            if isinstance(part, str):
                characters += len(part)
                self._pieces.append(Text(part))
            else:
                events += 1
                self._pieces.append(Event(part[0], orjson.loads(part[1]), part[1]))
        self._bounds.append(_Bound(item.end, characters, events, hasher))
        if len(self._bounds) > _BOUNDS_MAX:
            del self._bounds[1:-1:2]

    def _finish(self) -> None:
        self._ended = True
        if self._channel is not None:
            self._close_channel(self._channel)
            self._channel = None
