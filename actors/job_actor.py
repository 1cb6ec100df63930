"""The job actor: runs one attempt of a job and records how it ended.

The user's function runs in a task of the actor's nursery, in a scope of its own; the actor itself
only takes orders (``Stop``) and waits for the end. Why an attempt stops is recorded before its scope
is cancelled, and what the function raised is recorded in the innermost ``except``, before any await
(S3): so no cleanup can hide either.
"""

from __future__ import annotations

import math
import traceback
from contextlib import suppress
from typing import Any

import attrs
import orjson
import trio

from trouper.actors.actor import Actor, StopReason
from trouper.actors.attempt import Attempt, AttemptPorts, StopCause
from trouper.actors.job_context import JobContext, to_json
from trouper.actors.job_errors import BadState, OutputTooLarge, beyond
from trouper.actors.job_spec import Again, BadArguments, Fail, JobSpec
from trouper.actors.outputs import Outputs
from trouper.actors.patience import hash_log, patiently
from trouper.actors.reports import Crash, Report, Reporter, ReportKind, deliver, split_failure
from trouper.store.errors import StoreCorrupt, StoreUnavailable
from trouper.store.protocol import EndingKind, Finish, RefusalReason, Refused
from trouper.store.records import Job

_IDLE_CHECK_S = 0.001  # at least so much, or a rounded difference of times would be slept for for ever


@attrs.frozen
class Stop:
    """Stop the attempt for this reason."""

    reason: StopCause


@attrs.frozen
class Ended:
    """The function's task has ended, and how is recorded."""


@attrs.frozen
class GraceOver:
    """The function was told to stop and has not ended within its grace."""


JobMessage = Stop | Ended | GraceOver


@attrs.frozen
class Ending:
    """How an attempt ended, before the store has heard of it."""

    kind: EndingKind
    result: str | None = None
    error: str | None = None
    reason: str | None = None
    retry_after_s: float | None = None
    stuck: bool = False


_BY_CAUSE = {
    StopCause.CANCEL: Ending(EndingKind.CANCELLED, reason="user"),
    StopCause.TIMEOUT: Ending(EndingKind.TIMED_OUT, reason="timeout"),
    StopCause.IDLE: Ending(
        EndingKind.IDLE, error="no entry of output came within the idle time-out", reason="idle_timeout"
    ),
    StopCause.ASK: Ending(EndingKind.ASKED, reason="question"),
    StopCause.RELEASE: Ending(EndingKind.RELEASED, reason="released"),
    StopCause.OUTPUT: Ending(
        EndingKind.CRASHED, error="part of the output could not be stored", reason="output"
    ),
}

_NOT_AGAIN = {EndingKind.CRASHED: EndingKind.FAILED, EndingKind.IDLE: EndingKind.TIMED_OUT}
"""What ends an attempt that another may follow ends its job when a step must not be repeated."""


