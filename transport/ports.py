"""What a gateway asks of the runtime. ``Runtime`` fits, and so does a test's fake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from trouper.actors.reports import Report
from trouper.store.protocol import CancelResult, Mark, OnBusy
from trouper.store.questions import AnswerOutcome
from trouper.store.records import Counts, Job, Notification, ThreadSummary
from trouper.store.signals import SignalAnswer, SignalRow
from trouper.transport.session_ports import Channel


class SessionChannel(Channel, Protocol):
    """A channel, with who it is for."""

    session_id: str
    epoch: str


class GatewayRuntime(Protocol):
    """See ``trouper.supervisor.runtime.Runtime`` for what each does, and for what it raises."""

    @property
    def ready(self) -> bool: ...

    def now(self) -> float: ...

    def open_session(
        self, user: str, *, visible: bool = True, feed: tuple[str, int] | None = None
    ) -> AbstractAsyncContextManager[SessionChannel]: ...

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
    ) -> tuple[Job, bool]: ...

    async def cancel(self, job_id: str, *, user: str | None = None) -> CancelResult: ...

    async def cancel_key(self, key: str, *, user: str) -> CancelResult: ...

    async def signal(
        self, job_id: str, message: object, *, id: str | None = None, user: str | None = None
    ) -> SignalAnswer: ...

    async def messages(
        self, job_id: str, *, user: str | None = None, after: int = 0, limit: int = 50
    ) -> tuple[SignalRow, ...] | None: ...

    async def answer(
        self, job_id: str, key: str, value: object, *, user: str | None = None
    ) -> AnswerOutcome: ...

    async def mark(
        self,
        user: str,
        mark: Mark,
        *,
        ids: Iterable[str] = (),
        job_id: str | None = None,
        upto_seq: int | None = None,
    ) -> Counts: ...

    async def job(self, job_id: str, *, user: str | None = None) -> Job | None: ...

    async def jobs(
        self, user: str, *, thread: str | None = None, before: str | None = None, limit: int = 50
    ) -> tuple[Job, ...]: ...

    async def threads(
        self, user: str, *, before: str | None = None, limit: int = 50
    ) -> tuple[ThreadSummary, ...]: ...

    async def inbox(
        self, user: str, *, before: str | None = None, limit: int = 50
    ) -> tuple[Notification, ...]: ...

    def report(self, report: Report) -> None: ...
