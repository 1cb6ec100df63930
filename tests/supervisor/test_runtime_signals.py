"""Steering a job that runs: messages reach it in order, at once, and again only if they were not saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.supervisor.support import Open, echo, slow_seams

pytestmark = pytest.mark.clause("J7")

ACCEPTED = trouper.SignalAnswer.ACCEPTED


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@trouper.job(retry=trouper.Retry(attempts=9, backoff=trouper.Backoff(base=0)))
async def listens(ctx: trouper.JobContext) -> list[object]:
    """Notes what it hears; saves, crashes or ends as it is told."""
    heard = ctx.saved or []
    async for message in ctx.messages:
        heard.append(message.data)
        await ctx.write(f"{message.data} ")
        match message.data:
            case "save":
                await ctx.savepoint(heard)
            case "crash" if ctx.attempt == 1:
                raise RuntimeError("told to")
            case "end":
                break
    return [*heard, ctx.attempt]


async def test_messages_reach_the_job_in_order_wherever_they_fall(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    async with opened(listens, url=url, seams=slow_seams()) as runtime:
        for pause_ms in range(0, 150, 7):
            job = await runtime.submit(listens.call(), user="ada")
            for number in range(5):
                await trio.sleep(pause_ms / 1000)
                assert await runtime.signal(job.id, number, user="ada") is ACCEPTED
            await runtime.signal(job.id, "end")
            with trio.fail_after(5):
                ended = await runtime.wait(job.id)
            assert ended.result == '[0,1,2,3,4,"end",1]'


async def test_a_waiting_job_wakes_at_the_commit_without_polling(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    woke: list[float] = []

    @trouper.job
    async def waits(ctx: trouper.JobContext) -> tuple[int, int]:
        before = ctx.messages.pending
        async for message in ctx.messages:
            woke.append(trio.current_time())
            assert (message.id, message.seq, message.sender) == ("m", 1, "ada")
            break
        return before, ctx.messages.pending

    async with opened(waits, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(waits.call(), user="ada")
        await trio.sleep(10_000)
        await runtime.signal(job.id, {"go": 1}, id="m", user="ada")
        committed = trio.current_time()
        assert (await runtime.wait(job.id)).result == "[0,0]"
        assert woke[0] - committed <= 0.05, "one read of the store, which takes 20 ms here"


async def test_after_a_crash_what_came_after_the_savepoint_is_given_again_and_nothing_else(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    async with opened(listens, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(listens.call(), user="ada")
        for word in ("a", "save", "b", "crash", "c", "end"):
            await runtime.signal(job.id, word)
        ended = await runtime.wait(job.id)
        assert ended.result == '["a","save","b","crash","c","end",2]'
        assert await runtime.text(job.id) == "a save b crash c end "


async def test_messages_and_the_read_position_outlive_the_process(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    async with opened(listens, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(listens.call(), user="ada")
        for word in ("a", "save", "b"):
            await runtime.signal(job.id, word)
        await trio.sleep(5)
        assert await runtime.text(job.id) == "a save b "
    async with opened(listens, url=url, seams=slow_seams()) as runtime:
        await runtime.signal(job.id, "end")
        assert (await runtime.wait(job.id)).result == '["a","save","b","end",2]'


async def test_each_message_goes_to_one_of_several_tasks_and_a_cancelled_one_takes_none(
    opened: Open, url: str, autojump_clock: MockClock
) -> None:
    @trouper.job
    async def several(ctx: trouper.JobContext) -> list[int]:
        got: list[int] = []

        async def listen() -> None:
            async for message in ctx.messages:
                got.append(message.data)
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(listen)
            while len(got) < 40:
                with trio.move_on_after(0.015):
                    message = await anext(ctx.messages)
                    got.append(message.data)
            nursery.cancel_scope.cancel()
        return got

    async with opened(several, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(several.call(), user="ada")
        for number in range(40):
            await runtime.signal(job.id, number)
        with trio.fail_after(60):
            ended = await runtime.wait(job.id)
        assert ended.result == f"[{','.join(map(str, range(40)))}]"


async def test_what_is_sent_is_checked_and_answered(opened: Open, autojump_clock: MockClock) -> None:
    bounds = trouper.StoreOptions(signals_pending_max=2)
    options = trouper.RuntimeOptions(signal_bytes=10)
    async with opened(listens, echo, store_options=bounds, options=options) as runtime:
        job = await runtime.submit(listens.call(), user="ada")
        assert await runtime.signal(job.id, "a", user="eve") is trouper.SignalAnswer.UNKNOWN
        assert await runtime.signal("none", "a") is trouper.SignalAnswer.UNKNOWN
        with pytest.raises(trouper.BadArguments, match="the message is not JSON"):
            await runtime.signal(job.id, object())
        with pytest.raises(trouper.BadArguments, match="has 12 bytes of JSON: legal are up to 10"):
            await runtime.signal(job.id, "x" * 10)
        with pytest.raises(trouper.BadArguments, match="legal are texts of 1 to 200 characters"):
            await runtime.signal(job.id, "a", id="")
        assert await runtime.signal(job.id, "a", id="m") is ACCEPTED
        with pytest.raises(trouper.Refusal, match=r"was sent to job .* with other content"):
            await runtime.signal(job.id, "b", id="m")
        await runtime.signal(job.id, "b")
        with pytest.raises(trouper.Refusal, match=r"2 messages to job .* are pending") as full:
            await runtime.signal(job.id, "c")
        assert full.value.retryable
        await runtime.cancel(job.id)
        await runtime.wait(job.id)
        assert await runtime.signal(job.id, "d") is trouper.SignalAnswer.ALREADY_ENDED
        assert len(runtime._tree.bells) == 0
