"""For those who test their own jobs and actors.

* ``run_job`` runs a job without a server, crashes included, on a real runtime with a store in memory: what
  it may and may not do is not imitated.
* ``TestProbe`` (``trouper.probe``) is a ref that stands in for an actor, and collects what it is told.
* ``run_behaviour`` (``trouper.behaviour``) runs one actor alone and tells what it did with each message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs
import orjson
import trio

from trouper.actors.job_context import JobContext
from trouper.actors.job_spec import Backoff, BadArguments, JobSpec, job
from trouper.behaviour import BehaviourRun as BehaviourRun
from trouper.behaviour import Handled as Handled
from trouper.behaviour import Spawned as Spawned
from trouper.behaviour import run_behaviour as run_behaviour
from trouper.probe import TestProbe as TestProbe
from trouper.simulation.errors import SimulatedCrash as SimulatedCrash
from trouper.store.protocol import CommitNotice
from trouper.store.questions import open_question
from trouper.store.records import Entry, Job, JobState
from trouper.store.seams import Seams
from trouper.supervisor.options import RuntimeOptions
from trouper.supervisor.runtime import Runtime, open_runtime


@attrs.frozen(kw_only=True)
class JobResult:
    """What became of a job: its output is the committed log, as every reader has it in the end."""

    text: str
    events: list[tuple[str, Any]]
    """(name, data) of each event."""
    state: JobState
    attempts: int
    """How many attempts were begun."""
    result: Any
    """What the job returned; None unless completed."""
    error: str | None
    notifications: list[tuple[str, str]]
    """(title, body) of each notification, oldest first; that of the ending is one of them."""


def _crash_seam(crash_at: int | None) -> Callable[[str], None]:
    calls = 0

    def fault(site: str) -> None:
        nonlocal calls
        if site == "ctx.call.1":
            calls += 1
            if calls == crash_at:
                raise SimulatedCrash(f"before call {crash_at} of ctx")

    return fault


async def _log_of(runtime: Runtime, job_id: str) -> list[Entry]:
    """The whole committed log."""
    entries: list[Entry] = []
    while (page := await runtime.store.read_output(job_id, len(entries), 1024 * 1024)) and page.entries:
        entries.extend(page.entries)
    return entries


async def _answering(runtime: Runtime, job: Job, answers: Mapping[str, Any]) -> Job:
    """Wait for the end of a job, and answer what it asks meanwhile."""
    asking, asked = trio.open_memory_channel[str](math.inf)
    wrong: list[Exception] = []

    def committed(notice: CommitNotice) -> None:
        for row in notice.jobs:
            if row.asking is not None:
                asking.send_nowait(open_question(row.asking)["key"])

    async def answer() -> None:
        async for key in asked:
            try:
                if key not in answers:
                    raise LookupError(f"the job asks {key!r}; the answers given are to {sorted(answers)}")
                await runtime.answer(job.id, key, answers[key])
            except (LookupError, BadArguments) as error:
                wrong.append(error)
                await runtime.cancel(job.id)

    runtime.store.listen(committed)
    with asking, asked:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            ended = await runtime.wait(job.id)
            nursery.cancel_scope.cancel()
    for error in wrong:
        raise error
    return ended


def _place_holder(place_free: trio.Event) -> JobSpec[Any, Any]:
    """A job that takes the one place there is until it may end, so that what comes behind it waits."""

    async def hold(ctx: JobContext) -> None:
        await place_free.wait()

    return job(name="place-holder", notify_on=())(hold)


async def run_job(
    spec: JobSpec[Any, Any],
    /,
    *,
    crash_at: int | None = None,
    user: str = "tester",
    thread: str | None = None,
    answers: Mapping[str, Any] = MappingProxyType({}),
    signals: Sequence[Any] = (),
    **arguments: Any,
) -> JobResult:
    """Run a job to its end and tell what came of it.

    * ``crash_at``: raise ``SimulatedCrash`` before this call of ``ctx`` (from 1) in attempt 1. Whether
      the job is retried is its declaration's to say; back-off is left out.
    * ``answers``: to what it asks with ``ctx.ask_user``, by the keys of its questions. It raises
      ``LookupError`` if the job asks something else.
    * ``signals``: the messages that it was sent by the time it begins (``ctx.messages``), in order.
    * ``arguments``: those of the job.

    Raises ``BadArguments``. **Cancellation**: the job is given up. **Resources**: nothing is left.
    """
    if crash_at is not None and crash_at < 1:
        raise ValueError(f"crash_at={crash_at!r}: legal are whole numbers from 1")
    spec = attrs.evolve(spec, retry=attrs.evolve(spec.retry, backoff=Backoff(base=0)))
    seams, began, one_place = Seams(fault=_crash_seam(crash_at)), trio.Event(), RuntimeOptions(max_running=1)
    before = _place_holder(began)
    async with open_runtime(
        "memory:", jobs=[before, spec], options=one_place, seams=seams, on_report=lambda _: None
    ) as runtime:
        await runtime.submit(before.call(), user=user)
        submitted = await runtime.submit(spec.call(**arguments), user=user, thread=thread)
        for message in signals:
            await runtime.signal(submitted.id, message)
        began.set()
        ended = await _answering(runtime, submitted, answers)
        entries = await _log_of(runtime, ended.id)
        inbox = await runtime.inbox(user)
    return JobResult(
        text="".join(entry for entry in entries if isinstance(entry, str)),
        events=[(entry[0], orjson.loads(entry[1])) for entry in entries if not isinstance(entry, str)],
        state=ended.state,
        attempts=ended.attempt,
        result=None if ended.result is None else orjson.loads(ended.result),
        error=ended.error,
        notifications=[(n.title, n.body) for n in reversed(inbox)],
    )
