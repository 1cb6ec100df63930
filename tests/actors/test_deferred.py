"""Answers that are given after the handler has returned: the asker always hears something."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.actors.helpers import running, settle
from trouper.actors.actor import Actor
from trouper.actors.ask import Request
from trouper.actors.deferred import DeferredReply
from trouper.actors.errors import ActorCrashed, ActorStopped, NoReply, NothingToReply
from trouper.actors.loop import run_actor
from trouper.actors.ref import ActorRef


@attrs.frozen
class Wait(Request[int]):
    pass


class Waiter(Actor[Wait | str]):
    """Puts answers off until it is told what to do with them."""

    def __init__(self) -> None:
        self.owed: list[DeferredReply[int]] = []

    async def receive(self, message: Wait | str) -> None:
        match message:
            case Wait():
                self.owed.append(self.context.deferred_reply())
                with pytest.raises(NothingToReply, match="put off Wait already"):
                    self.context.reply(0)
            case "answer":
                assert self.owed.pop().succeed(7)
            case "refuse":
                assert self.owed.pop().fail(LookupError("no"))
            case "drop":
                self.owed.clear()
            case "crash":
                raise ValueError("boom")
            case _:
                self.context.stop()


async def outcome_of(message: str) -> Any:
    """What an asker hears if the actor, owing the answer, gets ``message``."""
    ref: ActorRef[Wait | str] = ActorRef("waiter")
    heard: list[Any] = []

    async def ask() -> None:
        try:
            heard.append(await ref.ask(Wait(), timeout=60))
        except Exception as error:
            heard.append(error)

    async def live() -> None:
        try:
            await run_actor(Waiter(), ref)
        except ValueError:
            heard.append("crashed") if message != "crash" else None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        nursery.start_soon(ask)
        await settle()
        assert heard == []
        ref.tell(message)
        await settle()
        ref.stop()
    return heard[0]


async def test_an_answer_that_was_put_off_comes_back() -> None:
    assert await outcome_of("answer") == 7
    assert isinstance(await outcome_of("refuse"), LookupError)


async def test_an_answer_that_is_dropped_is_told_to_the_asker() -> None:
    error = await outcome_of("drop")
    assert isinstance(error, NoReply)
    assert "'waiter' dropped the answer to Wait" in str(error)


async def test_an_answer_that_is_owed_at_the_end_is_told_to_the_asker() -> None:
    error = await outcome_of("crash")
    assert isinstance(error, ActorCrashed)
    assert "boom" in str(error)
    assert isinstance(await outcome_of("stop"), ActorStopped)


async def test_a_late_answer_is_not_wanted_and_harms_nobody(autojump_clock: trio.testing.MockClock) -> None:
    ref: ActorRef[Any] = ActorRef("waiter")
    waiter = Waiter()
    async with running(ref, actors=[waiter]):
        with trio.move_on_after(1):
            await ref.ask(Wait(), timeout=9)
        assert not waiter.owed[0].wanted
        assert waiter.owed.pop().succeed(1) is False


async def test_other_messages_are_handled_while_an_answer_is_owed() -> None:
    ref: ActorRef[Any] = ActorRef("waiter")
    answers: list[int] = []

    async def ask() -> None:
        answers.append(await ref.ask(Wait(), timeout=5))

    async with running(ref, actors=[Waiter()]), trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask)
        await settle()
        for _ in range(100):
            ref.tell("answer")
    assert answers == [7] * 100
