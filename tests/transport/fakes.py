"""An honest runtime and channel for tests of the edge: they keep what they are told, and no more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from trouper.actors.channel import TooManyAttached
from trouper.actors.channel_items import ChannelItem, FeedSnapshot, OutputItem
from trouper.actors.job_spec import BadArguments
from trouper.actors.reports import Report
from trouper.store.errors import StoreUnavailable
from trouper.store.protocol import CancelAnswer, CancelResult, Mark, OnBusy, Snapshot
from trouper.store.questions import AnswerOutcome
from trouper.store.records import Counts, Job, Notification, ThreadSummary
from trouper.store.signals import SignalAnswer, SignalRow
from trouper.supervisor.refusals import ThreadIsBusy


def snapshot(seq: int = 0) -> FeedSnapshot:
    return FeedSnapshot("e1", Snapshot(seq, (), (), Counts()))


def output(text: str, start: int = 0, *, sent: int | None = None) -> OutputItem:
    return OutputItem("j1", 1, start, start + 1, [text], sent if sent is not None else len(text))


class FakeChannel:
    """Gives what ``give`` was told, in that order; output only as far as ``max_bytes`` goes."""

    session_id = "s1"
    epoch = "e1"

    def __init__(self, *, attachments: int = 2) -> None:
        self.on_ready: Callable[[], None] | None = None
        self.calls: list[tuple[Any, ...]] = []
        self.due: list[ChannelItem] = []
        self.taken: list[int] = []
        self.awaits_page = False
        self.more = False
        self.sent = 0
        self._attachments = attachments
        self._attached: set[str] = set()
        self._broken = False

    def give(self, *items: ChannelItem) -> None:
        self.due.extend(items)
        if self.on_ready is not None:
            self.on_ready()

    def break_down(self) -> None:
        """The next ``take`` fails."""
        self._broken = True
        self.give()

    def attach(self, job_id: str, attempt: int, n: int) -> None:
        if len(self._attached) >= self._attachments:
            raise TooManyAttached(f"{len(self._attached)} outputs are attached")
        self._attached.add(job_id)
        self.calls.append(("attach", job_id, attempt, n))

    def detach(self, job_id: str) -> None:
        self.calls.append(("detach", job_id))

    def ack(self, sent: int, feed: int) -> None:
        if sent > self.sent:
            raise ValueError(f"ack of sent={sent}: legal are 0 to {self.sent}")
        self.calls.append(("ack", sent, feed))

    def set_visible(self, visible: bool) -> None:
        self.calls.append(("visible", visible))

    def resync(self, cursor: tuple[str, int] | None) -> None:
        self.calls.append(("resync", cursor))

    @property
    def pending(self) -> bool:
        return bool(self.due) or self._broken

    @property
    def feed_pending(self) -> bool:
        return any(isinstance(item, FeedSnapshot) for item in self.due)

    def take(self, max_bytes: int) -> list[ChannelItem]:
        if self._broken:
            raise ZeroDivisionError("a bug in the channel")
        self.taken.append(max_bytes)
        items: list[ChannelItem] = []
        size = 0
        while self.due:
            item = self.due[0]
            payload = sum(len(str(part)) for part in item.parts) if isinstance(item, OutputItem) else 0
            if size and size + payload > max_bytes:
                break
            size += payload
            self.sent += payload
            items.append(self.due.pop(0))
        self.more = bool(self.due)
        return items


class FakeRuntime:
    """Holds jobs in a dict. A job's name says what goes wrong: ``busy``, ``down``, ``bug``, ``bad``;
    ``slow`` waits for ``go``."""

    def __init__(self) -> None:
        self.ready = True
        self.reports: list[Report] = []
        self.channels: list[FakeChannel] = []
        self.rows: dict[str, Job] = {}
        self.opened: list[tuple[str, bool, tuple[str, int] | None]] = []
        self.open_now = 0
        self.order: list[str] = []
        self.answers: list[tuple[str, str, object]] = []
        self.signals: list[tuple[str, object, str | None]] = []
        self.asked: list[tuple[OnBusy, float | None, float]] = []
        """When each submit wanted its job to run."""
        self.cancelled_keys: list[tuple[str, str]] = []
        self.go = trio.Event()
        self.mail: list[Notification] = []

    def now(self) -> float:
        return 1000.0

    @asynccontextmanager
    async def open_session(
        self, user: str, *, visible: bool = True, feed: tuple[str, int] | None = None
    ) -> AsyncIterator[FakeChannel]:
        if user == "unlucky":
            raise RuntimeError("a bug behind the session")
        channel = FakeChannel()
        channel.give(snapshot())
        self.channels.append(channel)
        self.opened.append((user, visible, feed))
        self.open_now += 1
        try:
            yield channel
        finally:
            self.open_now -= 1

    async def submit_named(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        user: str,
        thread: str | None = None,
        idempotency_key: str | None = None,
        on_busy: OnBusy = "enqueue",
        at: float | None = None,
        delay: float = 0.0,
        clients_only: bool = True,
    ) -> tuple[Job, bool]:
        assert clients_only
        self.asked.append((on_busy, at, delay))
        await trio.lowlevel.checkpoint()
        if name == "slow":
            await self.go.wait()
        if name == "busy":
            raise ThreadIsBusy("thread 't1' has an active job", "j1")
        if name == "down":
            raise StoreUnavailable("the disk is full")
        if name == "bad":
            raise BadArguments("bad: there is no argument 'x'")
        if name == "bug":
            raise ZeroDivisionError("a bug")
        assert idempotency_key is not None
        self.order.append(idempotency_key)
        created = idempotency_key not in self.rows
        job = Job(id=idempotency_key, user=user, name=name, thread=thread, arguments='{"n":1}')
        return self.rows.setdefault(idempotency_key, job), created

    async def cancel_key(self, key: str, *, user: str) -> CancelResult:
        await trio.lowlevel.checkpoint()
        self.cancelled_keys.append((user, key))
        return CancelResult(CancelAnswer.ACCEPTED)

    async def cancel(self, job_id: str, *, user: str | None = None) -> CancelResult:
        found = await self.job(job_id, user=user)
        return CancelResult(CancelAnswer.ACCEPTED if found else CancelAnswer.UNKNOWN, found)

    async def signal(
        self, job_id: str, message: object, *, id: str | None = None, user: str | None = None
    ) -> SignalAnswer:
        if await self.job(job_id, user=user) is None:
            return SignalAnswer.UNKNOWN
        self.signals.append((job_id, message, id))
        return SignalAnswer.ACCEPTED

    async def messages(
        self, job_id: str, *, user: str | None = None, after: int = 0, limit: int = 50
    ) -> tuple[SignalRow, ...] | None:
        """What was sent, as rows."""
        if await self.job(job_id, user=user) is None:
            return None
        sent = [(message, key) for job, message, key in self.signals if job == job_id]
        rows = [
            SignalRow(job=job_id, id=key or "", seq=seq, body=json.dumps(message), sender=user)
            for seq, (message, key) in enumerate(sent, 1)
        ]
        return tuple(rows[after:][:limit])

    async def answer(self, job_id: str, key: str, value: object, *, user: str | None = None) -> AnswerOutcome:
        if await self.job(job_id, user=user) is None:
            return AnswerOutcome.UNKNOWN
        if value == "bad":
            raise BadArguments("the answer is bad")
        self.answers.append((job_id, key, value))
        return AnswerOutcome.ACCEPTED

    async def mark(
        self,
        user: str,
        mark: Mark,
        *,
        ids: Iterable[str] = (),
        job_id: str | None = None,
        upto_seq: int | None = None,
    ) -> Counts:
        return Counts(len(tuple(ids)), upto_seq or 0)

    async def job(self, job_id: str, *, user: str | None = None) -> Job | None:
        row = self.rows.get(job_id)
        return row if row is not None and row.user == user else None

    async def jobs(
        self, user: str, *, thread: str | None = None, before: str | None = None, limit: int = 50
    ) -> tuple[Job, ...]:
        mine = [row for row in reversed(self.rows.values()) if row.user == user]
        return tuple(row for row in mine if thread in (None, row.thread))[:limit]

    async def threads(
        self, user: str, *, before: str | None = None, limit: int = 50
    ) -> tuple[ThreadSummary, ...]:
        jobs = await self.jobs(user)
        return (ThreadSummary("t1", len(jobs), len(jobs), jobs[-1], jobs[0]),) if jobs else ()

    async def inbox(
        self, user: str, *, before: str | None = None, limit: int = 50
    ) -> tuple[Notification, ...]:
        return tuple(self.mail)

    def report(self, report: Report) -> None:
        self.reports.append(report)
