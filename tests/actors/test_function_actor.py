"""Actors that are one function: the same life as that of a class."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.actors.helpers import settle
from trouper.actors.ask import Request
from trouper.actors.envelope import DeadLetter, DeadReason
from trouper.actors.errors import ActorCrashed, NoReply
from trouper.actors.function_actor import FunctionContext, function_actor
from trouper.actors.loop import Incarnation, run_actor
from trouper.actors.mailbox import CHECKPOINT_EVERY, Mailbox, Overflow
from trouper.actors.ref import ActorRef
from trouper.actors.signals import IdleTimeout, Lagged, StopReason, Terminated


@attrs.frozen
class Count(Request[int]):
    pass


async def count(context: FunctionContext[str | Count]) -> None:
    seen = 0
    async for message in context:
        match message:
            case Count():
                context.reply(seen)
            case "crash":
                raise ValueError("boom")
            case "stop":
                context.stop()
            case _:
                seen += 1


async def test_a_function_handles_messages_and_answers(nursery: trio.Nursery) -> None:
    ref: ActorRef[str | Count] = ActorRef("count")
    nursery.start_soon(run_actor, function_actor(count)(), ref)
    ref.tell("a")
    ref.tell("b")
    answer: int = await ref.ask(Count(), timeout=1)
    assert answer == 2
    ref.stop()
    assert await ref.join() is StopReason.STOPPED
    seen = ref.statistics()
    assert seen is not None
    assert (seen.handled, seen.under_way) == (3, 0)


async def test_it_has_started_when_it_first_waits_for_a_message() -> None:
    log: list[str] = []

    note = log.append

    async def careful(context: FunctionContext[str]) -> None:
        await trio.lowlevel.checkpoint()
        log.append("prepared")
        async for message in context:
            note(f"handled {message}")
        log.append("cleaned up")

    ref: ActorRef[str] = ActorRef("careful")
    ref.tell("first")
    incarnation = Incarnation(
        function_actor(careful)(), ref, ref._mailbox(), acknowledge=lambda: log.append("started")
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(incarnation.run)
        await settle()
        ref.stop()
    assert log == ["prepared", "started", "handled first", "cleaned up"]


async def test_a_crash_is_the_actors_and_the_message_is_a_dead_letter_and_the_next_call_goes_on() -> None:
    dead: list[DeadLetter[Any]] = []
    ref: ActorRef[str | Count] = ActorRef("count", Mailbox(on_dead_letter=dead.append))
    for message in ("lost with the state", "crash", "kept"):
        ref.tell(message)
    with pytest.raises(ValueError, match="boom"):
        await Incarnation(function_actor(count)(), ref, ref._mailbox()).run()
    assert dead == [DeadLetter("crash", DeadReason.CRASHED)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_actor, function_actor(count)(), ref)
        assert await ref.ask(Count(), timeout=1) == 1
        ref.stop()


async def test_a_function_that_returns_has_ended_and_one_that_crashes_answers_its_asker() -> None:
    async def answer_one(context: FunctionContext[Count]) -> None:
        await context.receive()
        context.reply(1)

    async def forget_one(context: FunctionContext[Count]) -> None:
        await context.receive()

    async def crash_on_one(context: FunctionContext[Count]) -> None:
        await context.receive()
        raise ValueError("boom")

    async with trio.open_nursery() as nursery:
        ref: ActorRef[Count] = ActorRef("one")
        nursery.start_soon(run_actor, function_actor(answer_one)(), ref)
        assert await ref.ask(Count(), timeout=1) == 1
        assert await ref.join() is StopReason.STOPPED
        ref = ActorRef("forgets")
        nursery.start_soon(run_actor, function_actor(forget_one)(), ref)
        with pytest.raises(NoReply):
            await ref.ask(Count(), timeout=1)
    with pytest.RaisesGroup(ValueError):
        async with trio.open_nursery() as nursery:
            ref = ActorRef("crashes")
            nursery.start_soon(run_actor, function_actor(crash_on_one)(), ref)
            with pytest.raises(ActorCrashed, match="boom"):
                await ref.ask(Count(), timeout=1)


async def test_signals_come_in_the_stream(autojump_clock: trio.testing.MockClock) -> None:
    got: list[object] = []
    other: ActorRef[str] = ActorRef("other")
    other._mailbox().close(StopReason.STOPPED)

    async def listen(context: FunctionContext[int | Terminated | Lagged | IdleTimeout]) -> None:
        context.set_idle_timeout(5)
        context.watch(other)
        async for message in context:
            got.append(message)
            if message == IdleTimeout():
                context.stop()

    # A ref of the wider type is one of the narrower: others need not know of the signals.
    wide: ActorRef[int | Terminated | Lagged | IdleTimeout] = ActorRef("l", Mailbox(1, Overflow.DROP_OLDEST))
    ref: ActorRef[int] = wide
    ref.tell(1)
    ref.tell(2)
    await run_actor(function_actor(listen)(), wide)
    assert got == [Terminated(other, StopReason.STOPPED, None), Lagged(1), 2, IdleTimeout()]


async def test_a_busy_function_lets_others_run() -> None:
    ref: ActorRef[str | Count] = ActorRef("count", Mailbox(1000))
    for _ in range(1000):
        ref.tell("x")
    turns: list[int] = []

    async def other() -> None:
        while (seen := ref.statistics()) is not None and seen.waiting:
            turns.append(seen.handled)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_actor, function_actor(count)(), ref)
        nursery.start_soon(other)
        await settle()
        ref.stop()
    assert max(b - a for a, b in pairwise(turns)) <= CHECKPOINT_EVERY * 2


async def test_a_function_that_does_not_end_is_cancelled_like_any_actor() -> None:
    async def stubborn(context: FunctionContext[str]) -> None:
        async for _ in context:
            pass
        await trio.sleep_forever()

    ref: ActorRef[str] = ActorRef("stubborn")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_actor, function_actor(stubborn)(), ref)
            await settle()
            ref.stop()
            await settle()
            scope.cancel()
    assert await ref.join() is StopReason.CANCELLED


async def test_a_function_that_takes_its_messages_one_by_one_ends_without_a_crash_when_it_is_asked_to(
    nursery: trio.Nursery,
) -> None:
    async def take(context: FunctionContext[str]) -> None:
        while True:
            await context.receive()

    ref: ActorRef[str] = ActorRef("take")
    nursery.start_soon(run_actor, function_actor(take)(), ref)
    ref.tell("a")
    await settle()
    ref.stop()
    assert await ref.join() is StopReason.STOPPED
    assert ref._mailbox().crash_summary is None


async def test_a_function_that_was_asked_to_end_gets_no_more_messages_however_often_it_looks(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    got: list[str] = []

    async def take(context: FunctionContext[str]) -> None:
        for _ in range(2):
            async for message in context:
                got.append(message)
                await trio.sleep(1)

    ref: ActorRef[str] = ActorRef("take")
    nursery.start_soon(run_actor, function_actor(take)(), ref)
    ref.tell("a")
    await settle()
    ref.tell("b")
    ref.stop()
    with trio.fail_after(5):
        await ref.join()
    assert got == ["a"]
