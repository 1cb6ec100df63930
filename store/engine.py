"""The ``Store``'s methods, written once over an engine that carries out transactions and reads."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Container, Mapping
from functools import partial
from typing import TypeVar

import trio

from trouper.store import admitting, asking, completing, queries, signalling, transactions
from trouper.store.completions import Completion, CompletionClaims, SettleCompletion
from trouper.store.leases import Begun, Lease, Renewed
from trouper.store.nodes import check_names
from trouper.store.options import StoreOptions
from trouper.store.protocol import (
    ANY_NAME,
    Admission,
    Admitted,
    CancelResult,
    Changes,
    Claims,
    CommitNotice,
    Conflict,
    Finish,
    Finished,
    Mark,
    Names,
    Notified,
    Notify,
    OutputHead,
    OutputRange,
    OutputSource,
    QueueFull,
    QueuePlaces,
    Refused,
    Saved,
    Savepoint,
    Snapshot,
    ThreadBusy,
)
from trouper.store.questions import AnswerOutcome, Asked, GiveAnswer
from trouper.store.records import Counts, Job, JobState, Notification, ThreadSummary
from trouper.store.seams import Seams
from trouper.store.signals import Heard, SignalAnswer, SignalClash, SignalRow, SignalsFull
from trouper.store.tables import Tables
from trouper.store.transaction import Transaction
from trouper.store.usage import StoreUsage

T = TypeVar("T")


class EngineStore(abc.ABC):
    """What the engines share: every method of ``Store`` is one transaction or one read.

    See ``trouper.store.protocol.Store`` for what each promises.
    """

    def __init__(self, seams: Seams, options: StoreOptions) -> None:
        self._seams = seams
        self._options = options
        self._listeners: list[Callable[[CommitNotice], None]] = []

    # --- what an engine does ---

    @property
    @abc.abstractmethod
    def boot(self) -> int:
        """The number of this start; 0 before ``run``."""

    @property
    @abc.abstractmethod
    def epoch(self) -> str:
        """The id made with the database; empty before ``run``."""

    @abc.abstractmethod
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open, serve until cancelled, commit what is pending, close."""

    @abc.abstractmethod
    def dirty(self, source: OutputSource, urgent: bool = False) -> None:
        """``source`` has something to commit; ``urgent``: at once, since it runs out of room."""

    @abc.abstractmethod
    def statistics(self) -> Mapping[str, int]:
        """Named counters and the use of each bound."""

    @abc.abstractmethod
    async def _transact(self, call: Callable[[Transaction], T], *, site: str = "") -> T:
        """Carry out ``call`` and commit it; ``site`` names its fault points."""

    @abc.abstractmethod
    async def _query(self, call: Callable[[Tables], T]) -> T:
        """Carry out ``call`` on what is committed."""

    # --- nodes: with one owner at a time there is nothing to renew ---

    @property
    def lease(self) -> Lease | None:
        return None

    async def renew(self, *, anew: bool = False) -> Renewed:
        return await self._query(lambda _: Renewed(self.boot, anew=False))

    # --- transactions ---

    def listen(self, listener: Callable[[CommitNotice], None]) -> None:
        self._listeners.append(listener)

    async def admit(self, admission: Admission) -> Admitted | Conflict | ThreadBusy | QueueFull:
        return await self._transact(partial(admitting.admit, admission=admission), site="admit")

    async def claim(
        self,
        limit: int,
        per_user: int | None = None,
        *,
        names: Names = ANY_NAME,
        begun: Begun | None = None,
    ) -> Claims:
        check_names(names, self._options)
        call = partial(transactions.claim, limit=limit, per_user=per_user, names=names, begun=begun)
        return await self._transact(call, site="claim")

    async def savepoint(self, request: Savepoint) -> Saved | Refused:
        return await self._transact(partial(transactions.savepoint, request=request))

    async def unsafe(self, job_id: str, fence: int, step: str | None, used_ms: int = 0) -> Saved | Refused:
        return await self._transact(lambda tx: transactions.unsafe(tx, job_id, fence, step, used_ms))

    async def lose(self, job_id: str, fence: int, reason: str) -> Finished | Refused:
        return await self._transact(
            partial(transactions.lose, job_id=job_id, fence=fence, reason=reason), site="finish"
        )

    async def finish(self, request: Finish) -> Finished | Refused:
        return await self._transact(partial(transactions.finish, request=request), site="finish")

    async def cancel(self, job_id: str, user: str | None) -> CancelResult:
        return await self._transact(partial(admitting.cancel, job_id=job_id, user=user), site="cancel")

    async def cancel_key(self, user: str, key: str) -> CancelResult:
        age_s, most = self._options.tombstone_age_s, self._options.tombstones_per_user_max
        return await self._transact(lambda tx: admitting.cancel_key(tx, user, key, age_s=age_s, most=most))

    async def notify(self, request: Notify) -> Notified | Refused:
        return await self._transact(partial(transactions.notify, request=request))

    async def mark(
        self,
        user: str,
        mark: Mark,
        *,
        ids: tuple[str, ...] = (),
        job_id: str | None = None,
        upto_seq: int | None = None,
    ) -> Counts:
        return await self._transact(
            lambda tx: transactions.mark(tx, user, mark, ids=ids, job_id=job_id, upto_seq=upto_seq)
        )

    async def signal(self, row: SignalRow, user: str | None) -> SignalAnswer | SignalClash | SignalsFull:
        most, remembered = self._options.signals_pending_max, self._options.signals_remembered
        return await self._transact(
            lambda tx: signalling.signal(tx, row, user, pending_max=most, remembered=remembered)
        )

    async def hear(self, job_id: str, fence: int, after: int) -> Heard | Refused:
        return await self._transact(partial(signalling.hear, job_id=job_id, fence=fence, after=after))

    async def answer(self, request: GiveAnswer) -> AnswerOutcome:
        return await self._transact(partial(asking.answer, request=request))

    async def claim_completions(
        self, limit: int, *, names: Collection[str] | None = None, begun: Begun | None = None
    ) -> CompletionClaims:
        return await self._transact(lambda tx: completing.claim(tx, limit, names, begun))

    async def settle_completion(self, request: SettleCompletion) -> Completion | None:
        return await self._transact(partial(completing.settle, request=request))

    async def retry_completion(self, job_id: str) -> bool:
        return await self._transact(partial(completing.retry, job_id=job_id))

    # --- reads ---

    def _page(self, limit: int) -> int:
        return max(0, min(limit, self._options.page_rows_max))

    async def job(self, job_id: str) -> Job | None:
        return await self._query(lambda tables: tables.job(job_id))

    async def jobs(
        self, user: str, *, thread: str | None = None, before: str | None = None, limit: int = 50
    ) -> tuple[Job, ...]:
        limit = self._page(limit)
        return await self._query(lambda tables: tuple(tables.jobs_of(user, thread, before, limit)))

    async def threads(
        self, user: str, *, before: str | None = None, limit: int = 50
    ) -> tuple[ThreadSummary, ...]:
        limit = self._page(limit)
        return await self._query(lambda tables: queries.threads(tables, user, before, limit))

    async def notifications(
        self, user: str, *, before: str | None = None, limit: int = 50
    ) -> tuple[Notification, ...]:
        limit = self._page(limit)
        return await self._query(lambda tables: tuple(tables.notifications_of(user, before, limit)))

    async def changes_since(self, user: str, seq: int, limit: int) -> Changes | None:
        return await self._query(lambda tables: queries.changes_since(tables, user, seq, limit))

    async def snapshot(self, user: str, notifications: int) -> Snapshot:
        limit = self._page(notifications)
        return await self._query(lambda tables: queries.snapshot(tables, user, limit))

    async def output_head(self, job_id: str) -> OutputHead | None:
        return await self._query(lambda tables: queries.output_head(tables, job_id))

    async def read_output(self, job_id: str, start: int, max_bytes: int) -> OutputRange | None:
        max_bytes = min(max_bytes, self._options.read_bytes_max)
        return await self._query(lambda tables: queries.read_output(tables, job_id, start, max_bytes))

    async def question_of(self, job_id: str, key: str) -> Asked:
        def look(tables: Tables) -> Asked:
            return Asked(tables.questions.get(job_id, key), tables.questions.count(job_id))

        return await self._query(look)

    async def signals(self, job_id: str, after: int, limit: int) -> tuple[SignalRow, ...]:
        limit = self._page(limit)
        return await self._query(lambda tables: tuple(tables.signals.after(job_id, after, limit)))

    async def dead_completions(self, *, before: str | None = None, limit: int = 50) -> tuple[Completion, ...]:
        limit = self._page(limit)
        return await self._query(lambda tables: tuple(tables.completions.dead(before, limit)))

    async def queue_places(
        self, wanted: Container[str], *, per_user: int = 20, users: int = 1000
    ) -> Mapping[str, QueuePlaces]:
        # A read, but by the store's clock, which only a transaction has; to commit nothing costs next to it.
        return await self._transact(
            lambda tx: queries.queue_places(tx.tables, tx.now, wanted, per_user=per_user, users=users)
        )

    async def running(self) -> tuple[Job, ...]:
        return await self._query(lambda tables: tuple(each.job for each in tables.running(self.boot)))

    async def active_counts(self) -> Mapping[JobState, int]:
        return await self._query(
            lambda tables: {state: tables.count_state(state) for state in (JobState.QUEUED, JobState.RUNNING)}
        )

    async def usage(self, users: int) -> StoreUsage:
        most = self._page(users)  # by the store's clock, as ``queue_places``
        return await self._transact(lambda tx: tx.tables.usage(tx.now, most))


def tell(
    listeners: list[Callable[[CommitNotice], None]], notice: CommitNotice | None, faults: list[Exception]
) -> None:
    """Call every listener, also after one that raised: what it raised is put to ``faults``."""
    if notice is None:
        return
    for listener in listeners:
        try:
            listener(notice)
        except Exception as fault:
            faults.append(fault)
