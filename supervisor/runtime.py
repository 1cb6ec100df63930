"""The runtime: what an application opens, submits to and asks.

``open_runtime`` builds the tree (see ``runtime_tree``), waits until it stands, and takes it down in
order when its ``async with`` ends: nothing of it is left then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import attrs

from trouper.actors.channel import SubscriberChannel
from trouper.actors.job_spec import Call, JobSpec
from trouper.actors.patience import patiently
from trouper.actors.reports import Report, Reporter, deliver, log_report
from trouper.store.checks import need_options
from trouper.store.completions import Completion
from trouper.store.options import StoreOptions
from trouper.store.protocol import CancelResult, Mark, OnBusy, Store
from trouper.store.questions import AnswerOutcome, GiveAnswer
from trouper.store.records import Counts, Job, Notification, ThreadSummary
from trouper.store.seams import Seams
from trouper.store.signals import SignalAnswer, SignalRow
from trouper.store.urls import StoreFactory
from trouper.supervisor.admission import (
    When,
    admitted,
    by_name,
    check_id,
    check_label,
    check_limit,
    check_mark,
    check_user,
    check_when,
    make_admission,
    named_call,
)
from trouper.supervisor.audience import OpenSession
from trouper.supervisor.child_spec import ChildSpec
from trouper.supervisor.completions import HooksDue
from trouper.supervisor.gateways import run_gateway
from trouper.supervisor.options import RuntimeOptions
from trouper.supervisor.reading import OutputReader
from trouper.supervisor.refusals import Draining, UnknownJob
from trouper.supervisor.runtime_tree import RuntimeTree
from trouper.supervisor.steering import canonical, check_answer, signalled
from trouper.supervisor.usage import usage


class Runtime:
    """A running runtime. Made by ``open_runtime``.

    ``user=None`` in a method means a trusted caller; a job of another user is as good as none.
    All methods raise ``StoreUnavailable`` while the store is down: nothing was done then. **Cancellation** of
    what only reads leaves nothing.
    """

    def __init__(self, tree: RuntimeTree) -> None:
        self._tree = tree
        self.options = tree.options
        self.seams = tree.seams

    # --- submitting ---

    async def submit(
        self,
        call: Call,
        *,
        user: str,
        thread: str | None = None,
        idempotency_key: str | None = None,
        on_busy: OnBusy = "enqueue",
        at: datetime | float | None = None,
        delay: float = 0.0,
    ) -> Job:
        """Admit a job: when this returns, it is durable.

        * ``call``: ``reply.call(prompt="hi")`` of a job that this runtime was opened with.
        * ``thread``: jobs of one user and thread run one after the other.
        * ``idempotency_key``: the same key with the same content gives the same job, ended or not.
        * ``on_busy``: when the ``thread`` has active jobs: ``"enqueue"`` behind them, ``"reject"``,
          ``"interrupt"`` (they end ``cancelled``, ``superseded``, and this one starts when the last has
          ended) or ``"rollback"`` (that, and their output and notifications are gone).
        * ``at``: not to run before this time, an aware ``datetime`` or seconds since the epoch; it follows
          the wall clock however that is set. ``delay``: not before so many seconds have passed; it does
          not. One of the two, up to ``max_delay_s`` ahead. A job that is put off takes a place in the
          queue, but not its thread's: until it is due others pass it, and it is not what makes the thread
          busy.

        Raises ``TypeError``, ``BadArguments``, ``UnknownJob``, ``KeyConflict``, ``ThreadIsBusy``,
        ``QueueIsFull``, ``UserQueueIsFull``, ``Draining``, ``StoreUnavailable``.
        **Cancellation**: the job may have been admitted; with an idempotency key, submitting again finds out.
        """
        when = self._when(at, delay)
        job, _ = await self._submit(call, user, thread, idempotency_key, on_busy, when)
        return job

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
        """As ``submit``, by name, for a gateway: (job, whether it is new).

        With ``clients_only`` only jobs declared ``client=True`` are known.
        """
        call = named_call(self._tree.specs, name, arguments, clients_only=clients_only)
        when = self._when(at, delay)
        return await self._submit(call, user, thread, idempotency_key, on_busy, when)

    def _when(self, at: datetime | float | None, delay: float) -> When:
        return check_when(at, delay, now=self.seams.wall(), most_s=self.options.max_delay_s)

    async def _submit(
        self,
        call: Call,
        user: str,
        thread: str | None,
        idempotency_key: str | None,
        on_busy: OnBusy,
        when: When,
    ) -> tuple[Job, bool]:
        if self._tree.stopping:
            raise Draining("this runtime is stopping: try again in a moment")
        if not isinstance(call, Call):
            raise TypeError(f"call={call!r:.100}: legal is reply.call(…), of a job reply")
        if self._tree.specs.get(call.spec.name) is not call.spec:
            raise UnknownJob(f"job {call.spec.name!r} is not one that this runtime was opened with")
        admission = make_admission(
            call,
            job_id=self.seams.new_id(),
            user=user,
            thread=thread,
            idempotency_key=idempotency_key,
            on_busy=on_busy,
            when=when,
            options=self.options,
        )
        return admitted(await self.store.admit(admission), admission)

    # --- asking ---

    @property
    def store(self) -> Store:
        """The store of the present boot."""
        return self._tree.store

    @property
    def epoch(self) -> str:
        """The id of the database: cursors of another one mean nothing here."""
        return self.store.epoch

    @property
    def ready(self) -> bool:
        """Whether it takes work now."""
        return self._tree.ready

    def now(self) -> float:
        """The time by the clock that all times in rows are by, in seconds since the epoch."""
        return self._tree.now()

    async def job(self, job_id: str, *, user: str | None = None) -> Job | None:
        """The row as it is now, with the present count of entries; None if there is none."""
        head = await self.store.output_head(check_id(job_id))
        if head is None or (user is not None and head.job.user != user):
            return None
        return attrs.evolve(head.job, entries=head.entries)

    async def jobs(
        self, user: str, *, thread: str | None = None, before: str | None = None, limit: int = 50
    ) -> tuple[Job, ...]:
        """Jobs of a user, newest first; ``before`` a job id, exclusive."""
        return await self.store.jobs(check_user(user), thread=thread, before=before, limit=check_limit(limit))

    async def threads(
        self, user: str, *, before: str | None = None, limit: int = 50
    ) -> tuple[ThreadSummary, ...]:
        """Threads of a user, by their newest job, newest first; ``before`` a thread, exclusive."""
        return await self.store.threads(check_user(user), before=before, limit=check_limit(limit))

    async def inbox(
        self, user: str, *, before: str | None = None, limit: int = 50
    ) -> tuple[Notification, ...]:
        """Notifications that are not archived, newest first; ``before`` an id, exclusive."""
        return await self.store.notifications(check_user(user), before=before, limit=check_limit(limit))

    async def mark(
        self,
        user: str,
        mark: Mark,
        *,
        ids: Iterable[str] = (),
        job_id: str | None = None,
        upto_seq: int | None = None,
    ) -> Counts:
        """Mark notifications (those of ``ids``, of a job, or up to a feed seq); the counts after it.
        **Cancellation**: they may have been marked."""
        return await self.store.mark(user, mark, ids=check_mark(mark, ids), job_id=job_id, upto_seq=upto_seq)

    async def wait(self, job_id: str) -> Job:
        """Wait until a job has ended; its row. It has patience with a store that is down.

        Raises ``UnknownJob``, and ``Draining`` if this runtime ends before the job: the next one goes on.
        """

        async def look() -> Job | None:
            if self._tree.ended:
                raise Draining(f"this runtime has ended: wait for job {job_id} in the next")
            return await self.store.job(job_id)

        check_id(job_id)
        while True:
            with self._tree.waiters.waiting(job_id) as changed:
                job = await patiently(look)
                if job is None:
                    raise UnknownJob(f"there is no job {job_id!r}")
                if job.state.terminal:
                    return job
                await changed.wait()

    # --- stopping a job ---

    async def cancel(self, job_id: str, *, user: str | None = None) -> CancelResult:
        """Cancel a job. When this returns, the intent is durable; the end follows on the feed.

        ``accepted``, ``already_ended`` or ``unknown`` (also for a job of another user).
        **Cancellation**: the job may have been cancelled.
        """
        # The commit itself tells the running attempt: see RuntimeTree.
        return await self.store.cancel(check_id(job_id), user)

    async def cancel_key(self, key: str, *, user: str) -> CancelResult:
        """Cancel the job that ``user`` submitted with an idempotency key, also if it has not come yet.

        As ``cancel``. With no job of that key it is ``accepted`` too: the key is remembered for
        ``StoreOptions.tombstone_age_s``, and the submit that comes with it is cancelled from the
        beginning. Raises ``BadArguments``.
        """
        return await self.store.cancel_key(check_user(user), check_label("idempotency key", key))

    # --- steering a job ---

    async def signal(
        self, job_id: str, message: object, *, id: str | None = None, user: str | None = None
    ) -> SignalAnswer:
        """Send ``message`` (JSON, up to ``signal_bytes``) to a job, which reads it with ``ctx.messages``.

        When this returns ``accepted``, it is durable: the job gets it, in order, unless it ends before.
        ``id``: sent twice with one id and the same content it is one message. Also ``already_ended`` and
        ``unknown`` (also for a job of another user). Raises ``BadArguments``, ``KeyConflict`` (that id, with
        other content), ``SignalsAreFull``. **Cancellation**: it may have been sent.
        """
        id = self.seams.new_id() if id is None else check_label("the id of a message", id)
        body = canonical(message, "the message", self.options.signal_bytes, "signal_bytes")
        row = SignalRow(job=check_id(job_id), id=id, body=body, sender=user)
        return signalled(await self.store.signal(row, user), row)

    async def messages(
        self, job_id: str, *, user: str | None = None, after: int = 0, limit: int = 50
    ) -> tuple[SignalRow, ...] | None:
        """The messages to a job with a ``seq`` above ``after``, in their order: all that wait to be read
        (those above its row's ``given``) and those that it read lately. None if there is no such job."""
        job = await self.store.job(job_id)
        if job is None or (user is not None and job.user != user):
            return None
        return await self.store.signals(job_id, after, check_limit(limit))

    async def answer(self, job_id: str, key: str, value: object, *, user: str | None = None) -> AnswerOutcome:
        """Answer the question that a job asks (``ctx.ask_user``; ``Job.asking`` shows it).

        ``value``: JSON that fits the question's schema. When this returns ``accepted``, it is durable and
        the job is due. Also ``already_answered`` (the same answer of the same user again is accepted),
        ``not_asked`` (also when its time is over), ``already_ended``, and ``unknown`` (also for a job of
        another user). Raises ``BadArguments``. **Cancellation**: it may have been answered.
        """
        text = canonical(value, "the answer", self.options.answer_bytes, "answer_bytes")
        job = await self.job(job_id, user=user)
        checked = check_answer(job, check_label("the key of a question", key), text)
        given = GiveAnswer(job_id=job_id, key=key, value=text, user=user, checked=checked)
        return await self.store.answer(given)

    # --- hooks of ended jobs ---

    async def dead_completions(self, *, before: str | None = None, limit: int = 50) -> tuple[Completion, ...]:
        """The ``on_ended`` hooks that were given up, each with its last error: the newest job first;
        ``before`` a job id, exclusive."""
        return await self.store.dead_completions(before=before, limit=check_limit(limit))

    async def retry_completion(self, job_id: str) -> bool:
        """Run the hook of a job that was given up again, with all its tries; False if it was not.
        **Cancellation**: it may be run."""
        retried = await self.store.retry_completion(check_id(job_id))
        self._tree.completions.tell(HooksDue())
        return retried

    # --- reading along ---

    def read(self, job_id: str, *, attempt: int = 0, n: int = 0) -> OutputReader:
        """The output of a job from the cursor (``attempt``, ``n``), as it comes, until its ``End``.

        Gives ``Text``, ``Event``, ``Rewind`` and ``End``; after a ``Rewind`` what follows continues at its
        ``keep``. Raises ``BadArguments``, its steps ``UnknownJob``. **Resources**: see ``OutputReader``.
        """
        close = self._tree.audience.close_channel
        return OutputReader(check_id(job_id), attempt, n, self.store, self._open_reader, close)

    def _open_reader(self, user: str) -> SubscriberChannel:
        return self._tree.audience.open_channel(user, visible=False, feed=None, wants_feed=False)

    async def text(self, job_id: str) -> str:
        """All text that is committed now, events left out. Raises ``UnknownJob``."""
        texts: list[str] = []
        start = 0
        while True:
            page = await self.store.read_output(check_id(job_id), start, self.options.channels.page_bytes)
            if page is None:
                raise UnknownJob(f"there is no job {job_id!r}")
            if not page.entries:
                return "".join(texts)
            texts.extend(entry for entry in page.entries if isinstance(entry, str))
            start += len(page.entries)

    # --- sessions ---

    def open_session(
        self, user: str, *, visible: bool = True, feed: tuple[str, int] | None = None
    ) -> OpenSession:
        """Open a session of ``user``: its channel, with the feed from the cursor ``feed``.

        An asynchronous context manager. ``visible``: a person can see it now. Entering raises
        ``TooManySessions``, ``BadArguments``. **Resources**: the channel is closed at the end.
        """
        return OpenSession(self._tree.audience, user, visible, feed)

    # --- gateways ---

    async def run_gateway(self, spec: ChildSpec) -> None:
        """Run ``spec`` as a child of the ``gateways`` supervisor, until it ends.

        **Cancellation**: the child is stopped in order first.
        """
        await run_gateway(self._tree.gateways, spec, lambda: self._tree.stopping)

    def report(self, report: Report) -> None:
        """Hand a report to the runtime's one listener, whose own failure is logged."""
        deliver(self._tree.reporter, report)

    def statistics(self) -> dict[str, Any]:
        """Counters, and the use of each bound: ``most`` is that of one user, session or job, and ``users``
        has the largest. What only the store knows is as of the last look at it (``sweep_interval_s``). This
        looks at every session: not for the hot path."""
        return usage(self._tree)


@asynccontextmanager
async def open_runtime(
    url: str | StoreFactory = "memory:",
    *,
    jobs: Iterable[JobSpec[Any, Any]],
    options: RuntimeOptions = RuntimeOptions(),
    store_options: StoreOptions = StoreOptions(),
    seams: Seams | None = None,
    on_report: Reporter = log_report,
) -> AsyncIterator[Runtime]:
    """Open a runtime on the store at ``url``.

    * ``url``: ``memory:``, ``sqlite:///chat.db`` (relative) or ``sqlite:////var/chat.db``; or a function
      that makes a ``Store`` of your own of ``Seams`` and ``StoreOptions``.
    * ``jobs``: what may be submitted; attempts that an earlier process left are claimed at once.
    * ``seams``: clock, ids, randomness, threads; the real ones by default.
    * ``on_report``: called with a ``Report`` for each crash, restart, give-up, stuck task.

    Raises ``StoreRefused`` and its kinds, ``ValueError`` for two jobs of one name or too many jobs,
    ``TypeError`` for what is no job or are no options, and a job whose annotations cannot be found.

    **Cancellation** and the end of the block: sessions and gateways are stopped first, running jobs
    are released (queued again, for the next start), the store is closed. All within
    ``shutdown_total_s``. **Resources**: nothing is left afterwards: no task, thread, timer, file. But a
    task that does not end is waited for, and a thread whose disk does not answer is left; both are reported.
    """
    need_options("options", options, RuntimeOptions)
    need_options("store_options", store_options, StoreOptions)
    specs = by_name(jobs, store_options.job_names_max)
    tree = RuntimeTree(url, specs, options, store_options, Seams() if seams is None else seams, on_report)
    async with tree.open():
        yield Runtime(tree)
