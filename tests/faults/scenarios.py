"""What a runtime does all day. Each plays on a stage, to an end that does not depend on what goes wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

import trouper
from tests.faults import dealings
from tests.faults.stage import RETRY, Stage, check, insist, read, submit
from trouper.actors.output_pieces import Transcript

WORDS = ("once ", "upon ", "a ", "time")
Scenario = Callable[[Stage], Awaitable[None]]


@trouper.job(retry=RETRY)
async def tale(ctx: trouper.JobContext) -> str:
    for number in range(ctx.saved or 0, len(WORDS)):
        await ctx.write(WORDS[number])
        await trio.sleep(0.1)
        await ctx.savepoint(number + 1)
    return "told"


@trouper.job(retry=RETRY)
async def plain(ctx: trouper.JobContext) -> None:
    for word in WORDS:
        await ctx.write(word)
        await trio.sleep(0.1)


@trouper.job(retry=RETRY)
async def clumsy(ctx: trouper.JobContext) -> None:
    if ctx.saved is None:
        await ctx.write("half ")
        await ctx.savepoint("half")
        await ctx.write("and what is not kept")
        raise RuntimeError("on purpose")
    await ctx.write("whole")


@trouper.job(retry=RETRY)
async def endless(ctx: trouper.JobContext) -> None:
    if ctx.attempt == 1:
        await ctx.write("begun")
        await ctx.savepoint("begun")
    await trio.sleep_forever()


@trouper.job(retry=RETRY)
async def caller(ctx: trouper.JobContext) -> None:
    await ctx.notify(key="a", title="first")
    await ctx.notify(key="a", title="again")
    await ctx.notify(key="b", title="second")


async def submit_stream_finish(stage: Stage) -> None:
    async with stage.runtime(plain) as runtime:
        job = await submit(runtime, plain.call(), "a")
        assert (await read(runtime, job)).text == "".join(WORDS)
        await check(runtime, job, state="completed", text="".join(WORDS))


async def savepoint_and_retry(stage: Stage) -> None:
    async with stage.runtime(clumsy) as runtime:
        job = await submit(runtime, clumsy.call(), "a")
        await check(runtime, job, state="completed", text="half whole")


async def cancel(stage: Stage) -> None:
    async with stage.runtime(endless) as runtime:
        job = await submit(runtime, endless.call(), "a")
        await trio.sleep(1)
        await insist(lambda: runtime.cancel(job))
        ended = await insist(lambda: runtime.wait(job))
        await check(runtime, job, state="cancelled", text="begun" if ended.entries else "", told=())


async def interrupt(stage: Stage) -> None:
    async with stage.runtime(endless, plain) as runtime:
        old = await submit(runtime, endless.call(), "a", thread="t")
        await trio.sleep(1)
        new = await submit(runtime, plain.call(), "b", thread="t", on_busy="interrupt")
        await check(runtime, new, state="completed", text="".join(WORDS))
        ended = await insist(lambda: runtime.wait(old))
        assert ended.reason == "superseded"
        await check(runtime, old, state="cancelled", text="begun" if ended.entries else "", told=())


async def rollback(stage: Stage) -> None:
    async with stage.runtime(endless, plain) as runtime:
        old = await submit(runtime, endless.call(), "a", thread="t")
        await trio.sleep(1)
        new = await submit(runtime, plain.call(), "b", thread="t", on_busy="rollback")
        await check(runtime, new, state="completed", text="".join(WORDS))
        await check(runtime, old, state="cancelled", text="", told=())


async def notify(stage: Stage) -> None:
    async with stage.runtime(caller) as runtime:
        job = await submit(runtime, caller.call(), "a")
        await check(runtime, job, state="completed", text="", told=("ended", "message", "message"))


async def drain_and_restart(stage: Stage) -> None:
    async with stage.runtime(tale) as runtime:
        job = await submit(runtime, tale.call(), "a")
        await trio.sleep(0.25)
    async with stage.runtime(tale) as runtime:
        await check(runtime, job, state="completed", text="".join(WORDS))


async def two_who_read(stage: Stage) -> None:
    """Two sessions with feeds, and two readers, of which one comes later."""
    async with stage.runtime(tale) as runtime:
        job = await submit(runtime, tale.call(), "a")
        transcripts: list[Transcript] = []

        async def read_along() -> None:
            transcripts.append(await read(runtime, job))

        async with (
            runtime.open_session("ada"),
            runtime.open_session("ada"),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(read_along)
            await trio.sleep(0.15)
            nursery.start_soon(read_along)
        assert [transcript.text for transcript in transcripts] == ["".join(WORDS)] * 2
        await check(runtime, job, state="completed", text="".join(WORDS))


SCENARIOS: tuple[Scenario, ...] = (
    submit_stream_finish,
    savepoint_and_retry,
    cancel,
    interrupt,
    rollback,
    notify,
    drain_and_restart,
    two_who_read,
    *dealings.SCENARIOS,
)

JOBS = (tale, plain, clumsy, endless, caller, *dealings.JOBS)
