"""Sessions whole but for their sockets: real channels, outputs, logs and a ticker on virtual time, and peers
that check each frame that they are given.

A peer acks as clients do, at half of its window. It never connects again, which would make good whatever was
forgotten.
"""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any

import attrs
import trio

from trouper.actors.attempt import Progress
from trouper.actors.channel import SubscriberChannel
from trouper.actors.options import ChannelLimits
from trouper.actors.outputs import Outputs
from trouper.store.output_log import OutputHash, OutputLog
from trouper.store.protocol import Appended, CommitNotice, OutputHead, OutputRange
from trouper.store.records import Entry, Job, JobState
from trouper.transport.messages import Welcome
from trouper.transport.options import GatewayOptions
from trouper.transport.session import Session
from trouper.transport.ticker import NEVER, Ticker

OPTIONS = GatewayOptions()
LIMITS = ChannelLimits(window_bytes=600, pages=2)
PAGE_ENTRIES = 3
WELCOME = Welcome(session="s", user="ada", epoch="e", now=0.0, beat_ms=25000, silence_ms=35000, window=600)


class Writer:
    """A job: the log of each attempt, and when each of its entries was committed."""

    def __init__(self, house: House, job_id: str) -> None:
        self._house = house
        self.row = Job(id=job_id, user="ada", name="reply", feed_seq=1)
        self.logs: list[list[Entry]] = [[]]
        self.times: list[list[float]] = [[]]
        self._log: OutputLog | None = None
        self._written = 0

    @property
    def cursor(self) -> tuple[int, int]:
        return self.row.attempt, len(self.logs[-1])

    def _change(self, **fields: Any) -> None:
        self.row = attrs.evolve(self.row, feed_seq=self.row.feed_seq + 1, **fields)
        self._house.outputs.committed(CommitNotice({}, (self.row,), {}, False))

    def _let_go(self) -> None:
        if self._log is not None:
            self._house.outputs.close_log(self._log)
            self._log = None

    def begin(self, share: float) -> None:
        """The next attempt, which keeps that share of the log."""
        self._let_go()
        keep = int(len(self.logs[-1]) * share)
        self.logs.append(self.logs[-1][:keep])
        self.times.append([trio.current_time()] * keep)
        keeps = (*self.row.keeps, keep)
        attempt = self.row.attempt + 1
        self._change(state=JobState.RUNNING, attempt=attempt, entries=keep, keeps=keeps, savepoint=keep)
        prefix = OutputHash()
        prefix.extend(self.logs[-1])
        self._log = OutputLog(
            self.row,
            prefix,
            on_dirty=self._commit,
            on_change=lambda: None,
            used_ms=lambda: 0,
            tail_bytes_max=self._house.tail_bytes,
        )
        self._house.outputs.open_log(self.row, self._log)

    def _commit(self, log: OutputLog, _urgent: bool) -> None:
        request = log.take()
        assert request is not None
        self.logs[-1] += request.entries
        self.times[-1] += [trio.current_time()] * len(request.entries)
        log.settled(Appended())
        attempt, entries = self.cursor
        self._house.outputs.committed(CommitNotice({self.row.id: (attempt, entries)}, (), {}, False))

    def write(self, length: int) -> None:
        if self._log is not None:
            self._written += 1
            text = f"{self._written}:" + "x" * length
            self._log.append(text, len(text))

    def tell_progress(self) -> None:
        self._house.outputs.progressed(Progress(self.row.id, self.row.attempt, 1, None, None))

    def end(self) -> None:
        if self._log is not None:
            self._change(state=JobState.COMPLETED, entries=len(self.logs[-1]), sha256="f" * 64)
            self._let_go()


class House:
    """What the sessions of a gateway share."""

    def __init__(self, dice: Random) -> None:
        self.tail_bytes = dice.choice([30, 200, 100_000])
        self.wanted: list[tuple[str, int]] = []
        self.served_at = 0.0
        self.outputs = Outputs(LIMITS.pages, lambda user, job, start: self.wanted.append((job, start)))
        self.ticker = Ticker(OPTIONS.tick_s, OPTIONS.max_tick_s)
        self.writers = [Writer(self, f"j{number}") for number in range(dice.choice([1, 2, 4]))]

    def feed_wanted(self, channel: SubscriberChannel) -> None: ...

    def seen(self, channel: SubscriberChannel, job_id: str) -> bool:
        return True

    def serve_pages(self) -> None:
        """What is wanted of the store comes."""
        rows = {writer.row.id: writer for writer in self.writers}
        while self.wanted:
            self.served_at = trio.current_time()
            job_id, start = self.wanted.pop(0)
            head, writer = self.outputs.get(job_id), rows[job_id]
            if head is None:
                continue
            if start < 0:
                self.outputs.loaded(job_id, OutputHead(writer.row, len(writer.logs[-1])))
                continue
            page = tuple(writer.logs[-1][start : start + PAGE_ENTRIES])
            head.add_page(OutputRange(writer.row.attempt, start, page)) if page else head.page_failed()
            head.mark_watchers()


