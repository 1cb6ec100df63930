"""The client's protocol state: items in, items out, events (no ``await``, no I/O).

The shell tells it of connections (``opened``, ``closed``), hands it what arrives (``received``) and
sends what it gives (``take``). What is to be sent is kept as *slots*, not as a queue: one for each
output, one ack, one beat, at most ``max_pending_commands`` commands; so it is bounded however long
nothing can be sent, and a cursor is read when it is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from trouper.actors.output_pieces import OutputPiece
from trouper.transport.client_clock import ServerClock
from trouper.transport.client_errors import AttachRefused, CommandFailed, ServerFault
from trouper.transport.client_events import (
    Broken,
    CoreEvent,
    FeedChanged,
    ItemRefused,
    OutputChanged,
    Replied,
    Welcomed,
)
from trouper.transport.client_feed import FeedState
from trouper.transport.client_hello import ClientHello
from trouper.transport.client_options import ClientOptions
from trouper.transport.client_output import OutputState, parse_parts, parse_progress
from trouper.transport.client_views import WireItem, boolean, integer, mapping, string


class ClientCore:
    """Everything that the client knows. ``uniform(a, b)`` is the source of jitter."""

    def __init__(
        self,
        *,
        options: ClientOptions,
        uniform: Callable[[float, float], float],
        clock: ServerClock,
        token: str | None = None,
        visible: bool = True,
        feed_rows: bool = True,
        coalesce_ms: int | None = None,
    ) -> None:
        self.feed = FeedState(options, rows_kept=feed_rows)
        self.failures = 0
        """Connections in a row that could not be made or did not last ``stable_s``."""
        self.welcomed = False
        self.silence_s: float | None = None
        """The server's ``silence_ms``, in seconds; None before a welcome."""
        self.rewinds = 0
        self.reattached = 0
        """Times that something did not fit a cursor and the output was attached again."""
        self._options = options
        self._uniform = uniform
        self.clock = clock
        self._hello = ClientHello(token, visible=visible, coalesce_ms=coalesce_ms)
        self._open = False
        self._epoch: str | None = None
        self._window = self._last_id = 0
        self._outputs: dict[str, OutputState] = {}
        self._attached: set[str] = set()  # on this connection
        self._commands: dict[str, dict[str, Any]] = {}  # not sent on this connection yet
        self._unanswered: dict[str, dict[str, Any] | None] = {}  # sent; None: nobody waits any more
        self._sent_seen = self._sent_acked = 0
        self._forget_slots()

    def _forget_slots(self) -> None:
        self._beat_due = self._resync_due = self._ack_due = False
        self._wire: dict[str, Literal["attach", "detach"]] = {}

    # --- the connection -------------------------------------------------------------------------

    def opened(self) -> None:
        """A connection is there: hello, every output at its cursor, every unanswered command."""
        self._forget_slots()
        self._open = True
        self._hello.opened()
        self.welcomed, self.silence_s = False, None
        self._sent_seen = self._sent_acked = 0
        self._attached.clear()
        self.feed.connection_opened()
        for output in self._outputs.values():
            if not output.parked:
                self._attach(output)
        again = {id: command for id, command in self._unanswered.items() if command is not None}
        self._commands = again | self._commands
        self._unanswered.clear()

    def closed(self, code: int | None, lasted_s: float = 0.0) -> float | None:
        """The connection ended ``lasted_s`` seconds after its welcome, or could not be made (``code``
        None or 1006).

        Returns the seconds to wait before the next one (a random draw), or None: do not come back.
        """
        self._open = self.welcomed = False
        self._forget_slots()
        self._hello.closed()
        if code is not None and 4500 <= code <= 4599:
            return None
        if lasted_s >= self._options.stable_s:
            self.failures = 0
        ceiling_s = self._options.backoff_ceiling_s(self.failures)
        self.failures += 1
        return self._uniform(0, ceiling_s)

    # --- what the application asks --------------------------------------------------------------

    def command(self, kind: str, fields: WireItem) -> str:
        """Ask for something; returns the id that its ``Replied`` will carry."""
        self._last_id += 1
        id = f"c{self._last_id}"
        self._commands[id] = {"t": kind, "id": id, **fields}
        return id

    def abandon(self, id: str) -> None:
        """Nobody waits for this answer any more: do not send the command again."""
        self._commands.pop(id, None)
        if id in self._unanswered:  # it still counts as pending for the server, until it is answered
            self._unanswered[id] = None

    def open_output(self, job_id: str, attempt: int, n: int) -> OutputState:
        """Attach an output. Raises ``AttachRefused`` if it is open, or too many are; ``ValueError``
        for a cursor or an id that cannot be."""
        if job_id in self._outputs:
            raise AttachRefused(f"the output of job {job_id!r} is open already: close that iterator first")
        if len(self._outputs) >= self._options.max_outputs:
            raise AttachRefused(f"{self._options.max_outputs} outputs are open, no more are allowed")
        output = OutputState(job_id, attempt, n, self._options.max_bounds)
        self._outputs[job_id] = output
        self._attach(output)
        return output

    def close_output(self, output: OutputState) -> None:
        output.ended = True
        if self._outputs.get(output.job_id) is output:
            self._forget(output)
            if output.job_id in self._attached:
                self._wire[output.job_id] = "detach"

    def read(self, output: OutputState) -> OutputPiece | None:
        """The next item of an output, for its consumer. One that was parked goes on when half of its
        buffer was taken."""
        item = output.take()
        if (
            output.parked
            and not output.ended
            and output.buffered_bytes <= self._options.output_buffer_bytes // 2
        ):
            output.parked = False
            self._attach(output)
        return item

    def set_visible(self, visible: bool) -> None:
        self._hello.set_visible(visible)

    def set_coalesce(self, ms: int | None) -> None:
        self._hello.set_coalesce(ms)

    # --- what is to be sent ---------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether ``take`` has something to give."""
        slots = self._hello.due or self._beat_due or self._resync_due or self._ack_due
        return self._open and (slots or bool(self._wire) or self._may_send_commands)

    @property
    def _may_send_commands(self) -> bool:
        return bool(self._commands) and len(self._unanswered) < self._options.max_pending_commands

    def take(self) -> list[dict[str, Any]]:
        """All that is to be sent now, in order; [] without a connection."""
        if not self._open:
            return []
        items = self._hello.take(self.feed.cursor)
        if self._beat_due:
            items.append({"t": "beat"})
        if self._resync_due:
            items.append({"t": "resync", "feed": self.feed.cursor})
        if self._ack_due:
            items.append({"t": "ack", "sent": self._sent_seen, "feed": self.feed.seq})
            self._sent_acked = self._sent_seen
        for job_id, what in self._wire.items():
            if what == "attach":
                output = self._outputs[job_id]
                items.append({"t": what, "job": job_id, "attempt": output.attempt, "n": output.entries})
                self._attached.add(job_id)
            else:
                items.append({"t": what, "job": job_id})
                self._attached.discard(job_id)
        self._forget_slots()
        while self._may_send_commands:
            id = next(iter(self._commands))
            command = self._commands.pop(id)
            self._unanswered[id] = command
            items.append(command)
        return items

    # --- what arrives ---------------------------------------------------------------------------

    def received(self, items: object) -> list[CoreEvent]:
        """Take one message of the server's. The last event is ``Broken`` if it breaks the protocol."""
        events: list[CoreEvent] = []
        try:
            if not isinstance(items, list):
                raise ServerFault("a message must be an array of items")
            for item in items:
                if not isinstance(item, dict) or not isinstance(item.get("t"), str):
                    raise ServerFault("an item must be an object whose field 't' is a string")
                events += self._item(item)
        except ServerFault as fault:
            events.append(Broken(str(fault)))
        for output in self._outputs.values():
            if output.buffered_bytes > self._options.output_buffer_bytes and not output.parked:
                output.parked = True
                self._wire.pop(output.job_id, None)
                if output.job_id in self._attached:
                    self._wire[output.job_id] = "detach"
        return events

    def _item(self, item: WireItem) -> list[CoreEvent]:
        if item["t"] == "welcome":
            return self._on_welcome(item)
        if not self.welcomed:
            raise ServerFault(f"the first item must be a welcome, not {item['t']!r:.40}")
        handler = _HANDLERS.get(item["t"])
        return [] if handler is None else handler(self, item)  # unknown types are for later versions

    def _on_welcome(self, item: WireItem) -> list[CoreEvent]:
        if self.welcomed:
            raise ServerFault("a second welcome on one connection")
        if integer(item, "protocol") != 1:
            raise ServerFault(f"this client speaks version 1 of the protocol, not {item['protocol']}")
        welcome = Welcomed(string(item, "session"), string(item, "user"), string(item, "epoch"))
        silence_ms, window = integer(item, "silence_ms"), integer(item, "window")
        if silence_ms == 0:
            raise ServerFault("welcome: the field 'silence_ms' must be above 0")
        self.clock.told(item)
        self.silence_s, self._window = silence_ms / 1000, window
        self.welcomed = True
        return [welcome, *self._epoch_is(welcome.epoch)]

    def _epoch_is(self, epoch: str) -> list[CoreEvent]:
        """Another than before voids every cursor."""
        before, self._epoch = self._epoch, epoch
        voided = [*self._outputs.values()] if before not in (None, epoch) else []
        for output in voided:
            output.void()
            if not output.parked:
                self._attach(output)
        return [OutputChanged(output) for output in voided]

    def _on_beat(self, item: WireItem) -> list[CoreEvent]:
        self.clock.told(item)
        self._beat_due = True
        for output in self._outputs.values():
            if output.missed and not output.parked:  # its attach was not answered for a whole beat
                self._reattach(output)
        return []

    def _on_reply(self, item: WireItem) -> list[CoreEvent]:
        id = string(item, "id")
        if id not in self._unanswered:
            return []
        if item.get("error") is None:
            ok, error = mapping(item, "ok"), None
        else:
            row = mapping(item, "error")
            message, retryable = string(row, "message"), boolean(row, "retryable")
            ok, error = None, CommandFailed(string(row, "code"), message, retryable)
        waited_for = self._unanswered.pop(id) is not None
        return [Replied(id, ok, error)] if waited_for else []

    def _on_snapshot(self, item: WireItem) -> list[CoreEvent]:
        self._ack_due |= self.feed.snapshot(item)
        self._resync_due = False
        return [FeedChanged(), *self._epoch_is(string(item, "epoch"))]

    def _on_feed(self, item: WireItem) -> list[CoreEvent]:
        before = self.feed.seq
        notified, ask = self.feed.feed(item)
        self._ack_due |= notified
        self._resync_due |= ask
        return [FeedChanged()] if self.feed.seq != before else []

    def _on_queue(self, item: WireItem) -> list[CoreEvent]:
        self.feed.queue(item)
        return [FeedChanged()]

    def _on_progress(self, item: WireItem) -> list[CoreEvent]:
        progress = parse_progress(item)
        output = self._outputs.get(string(item, "job"))
        if output is None or output.parked:
            return []
        output.progress(progress)
        return [OutputChanged(output)]

    def _on_output(self, item: WireItem) -> list[CoreEvent]:
        attempt, start, stop = integer(item, "attempt"), integer(item, "from"), integer(item, "to")
        if stop <= start:
            raise ServerFault(f"output: 'to' must be above 'from', not {stop} after {start}")
        parts = parse_parts(item.get("parts"))
        self._count(item)
        self._ack_due |= (self._sent_seen - self._sent_acked) * 2 >= self._window
        output = self._outputs.get(string(item, "job"))
        if output is None or output.parked:
            return []
        if output.frame(attempt, start, stop, parts):
            self._reattach(output)
        return [OutputChanged(output)]

    def _count(self, item: WireItem) -> None:
        """The server counts what it sends, so what is passed over here counts too."""
        sent = integer(item, "sent")
        if sent < self._sent_seen:
            raise ServerFault(f"{item['t']}: 'sent' went back from {self._sent_seen} to {sent}")
        self._sent_seen = sent

    def _on_rewind(self, item: WireItem) -> list[CoreEvent]:
        attempt, keep = integer(item, "attempt"), integer(item, "keep")
        output = self._outputs.get(string(item, "job"))
        if output is None or output.parked:
            return []  # a parked one is told again when it is attached
        if output.rewind(attempt, keep):
            self.rewinds += 1
            self._attach(output)
        return [OutputChanged(output)]

    def _on_end(self, item: WireItem) -> list[CoreEvent]:
        attempt, entries, sha256 = integer(item, "attempt"), integer(item, "entries"), string(item, "sha256")
        self._count(item)
        self._ack_due = True
        output = self._outputs.get(string(item, "job"))
        if output is None or output.parked:
            return []
        job = self.feed.jobs.get(output.job_id)
        if output.end(attempt, entries, sha256, job.state if job is not None and job.ended else None):
            self._reattach(output)
        if output.ended:
            self._attached.discard(output.job_id)
            self._forget(output)
        return [OutputChanged(output)]

    def _on_gone(self, item: WireItem) -> list[CoreEvent]:
        job_id, reason = string(item, "job"), string(item, "reason")
        output = self._outputs.get(job_id)
        if output is None:
            return []
        output.gone(reason)
        self._attached.discard(job_id)
        self._forget(output)
        return [OutputChanged(output)]

    def _on_error(self, item: WireItem) -> list[CoreEvent]:
        return [ItemRefused(string(item, "code"), string(item, "message"))]

    # --- outputs on the wire --------------------------------------------------------------------

    def _attach(self, output: OutputState) -> None:
        output.attaching()
        if self._open:
            self._wire[output.job_id] = "attach"

    def _reattach(self, output: OutputState) -> None:
        self.reattached += 1
        self._attach(output)

    def _forget(self, output: OutputState) -> None:
        del self._outputs[output.job_id]
        self._wire.pop(output.job_id, None)

    def statistics(self) -> dict[str, int]:
        """The use of each bound, and what happened so far."""
        return {
            "outputs": len(self._outputs),
            "outputs_parked": sum(output.parked for output in self._outputs.values()),
            "output_buffered_bytes": sum(output.buffered_bytes for output in self._outputs.values()),
            "commands_unanswered": len(self._commands) + len(self._unanswered),
            "feed_jobs": len(self.feed.jobs),
            "rewinds": self.rewinds,
            "reattached": self.reattached,
        }


_HANDLERS: dict[str, Callable[[ClientCore, WireItem], list[CoreEvent]]] = {
    "beat": ClientCore._on_beat,
    "reply": ClientCore._on_reply,
    "snapshot": ClientCore._on_snapshot,
    "feed": ClientCore._on_feed,
    "queue": ClientCore._on_queue,
    "progress": ClientCore._on_progress,
    "output": ClientCore._on_output,
    "rewind": ClientCore._on_rewind,
    "output.end": ClientCore._on_end,
    "gone": ClientCore._on_gone,
    "error": ClientCore._on_error,
}
