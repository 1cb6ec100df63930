"""The Python client: ``async with connect("ws://127.0.0.1:8000") as client``.

It connects, and connects again, by itself; resumes the feed and every output at its cursor; sends
unanswered commands again. What it knows is in ``client_core``, how it talks in ``client_link``.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal

import attrs
import orjson
import trio

from trouper.actors.output_pieces import Transcript
from trouper.store.seams import Seams
from trouper.transport.client_clock import ServerClock
from trouper.transport.client_commands import Commands
from trouper.transport.client_core import ClientCore
from trouper.transport.client_encoding import checked, packed
from trouper.transport.client_errors import ClientStopped
from trouper.transport.client_events import Broken, FeedChanged, ItemRefused, OutputChanged, Replied, Welcomed
from trouper.transport.client_feed import FeedState
from trouper.transport.client_link import Dial, Frames, Link, LinkEnd, Target, load_trio_websocket
from trouper.transport.client_options import ClientOptions
from trouper.transport.client_streams import Changes, Output
from trouper.transport.client_views import WireItem


@attrs.frozen(kw_only=True)
class Connection:
    """How the client stands with its server."""

    state: Literal["connecting", "connected", "waiting", "stopped"]
    """``waiting``: for the next try, ``retry_in_s`` after the last end."""
    session: str | None = None
    user: str | None = None
    code: int | None = None
    """The close code of the last connection that ended; None if it had none."""
    reason: str = ""
    """Why the last connection ended."""
    failures: int = 0
    """Connections in a row that could not be made or did not last ``ClientOptions.stable_s``; 0 while
    connected."""
    retry_in_s: float | None = None


class _Answer:
    """Where a command's caller waits."""

    def __init__(self) -> None:
        self.come = trio.Event()
        self.reply: Replied | None = None