class Peer:
    """A session, and the client at its other end. ``busy``: how often its socket takes only a part."""

    def __init__(self, house: House, dice: Random, busy: float) -> None:
        self.due_tick, self.flushed_at = NEVER, -math.inf
        self.looks = 0
        self.late: list[str] = []
        self.held: dict[str, tuple[int, int]] = {}
        """The cursor in each output that is attached, or was."""
        self.attached: dict[str, float] = {}
        """Since when. (Not any more what has ended.)"""
        self.ended: set[str] = set()
        self.visible = True
        self.coalesce_ms: int | None = None
        self.stuck = False
        """The socket has not taken all of the last message."""
        self.busy = busy
        self._house, self._dice = house, dice
        self._rewinds: list[tuple[str, int, int]] = []
        self._backlog = False
        self._sent = self._acked = 0
        self._free_at = 0.0
        """When it was held up by something of its own for the last time."""
        self._session = Session(OPTIONS, self._due, self._fault, trio.current_time, trio.current_time)
        self._session.receive('[{"t": "hello", "visible": true}]')
        self.channel = SubscriberChannel(
            "s",
            "ada",
            epoch="e",
            cursor=None,
            visible=True,
            wants_feed=False,
            outputs=house.outputs,
            owner=house,
            limits=LIMITS,
        )
        self._session.opened(self.channel, WELCOME)
        self._due()

    @staticmethod
    def _fault(what: str, error: Exception) -> None:
        raise AssertionError(what) from error

    # --- as the ticker and the socket see it ---

    def _due(self) -> None:
        self._house.ticker.mark(self)

    @property
    def coalesce_s(self) -> float | None:
        return self._session.coalesce_s

    @property
    def window_s(self) -> float | None:
        return self._session.window_s

    def flush(self) -> bool:
        self.looks += 1
        if self.stuck or (message := self._session.take_message()) is None:
            return False
        self._backlog = self._session.more
        for item in json.loads(message):
            self._hear(item)
        if self._dice.random() < self.busy:
            self.stuck = True
        elif self._backlog:
            self._house.ticker.mark(self, urgent=True)
        return True

    def drained(self) -> None:
        if self.stuck:
            self.stuck, self._free_at = False, trio.current_time()
            self._house.ticker.mark(self, urgent=self._backlog)

    # --- as the server sees it ---

    def say(self, **item: Any) -> None:
        assert self._session.receive(json.dumps([item])) == []

    def attach(self, writer: Writer) -> None:
        job_id = writer.row.id
        if job_id in self.ended or any(rewind[0] == job_id for rewind in self._rewinds):
            return
        attempt, n = self.held.setdefault(job_id, (0, 0))
        self.attached[job_id] = trio.current_time()
        self.say(t="attach", job=job_id, attempt=attempt, n=n)

    def detach(self, writer: Writer) -> None:
        job_id = writer.row.id
        self._rewinds = [rewind for rewind in self._rewinds if rewind[0] != job_id]
        self.attached.pop(job_id, None)
        self.say(t="detach", job=job_id)

    def look_away(self) -> None:
        self.visible, self._free_at = not self.visible, trio.current_time()
        self.say(t="visible", visible=self.visible)

    def ask_for_window(self, ms: int | None) -> None:
        self.coalesce_ms, self._free_at = ms, trio.current_time()
        self.say(t="coalesce", ms=ms)

    def beat(self) -> None:
        self._session.beat()

    def answer(self) -> None:
        """The acks and attaches that are due of any client."""
        if (self._sent - self._acked) * 2 >= LIMITS.window_bytes:
            self._acked, self._free_at = self._sent, trio.current_time()
            self.say(t="ack", sent=self._sent)
        rewinds, self._rewinds = self._rewinds, []
        for job_id, attempt, keep in rewinds:
            self.held[job_id] = (attempt, min(keep, self.held[job_id][1]))
            self.attached[job_id] = trio.current_time()
            self.say(t="attach", job=job_id, attempt=attempt, n=self.held[job_id][1])

    # --- what it is told ---

    def _hear(self, item: dict[str, Any]) -> None:
        self._sent = item.get("sent", self._sent)
        if item["t"] == "output":
            self._hear_output(item)
        elif item["t"] == "rewind":
            self._rewinds.append((item["job"], item["attempt"], item["keep"]))
        elif item["t"] == "output.end":
            assert item["job"] in self.attached
            assert self.held[item["job"]] == (item["attempt"], item["entries"])
            self.ended.add(item["job"])
            del self.attached[item["job"]]

    def _hear_output(self, item: dict[str, Any]) -> None:
        job_id, attempt, start, end = item["job"], item["attempt"], item["from"], item["to"]
        assert job_id in self.attached
        assert job_id not in [rewind[0] for rewind in self._rewinds]
        assert self.held[job_id] == (attempt, start)
        [writer] = [each for each in self._house.writers if each.row.id == job_id]
        assert item["parts"] == ["".join(map(str, writer.logs[attempt][start:end]))]
        self.held[job_id] = (attempt, end)
        self._judge_time(job_id, writer.times[attempt][start])

    def _judge_time(self, job_id: str, committed_at: float) -> None:
        since = max(committed_at, self.attached[job_id], self._free_at, self._house.served_at)
        asked = OPTIONS.tick_s if self.coalesce_ms is None else self.coalesce_ms / 1000
        window = asked if self.visible else max(asked, OPTIONS.hidden_tick_s)
        took = trio.current_time() - since
        if took > window + OPTIONS.tick_s:
            self.late.append(f"{job_id} came {took:.3f} s later, with a window of {window} s")
