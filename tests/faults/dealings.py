"""What a job has to do with others: a person who is asked, messages, a hook, a charge, a cancel by key.

What happened outside of the store is noted in ``NOTES``, which outlives a runtime, as the world does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable

import attrs
import trio

import trouper
from tests.faults.stage import RETRY, Stage, check, insist, submit


@attrs.define
class Notes:
    """Of one run, by job id."""

    charged: Counter[str] = attrs.field(factory=Counter)
    begun: Counter[str] = attrs.field(factory=Counter)
    """Attempts of ``never``."""
    told: defaultdict[str, list[str]] = attrs.field(factory=lambda: defaultdict(list))
    """The states that hooks were told."""

    def clear(self) -> None:
        for notes in (self.charged, self.begun, self.told):
            notes.clear()


NOTES = Notes()
MESSAGES = range(5)
PATIENCE_S = 200.0
"""Virtual seconds after which what was waited for does not come any more."""
RESULTS = {"asks": '"late"', "listens": "[0,1,2,3,4]", "charge": '"charged"'}


@trouper.job(retry=RETRY)
async def asks(ctx: trouper.JobContext) -> str:
    if ctx.saved is None:
        await ctx.write("Two flights: ")
        await ctx.savepoint("found")
    answer: str = await ctx.ask_user("Which?", choices=["early", "late"], key="which")
    await ctx.write(answer)
    return answer


@trouper.job(retry=RETRY)
async def listens(ctx: trouper.JobContext) -> list[int]:
    """Saves every second message, so that some are always read and not saved."""
    heard: list[int] = ctx.saved or []
    async for message in ctx.messages:
        heard.append(message.data)
        await ctx.write(f"{message.data} ")
        if len(heard) % 2 == 0:
            await ctx.savepoint(heard)
        elif len(heard) == 3 and ctx.attempt == 1:
            raise RuntimeError("on purpose")
        elif len(heard) == len(MESSAGES):
            break
    return heard


@trouper.job(retry=RETRY)
async def charge(ctx: trouper.JobContext) -> str:
    if ctx.saved is None:
        async with ctx.unsafe("charge"):
            NOTES.charged[ctx.job_id] += 1
            await trio.sleep(0.1)
            await ctx.savepoint("charged")
    await ctx.write("charged")
    return "charged"


@trouper.job(retry=RETRY)
async def never(ctx: trouper.JobContext) -> None:
    NOTES.begun[ctx.job_id] += 1
    await ctx.write("it runs")


@trouper.job(retry=RETRY)
async def hooked(ctx: trouper.JobContext) -> None:
    await ctx.write("done")


@never.on_ended
@hooked.on_ended
async def note_end(job: trouper.Job) -> None:
    """Fails at first, and is slow, so that it is also ended on its way."""
    NOTES.told[job.id].append(job.state.value)
    await trio.sleep(0.1)
    if job.name == "hooked" and len(NOTES.told[job.id]) == 1:
        raise RuntimeError("on purpose")


# --- what is done to them, in a scenario and again by whoever comes after it ---


async def see_to(runtime: trouper.Runtime, job: trouper.Job) -> None:
    """Do what a job waits for that does not end by itself."""
    match job.name:
        case "asks":
            await answer(runtime, job.id)
        case "listens":
            await send_all(runtime, job.id)
        case "endless" if not job.state.terminal:
            await insist(lambda: runtime.cancel(job.id))


async def answer(runtime: trouper.Runtime, job_id: str) -> None:
    """Once the job asks; the same again is accepted, too, and another answer is not."""
    with trio.fail_after(PATIENCE_S):
        while (job := await insist(lambda: runtime.job(job_id))) is None or job.asking is None:
            if job is not None and job.state.terminal:
                return
            await trio.sleep(0.5)
    for _ in range(2):
        outcome = await insist(lambda: runtime.answer(job_id, "which", "late", user="ada"))
        assert outcome is trouper.AnswerOutcome.ACCEPTED
    outcome = await insist(lambda: runtime.answer(job_id, "which", "early", user="ada"))
    assert outcome is trouper.AnswerOutcome.ALREADY_ANSWERED


async def send_all(runtime: trouper.Runtime, job_id: str) -> None:
    """With ids, so that the same again is the same message."""

    async def send(number: int) -> trouper.SignalAnswer:
        return await insist(lambda: runtime.signal(job_id, number, id=f"m{number}", user="ada"))

    for number in MESSAGES:
        assert await send(number) is trouper.SignalAnswer.ACCEPTED


async def hooks_to_end(stage: Stage) -> None:
    assert stage.hooks_left is not None
    with trio.fail_after(PATIENCE_S):
        while stage.hooks_left():  # noqa: ASYNC110  # rows have no event
            await trio.sleep(0.5)


def check_dealings(jobs: list[trouper.Job]) -> None:
    """What must hold of each that has ended, however it went."""
    for job in jobs:
        if job.state is trouper.JobState.COMPLETED and job.name in RESULTS:
            assert job.result == RESULTS[job.name]
        if job.name == "charge":
            assert job.state.value in ("completed", "lost"), job
            assert NOTES.charged[job.id] <= 1, f"charged {NOTES.charged[job.id]} times"
            if job.state is trouper.JobState.COMPLETED:
                assert NOTES.charged[job.id] == 1, "it ended well without"
            else:
                assert job.reason == "unsafe:charge"
        if job.name == "never":
            assert job.state is trouper.JobState.CANCELLED
            assert not NOTES.begun[job.id], "it was cancelled before it came, and ran"
        if job.name in ("never", "hooked"):
            told = NOTES.told[job.id]
            assert told, "the hook has not run"
            assert set(told) == {job.state.value}


# --- the scenarios ---


async def ask_a_person(stage: Stage) -> None:
    """The question is open over a restart."""
    async with stage.runtime(asks) as runtime:
        job = await submit(runtime, asks.call(), "a")
        await trio.sleep(1)
    async with stage.runtime(asks) as runtime:
        await answer(runtime, job)
        ended = await check(
            runtime, job, state="completed", text="Two flights: late", told=("ended", "question")
        )
        check_dealings([ended])


async def send_messages(stage: Stage) -> None:
    async with stage.runtime(listens) as runtime:
        job = await submit(runtime, listens.call(), "a")
        await send_all(runtime, job)
        ended = await check(runtime, job, state="completed", text="0 1 2 3 4 ")
        check_dealings([ended])


async def run_the_hook(stage: Stage) -> None:
    NOTES.clear()
    async with stage.runtime(hooked) as runtime:
        job = await submit(runtime, hooked.call(), "a")
        ended = await check(runtime, job, state="completed", text="done")
        await hooks_to_end(stage)
        check_dealings([ended])
        assert len(NOTES.told[job]) >= 2, "once, and again after it had failed"


async def charge_once(stage: Stage) -> None:
    NOTES.clear()
    async with stage.runtime(charge) as runtime:
        job = await submit(runtime, charge.call(), "a")
        ended = await insist(lambda: runtime.wait(job))
        if not stage.breaks_off:
            assert ended.state is trouper.JobState.COMPLETED, ended
        done = ended.state is trouper.JobState.COMPLETED
        await check(runtime, job, state=ended.state.value, text="charged" if done else "")
        check_dealings([ended])


async def cancel_before_it_comes(stage: Stage) -> None:
    """The key is remembered over a restart."""
    NOTES.clear()
    async with stage.runtime(never) as runtime:
        result = await insist(lambda: runtime.cancel_key("k", user="ada"))
        assert result.answer is trouper.CancelAnswer.ACCEPTED
    async with stage.runtime(never) as runtime:
        job = await submit(runtime, never.call(), "k")
        ended = await check(runtime, job, state="cancelled", text="", told=())
        await hooks_to_end(stage)
        check_dealings([ended])


SCENARIOS: tuple[Callable[[Stage], Awaitable[None]], ...] = (
    ask_a_person,
    send_messages,
    run_the_hook,
    charge_once,
    cancel_before_it_comes,
)

JOBS = (asks, listens, charge, never, hooked)