class JobActor(Actor[JobMessage]):
    """The actor of one attempt. ``job`` is the claimed row, ``spec`` what is registered under its name."""

    def __init__(
        self,
        job: Job,
        spec: JobSpec[Any, Any],
        ports: AttemptPorts,
        outputs: Outputs,
        reporter: Reporter,
    ) -> None:
        self.job = job
        self._spec = spec
        self._ports = ports
        self._outputs = outputs
        self._reporter = reporter
        self._attempt: Attempt | None = None
        self._early: StopCause | None = None
        """Told to stop before there was an attempt to stop."""
        self._scope = trio.CancelScope()
        self._looking = trio.CancelScope()
        self._task: trio.lowlevel.Task | None = None
        self._ending: Ending | None = None
        self._ended = trio.Event()
        """The function's task is over, and ``_ending`` says how (None: nothing is to be written)."""
        self._settled = False

    # --- the actor ---

    async def started(self) -> None:
        # What an attempt goes on from is read after the start: a long log must not hold up the others'.
        # The name is for those who look at tasks, and for plans of faults: it is what simulations call it.
        self.context.nursery.start_soon(self._live, name=f"job/{self.job.name}")

    async def receive(self, message: JobMessage) -> None:
        match message:
            case Stop(reason=cause):
                if self._attempt is not None:
                    self._attempt.stop(cause)
                elif self._early is None:
                    self._early = cause
            case Ended():
                await self._settle()
                self.context.stop()
            case GraceOver():
                await self._give_up()

    async def stopped(self, reason: StopReason) -> None:
        """Whatever is not recorded yet: an end that was not told, or, if the supervisor stops this
        actor without having drained it, that the attempt is given back. Tried once: if the store is down,
        the next boot finds the row, and whoever reads the reports is told so."""
        attempt = self._attempt
        if attempt is not None:
            attempt.close()  # first: nothing can be stopped any more, though output of it may yet be refused
        try:
            if attempt is not None and reason is not StopReason.CRASHED and not self._settled:
                if not self._ended.is_set():
                    # Given back; or, if its row says that an unsafe step was under way, lost at once.
                    self._ending = _BY_CAUSE[StopCause.RELEASE]
                with suppress(StoreUnavailable):
                    await self._settle(tries=1)
        finally:
            if reason is not StopReason.CRASHED:
                self._tell_if_unrecorded()
            if attempt is not None:
                self._outputs.close_log(attempt.log)
                self._ports.bells.close(self.job, attempt.bell)

    def _tell_if_unrecorded(self) -> None:
        """For whoever looks after the process: what the next start will find running, and what it does."""
        if self._settled:
            return
        attempt = self._attempt
        ended = "its start" if attempt is None else "its end" if self._ended.is_set() else "its release"
        if attempt is not None and attempt.step.name is not None:
            ended = f"its stop {attempt.step.place}"
        reason = f"{ended} was not recorded, or that is not known: the next start takes what it finds"
        reason += " running for a process death"
        what = f"attempt {self.job.attempt} of {self.job.name!r}"
        self._report(ReportKind.UNRECORDED, f"{what}: {reason}", "")

    # --- stopping ---

    def _stopping(self) -> None:
        """A reason has been recorded: cancel the function, and give it its grace."""
        self._looking.cancel()
        self._scope.cancel()
        self.context.nursery.start_soon(self._watch_grace)

    async def _watch_grace(self) -> None:
        with trio.move_on_after(self._ports.limits.grace_s):
            await self._ended.wait()
            return
        self.context.ref.tell(GraceOver())

    async def _stop_after(self, seconds: float) -> None:
        await trio.sleep(max(0.0, seconds))
        assert self._attempt is not None
        self._attempt.stop(StopCause.TIMEOUT)

    async def _stop_when_idle(self, limit_s: float) -> None:
        assert self._attempt is not None
        idle_s = 0.0
        while idle_s < limit_s:
            await trio.sleep(max(limit_s - idle_s, _IDLE_CHECK_S))
            idle_s = self._attempt.idle_s()
        self._attempt.stop(StopCause.IDLE)

    # --- running the function ---

    async def _live(self) -> None:
        """Read what the attempt goes on from, and run the function."""
        try:
            prefix = await hash_log(self._ports.store, self.job.id, self.job.entries)
        except StoreCorrupt as error:
            await self._lose(error)
            return
        attempt = self._attempt = Attempt(self.job, prefix, self._ports, self._stopping)
        self._outputs.open_log(self.job, attempt.log)
        # What was committed before anybody could tell this actor is found in the row: a cancel, or that a
        # process that slept for long woke up to an attempt that is another's. One that is told to stop does
        # not wait for that: it would seem stuck while the store is down.
        with self._looking:
            row = await patiently(lambda: self._ports.store.job(self.job.id))
            if row is not None:
                attempt.bell.ring(row.signals)
                if row.fence != self.job.fence:
                    attempt.stop(StopCause.FENCE)
                elif row.cancel_requested:
                    attempt.stop(StopCause.CANCEL)
        if self._early is not None:
            attempt.stop(self._early)
        if self.job.options.timeout_s is not None:
            left_s = self.job.options.timeout_s - self.job.used_ms / 1000
            self.context.nursery.start_soon(self._stop_after, left_s)
        if self.job.options.idle_timeout_s is not None:
            self.context.nursery.start_soon(self._stop_when_idle, self.job.options.idle_timeout_s)
        await self._run(attempt)

    async def _lose(self, error: StoreCorrupt) -> None:
        """The log cannot be read, so nothing can go on from it: the job ends with what there is."""
        self._report(ReportKind.CRASH, f"{self.job.name!r} lost its output: {error}", "")
        await patiently(lambda: self._ports.store.lose(self.job.id, self.job.fence, "undecodable"))
        self._settled = True
        self._ended.set()
        self.context.ref.tell(Ended())

    async def _run(self, attempt: Attempt) -> None:
        self._task = trio.lowlevel.current_task()
        ending: Ending | None = None
        with self._scope:
            try:
                if attempt.reason is None:
                    ending = self._returned(await self._call(JobContext(attempt)))
            except BaseException as error:  # noqa: ASYNC103  # what must pass does
                crash, passing = split_failure(error)
                ending = None if crash is None else self._crashed(crash)
                if passing is not None:
                    raise passing from None  # noqa: ASYNC104
        self._ending = self._judge(ending)
        attempt.close()
        self._ended.set()
        self.context.ref.tell(Ended())

    async def _call(self, ctx: JobContext) -> object:
        try:
            given = orjson.loads(self.job.arguments)
            if not isinstance(given, dict):
                raise BadArguments(f"{type(given).__name__} instead of an object")
            arguments = self._spec.structure(given)
        except (BadArguments, orjson.JSONDecodeError) as error:
            raise Fail(f"stored arguments no longer fit: {error}") from None
        return await self._spec.function(ctx, **arguments)

    def _judge(self, ending: Ending | None) -> Ending | None:
        """How the attempt ended: by the first reason that was recorded, else by what the task did."""
        assert self._attempt is not None
        reason = self._attempt.reason
        if reason is StopCause.IDLE:  # which counts as a crash, and is told as one
            seconds = self.job.options.idle_timeout_s
            self._report(ReportKind.CRASH, f"no entry of output came for {seconds:g} s", "")
        ending = ending if reason is None else _BY_CAUSE.get(reason)
        step = self._attempt.step
        if ending is None or ending.kind not in _NOT_AGAIN or step.name is None or step.under_way:
            return ending
        # How far the step came is known, unlike inside of it: this is an end as any other, but the last one.
        error = f"{ending.error} (not tried again {step.place})"
        return attrs.evolve(ending, kind=_NOT_AGAIN[ending.kind], error=error)

    def _returned(self, value: object) -> Ending:
        limit = self._ports.limits.result_bytes
        try:
            result = to_json(value, f"the result of job {self.job.name!r}")
        except BadState as bad:
            return Ending(EndingKind.FAILED, error=str(bad), reason="result")
        if (size := len(result.encode())) > limit:
            what = f"the JSON of the result of job {self.job.name!r}"
            error = beyond(what, size, "bytes", limit, "result_bytes")
            return Ending(EndingKind.FAILED, error=error, reason="result")
        return Ending(EndingKind.RETURNED, result=result)

    def _crashed(self, error: BaseException) -> Ending:
        """An ending from what the function raised; the text is kept, the frames are not."""
        found = _find(error, (Fail, Again, OutputTooLarge))
        crash = Crash.of(error)
        text = _printable(f"{crash.type}: {crash.message}" if found is None else str(found))
        text = text[: self._ports.limits.error_chars]
        if isinstance(found, OutputTooLarge):  # another attempt would produce as much again
            return Ending(EndingKind.FAILED, error=f"OutputTooLarge: {text}", reason="output_too_large")
        if isinstance(found, Fail):
            return Ending(EndingKind.FAILED, error=text, reason="fail")
        self._report(ReportKind.CRASH, text, crash.text)
        after = found.after if isinstance(found, Again) else None
        return Ending(EndingKind.CRASHED, error=text, reason="crash", retry_after_s=after)

    # --- recording the end ---

    async def _settle(self, tries: float = math.inf) -> None:
        """Tell the store how the attempt ended, until it has heard it. Repeating it is safe."""
        ending = self._ending
        if self._settled or ending is None:
            self._settled = True
            return
        assert self._attempt is not None  # only its end makes an ending
        log = self._attempt.log
        entries, sha256 = log.entries, log.sha256()
        while True:
            request = self._finish(ending, entries, sha256)
            result = await patiently(lambda: self._ports.store.finish(request), tries)  # noqa: B023
            if not (isinstance(result, Refused) and result.reason is RefusalReason.GAP):
                break
            # Part of the output was not accepted: what is committed is all there will be of it.
            ending, entries = _BY_CAUSE[StopCause.OUTPUT], result.entries
            sha256 = (await hash_log(self._ports.store, self.job.id, entries)).hexdigest()
        self._settled = True

    def _finish(self, ending: Ending, entries: int, sha256: str) -> Finish:
        assert self._attempt is not None
        return Finish(
            job_id=self.job.id,
            fence=self.job.fence,
            kind=ending.kind,
            entries=entries,
            sha256=sha256,
            used_ms=self._attempt.used_ms(),
            result=ending.result,
            error=ending.error,
            reason=ending.reason,
            retry_after_s=ending.retry_after_s,
            stuck=ending.stuck,
            question=self._attempt.question if ending.kind is EndingKind.ASKED else None,
            jitter=self._ports.seams.random.random(),
        )

    async def _give_up(self) -> None:
        """The task does not end, and trio cannot kill it: end the job without it."""
        assert self._attempt is not None
        if self._ended.is_set() or self._attempt.reason is None:
            return
        stack = "" if self._task is None else _stack_of(self._task)
        self._report(
            ReportKind.STUCK,
            f"job {self.job.id} has not ended {self._ports.limits.grace_s} s after its stop",
            stack,
        )
        self._attempt.close()
        by_reason = _BY_CAUSE.get(self._attempt.reason)
        self._ending = None if by_reason is None else attrs.evolve(by_reason, stuck=True)
        await self._settle()

    def _report(self, kind: ReportKind, reason: str, detail: str) -> None:
        path, at = f"runtime/core/jobs/{self.job.name}", self._ports.seams.wall()
        deliver(self._reporter, Report(kind, path, self.job.id, self.job.attempt, reason, detail, at))


def _find(error: BaseException, kinds: tuple[type[BaseException], ...]) -> BaseException | None:
    """The first of ``kinds`` in an exception or a group that holds nothing else of interest."""
    if isinstance(error, kinds):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _find(inner, kinds))), None)
    return None


def _printable(text: str) -> str:
    """Without lone surrogates: an error's text goes into the database and over the wire."""
    return text.encode("utf-8", "backslashreplace").decode()


def _stack_of(task: trio.lowlevel.Task) -> str:
    """Where a task stands, innermost last."""
    return "".join(traceback.StackSummary.extract(task.iter_await_frames()).format())
