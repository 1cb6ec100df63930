"""The commands of the client: what each asks and what comes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from trouper.store.protocol import Mark, OnBusy
from trouper.store.records import Counts
from trouper.transport.client_views import (
    CancelView,
    JobView,
    MessageView,
    NotificationView,
    ThreadView,
    WireItem,
    counts,
    mapping,
    rows,
    string,
)


class Commands(ABC):
    """Everything that a user can ask, over whatever carries a command and its answer.

    Each waits for its answer as long as that takes, over any number of connections; bound it with
    ``trio.fail_after``. Each raises ``CommandFailed`` when the server answers with an error,
    ``CommandRefused`` for what cannot be sent, ``ClientStopped`` when no answer will come.

    **Cancellation** of what only reads leaves nothing.
    """

    @abstractmethod
    async def _ask(self, kind: str, fields: Mapping[str, Any], **optional: Any) -> WireItem:
        """Send a command and wait for its ``ok``; ``optional`` fields that are None are left out."""

    @abstractmethod
    def _new_key(self) -> str:
        """An idempotency key that nobody has used."""

    async def submit(
        self,
        job: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        thread: str | None = None,
        key: str | None = None,
        on_busy: OnBusy = "enqueue",
        at: float | None = None,
        delay: float | None = None,
    ) -> JobView:
        """Start a job by its name; returns its row.

        ``key`` is the idempotency key: submitting twice with one key and the same content gives the
        same job. By default one is made, so that at least this client never starts the job twice,
        however often the connection is lost meanwhile.

        ``on_busy``, when the thread has active jobs: ``enqueue`` behind them, ``reject``, ``interrupt``
        (they end ``cancelled``) or ``rollback`` (their output goes, too). ``at`` (seconds since the epoch)
        or ``delay`` (seconds): not to run before.

        The codes of ``CommandFailed``: ``unknown_job``, ``bad_request``, ``conflict``,
        ``thread_busy``, ``queue_full``, ``busy``, ``unavailable``, ``draining``, ``internal``.

        **Cancellation**: the job may have been started. Submit again with the same key to know.
        """
        key = key if key is not None else self._new_key()
        fields = {"job": job, "arguments": dict(arguments or {}), "key": key, "on_busy": on_busy}
        ok = await self._ask("submit", fields, thread=thread, at=at, delay_s=delay)
        return JobView.from_wire(mapping(ok, "job"))

    async def cancel(self, job_id: str) -> CancelView:
        """Ask for a job to be cancelled. The answer is given when the intent is durable; the end of
        the job follows on the feed. **Cancellation**: it may be done."""
        return await self._cancel({"job": job_id})

    async def cancel_key(self, key: str) -> CancelView:
        """As ``cancel``, for the job that was or will be submitted with this idempotency key. If it has not
        come yet, the key is remembered for a while, and its submit is cancelled from the beginning; then
        the answer is ``accepted`` too, without a job. **Cancellation**: it may be done."""
        return await self._cancel({"key": key})

    async def _cancel(self, which: Mapping[str, Any]) -> CancelView:
        ok = await self._ask("cancel", which)
        job = ok.get("job")
        return CancelView(
            string(ok, "answer"), None if job is None else JobView.from_wire(mapping(ok, "job"))
        )

    async def signal(self, job_id: str, message: Any, *, key: str | None = None) -> str:
        """Send a message (JSON) to a job that has not ended: ``accepted`` (it is durable), ``already_ended``
        or ``unknown``.

        ``key``: sent twice with one key and the same content it is one message. By default one is made. The
        codes of ``CommandFailed``: ``bad_request``, ``conflict``, ``signals_full`` … **Cancellation**: it may
        have been sent; send it again with the same key to know.
        """
        fields = {"job": job_id, "message": message, "key": key if key is not None else self._new_key()}
        return string(await self._ask("signal", fields), "answer")

    async def messages(self, job_id: str, *, after: int = 0, limit: int = 50) -> tuple[MessageView, ...]:
        """The messages that a job was sent with a ``seq`` above ``after``, in their order, up to ``limit``
        (1–100); only an empty answer is the end. ``after=row.messages_read`` gives those that wait to be
        read. ``CommandFailed`` ``unknown``: none of yours."""
        ok = await self._ask("messages", {"job": job_id, "after": after, "limit": limit})
        return tuple(MessageView.from_wire(row) for row in rows(ok, "messages"))

    async def answer(self, job_id: str, key: str, value: Any) -> str:
        """Answer the question that a job asks (``JobView.asking`` has its ``key`` and its ``schema``):
        ``accepted`` (also the same answer again), ``already_answered``, ``not_asked`` (also when its time is
        over), ``already_ended`` or ``unknown``.

        ``CommandFailed`` ``bad_request``: it does not fit the schema. **Cancellation**: it may be done.
        """
        return string(await self._ask("answer", {"job": job_id, "key": key, "value": value}), "answer")

    async def mark(
        self,
        mark: Mark,
        *,
        ids: Iterable[str] | None = None,
        job: str | None = None,
        upto: int | None = None,
    ) -> Counts:
        """Mark notifications ``seen``, ``read`` or ``archived``: those of ``ids`` (up to 500), of a
        job, or all up to a feed seq. Exactly one of the three. **Cancellation**: it may be done."""
        chosen = {"ids": None if ids is None else list(ids), "job": job, "upto": upto}
        fields = {name: value for name, value in chosen.items() if value is not None}
        if len(fields) != 1:
            raise ValueError(f"mark takes exactly one of ids, job and upto, not {sorted(fields) or 'none'}")
        return counts(await self._ask("mark", {"mark": mark, **fields}))

    async def job(self, job_id: str) -> JobView:
        """One job with its arguments and its result. ``CommandFailed`` ``unknown``: none of yours."""
        return JobView.from_wire(mapping(await self._ask("job", {"job": job_id}), "job"))

    async def jobs(
        self, *, thread: str | None = None, before: str | None = None, limit: int = 50
    ) -> tuple[JobView, ...]:
        """Newest first, up to ``limit`` (1–100); only an empty answer is the end. ``before``: a job id,
        exclusive."""
        ok = await self._ask("jobs", {"limit": limit}, thread=thread, before=before)
        return tuple(JobView.from_wire(row) for row in rows(ok, "jobs"))

    async def threads(self, *, before: str | None = None, limit: int = 50) -> tuple[ThreadView, ...]:
        """By their newest job, newest first, up to ``limit`` (1–100); only an empty answer is the end.
        ``before``: a thread, exclusive."""
        ok = await self._ask("threads", {"limit": limit}, before=before)
        return tuple(ThreadView.from_wire(row) for row in rows(ok, "threads"))

    async def notifications(
        self, *, before: str | None = None, limit: int = 50
    ) -> tuple[NotificationView, ...]:
        """Not archived, newest first, up to ``limit`` (1–100); only an empty answer is the end.
        ``before``: an id, exclusive."""
        ok = await self._ask("notifications", {"limit": limit}, before=before)
        return tuple(NotificationView.from_wire(row) for row in rows(ok, "notifications"))