class Client(Commands):
    """A session with a gateway. Made by ``connect``; lives as long as its ``async with``.
    **Cancellation** of a wait leaves nothing, and the client goes on."""

    def __init__(
        self,
        core: ClientCore,
        target: Target,
        headers: Sequence[tuple[str, str]],
        dial: Dial,
        seams: Seams,
        options: ClientOptions,
    ) -> None:
        self._core = core
        self._target = target
        self._headers = headers
        self._dial = dial
        self._new_id = seams.new_id
        self._options = options
        self._link: Link | None = None
        self._connection = Connection(state="connecting")
        self._connection_changed = trio.lowlevel.ParkingLot()
        self._may_command = trio.Semaphore(options.max_pending_commands)
        self._answers: dict[str, _Answer] = {}
        self._outputs: dict[str, Output] = {}
        self._changes: set[Changes] = set()
        self._closing = False
        self._welcomed_at: float | None = None
        self._refused_items = 0
        self.last_refusal: str | None = None
        """The latest ``error`` item of the server's, if there was one."""
        self.frames = Frames()
        self.stopped: ClientStopped | None = None
        """Why no connection will be made any more; None while one will."""

    def _new_key(self) -> str:
        return self._new_id()

    async def _ask(self, kind: str, fields: Mapping[str, Any], **optional: Any) -> WireItem:
        given = {name: value for name, value in optional.items() if value is not None}
        fields = checked(kind, {**fields, **given})
        async with self._may_command:
            if self.stopped is not None:
                raise self.stopped
            id = self._core.command(kind, fields)
            answer = self._answers[id] = _Answer()
            try:
                self.wake()
                await answer.come.wait()
            finally:
                del self._answers[id]
                self._core.abandon(id)
        if answer.reply is None:
            assert self.stopped is not None
            raise self.stopped
        if answer.reply.error is not None:
            raise answer.reply.error
        assert answer.reply.ok is not None
        return answer.reply.ok

    # --- output and feed ------------------------------------------------------------------------

    def output(self, job_id: str, attempt: int = 0, n: int = 0) -> Output:
        """The output of a job after the cursor (``attempt``, ``n`` entries held), now and as it comes.

        Attached at once. Raises ``AttachRefused`` if this client has this output open already or has
        ``max_outputs`` open; ``ValueError`` for an impossible cursor.

        **Resources**: see ``Output``; ``async with contextlib.aclosing(client.output(id)) as items``.
        """
        if self.stopped is not None:
            raise self.stopped
        state = self._core.open_output(job_id, attempt, n)
        output = self._outputs[job_id] = Output(self, self._core, state, self._forget)
        self.wake()
        return output

    async def text(self, job_id: str) -> str:
        """All the text of a job, when it has ended; its hash was verified. It is held in memory.

        **Cancellation**: nothing of it is kept.
        """
        transcript = Transcript()
        async with aclosing(self.output(job_id)) as items:
            async for item in items:
                transcript.add(item)
        return transcript.text

    @property
    def feed(self) -> FeedState:
        """Jobs, notifications and counts as last heard of; empty until the first welcome."""
        return self._core.feed

    def changes(self) -> Changes:
        """Changes of the feed, conflated; the first is the feed as it is."""
        changes = Changes(self, self._core, self._changes.discard)
        self._changes.add(changes)
        return changes

    def server_time(self) -> float:
        """What time it is by the server's clock, in seconds since the epoch: all times of rows are by it, so
        how long a question is still open is ``asking["expires_at"] - client.server_time()``. Until the first
        welcome it is by this machine's own."""
        return self._core.clock.now()

    def set_visible(self, visible: bool) -> None:
        """Whether a person can see this session now: only then does output that was received count
        as seen."""
        self._core.set_visible(visible)
        self.wake()

    def set_coalesce(self, ms: int | None) -> None:
        """For how long the server may gather output before it sends it: 0, 100 or 500 milliseconds;
        None: as it chooses (25 ms). From now on, also on later connections. Raises ``ValueError``."""
        self._core.set_coalesce(ms)
        self.wake()

    # --- the connection -------------------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """Where it stands now: connecting, connected, waiting to try again, or stopped."""
        return self._connection

    async def wait_connected(self) -> Connection:
        """Wait until the server has welcomed this client. Raises ``ClientStopped``."""
        await trio.lowlevel.checkpoint()
        while self._connection.state != "connected":
            if self.stopped is not None:
                raise self.stopped
            await self._connection_changed.park()
        return self._connection

    async def wait_connection_changed(self) -> Connection:
        """Wait for the next change of ``connection`` and return it as it is then."""
        await self._connection_changed.park()
        return self._connection

    async def drop_connection(self) -> None:
        """Cut the connection without a word, as a network does; the client then comes back by
        itself. For tests and demonstrations. **Cancellation**: it is cut all the same."""
        if self._link is not None:
            await self._link.drop()

    def statistics(self) -> dict[str, int]:
        """The use of each bound, and what happened so far."""
        shell = {"outputs_waiting": len(self._outputs), "items_refused": self._refused_items}
        return {**self._core.statistics(), **attrs.asdict(self.frames), **shell}

    def wake(self) -> None:
        """Have the writer look whether there is something to send."""
        if self._link is not None and self._core.pending:
            self._link.wake()

    # --- what the link asks ---------------------------------------------------------------------

    @property
    def silence_s(self) -> float | None:
        """After how long without a byte the connection is dead; None before the welcome."""
        return self._core.silence_s

    def opened(self) -> None:
        """A connection stands: say hello, and what was asked and not answered."""
        self._core.opened()

    def outgoing(self) -> list[str]:
        """The messages that are due, taken."""
        return packed(self._core.take())

    def received(self, message: str | bytes) -> str | None:
        """Take over a message of the server's; a text if it breaks the protocol, saying how."""
        if isinstance(message, bytes):
            return "the server sent a binary message"
        try:
            items = orjson.loads(message)
        except orjson.JSONDecodeError as error:
            return f"the server sent what is not JSON: {error}"
        for event in self._core.received(items):
            match event:
                case Welcomed(session, user):
                    self._welcomed_at = trio.current_time()
                    self._connection = Connection(state="connected", session=session, user=user)
                    self._connection_changed.unpark_all()
                case Replied():
                    self._answered(event)
                case FeedChanged():
                    for changes in self._changes:
                        changes.changed.unpark_all()
                case OutputChanged(state):
                    output = self._outputs.get(state.job_id)
                    if output is not None:
                        output.changed.unpark_all()
                        if state.ended:
                            self._forget(output)
                case ItemRefused(code, text):
                    self._refused_items += 1
                    self.last_refusal = f"{code}: {text}"
                case Broken(reason):
                    return reason
        return None

    def _forget(self, output: Output) -> None:
        """Nothing will come for it any more: who holds the iterator has all there is."""
        if self._outputs.get(output.job_id) is output:
            del self._outputs[output.job_id]

    def _answered(self, reply: Replied) -> None:
        answer = self._answers.get(reply.id)
        if answer is not None:
            answer.reply = reply
            answer.come.set()

    # --- living and ending ----------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, again and again, until the server does not want it. Started by ``connect``."""
        while True:
            self._link = Link(self._target, self._headers, self._dial, self._options, self.frames)
            self._welcomed_at = None
            self._become(Connection(state="connecting", failures=self._core.failures))
            end = await self._link.run(self)
            self._link = None
            if self._closing:
                return
            delay_s = self._core.closed(end.code, self._lasted_s())
            if delay_s is None:
                self._stop(ClientStopped(end.code, end.reason), end)
                return
            self._become(
                Connection(
                    state="waiting",
                    code=end.code,
                    reason=end.reason,
                    failures=self._core.failures,
                    retry_in_s=delay_s,
                )
            )
            await trio.sleep(delay_s)

    def _lasted_s(self) -> float:
        return 0.0 if self._welcomed_at is None else trio.current_time() - self._welcomed_at

    def _become(self, connection: Connection) -> None:
        self._connection = connection
        self._connection_changed.unpark_all()

    def _stop(self, why: ClientStopped, end: LinkEnd) -> None:
        """Nobody is to wait for what will not come."""
        if self.stopped is not None:
            return
        self.stopped = why
        self._become(Connection(state="stopped", code=end.code, reason=end.reason))
        for answer in self._answers.values():
            answer.come.set()
        for output in self._outputs.values():
            output.changed.unpark_all()
        for changes in self._changes:
            changes.changed.unpark_all()

    async def aclose(self) -> None:
        """Send what is left and close cleanly, within ``close_timeout_s``; then cut. Done by the
        ``async with`` at its end.

        **Cancellation**: not a cancellation point; it is bounded.
        """
        self._closing = True
        with trio.move_on_after(self._options.close_timeout_s) as closing:
            closing.shield = True
            if self._link is not None:
                await self._link.aclose()
        self._stop(ClientStopped(None, "the client was closed"), LinkEnd(1000, "the client was closed"))


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    seams: Seams | None = None,
    options: ClientOptions | None = None,
    feed: bool = True,
    visible: bool = True,
    coalesce_ms: int | None = None,
    ssl_context: ssl.SSLContext | None = None,
    dial: Dial | None = None,
) -> AsyncIterator[Client]:
    """A client of the gateway at ``url`` (``ws://host:port``; ``wss``, ``http`` and ``https`` too).

    It does not wait for the connection: commands do, and ``Client.wait_connected``.

    * ``token``: for a gateway that asks for one; it goes in the first message, never in the URL.
    * ``headers``: of the handshake, such as a cookie (an ``Origin`` is then added by itself).
    * ``seams``: ids, randomness and the wall clock. ``options``: every bound and time.
    * ``feed``: keep the rows of the feed in ``Client.feed``; without, only its cursor.
    * ``visible``: a person can see this session.
    * ``coalesce_ms``: for how long the server may gather output, see ``Client.set_coalesce``.
    * ``ssl_context``: for ``wss``; the default trusts what the system trusts.
    * ``dial``: opens the byte stream instead of a TCP connection to the URL's host.

    Raises ``ValueError`` for a URL that is none or another ``coalesce_ms``, ``MissingLibrary`` without
    trio-websocket.

    **Cancellation**: closed as at its end, within ``close_timeout_s``. **Resources**: at the end of
    the ``async with`` nothing is left; iterators that are still open raise ``ClientStopped``.
    """
    load_trio_websocket()
    target = Target.parse(url)
    options = options or ClientOptions()
    seams = seams or Seams()
    sent_headers = list(headers)
    names = {name.lower() for name, _ in sent_headers}
    if "cookie" in names and "origin" not in names:
        sent_headers.append(("Origin", target.origin))  # a gateway refuses cookies of other origins
    core = ClientCore(
        options=options,
        uniform=seams.random.uniform,
        clock=ServerClock(trio.current_time, seams.wall),
        token=token,
        visible=visible,
        feed_rows=feed,
        coalesce_ms=coalesce_ms,
    )

    async def dial_target() -> trio.abc.Stream:
        return await target.dial(ssl_context)

    client = Client(core, target, sent_headers, dial or dial_target, seams, options)
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            try:
                yield client
            except (Exception, KeyboardInterrupt, SystemExit) as error:
                failure = error  # comes out as it went in, not wrapped by a nursery that is ours
            finally:
                await client.aclose()
                nursery.cancel_scope.cancel()
    finally:
        if failure is not None:
            raise failure
