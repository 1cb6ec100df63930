"""``run_behaviour``: one actor alone."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trouper.actors.actor import Actor
from trouper.actors.ask import Request
from trouper.actors.errors import ActorCrashed, ActorStopped, NoReply
from trouper.actors.function_actor import FunctionContext, function_actor
from trouper.actors.signals import StopReason
from trouper.testing import Handled, run_behaviour


@attrs.frozen
class Total(Request[int]):
    at_least: int = 0


@attrs.define(slots=False)
class Counter(Actor[int | str | Total]):
    """Adds numbers; puts a ``Total`` that is too early aside."""

    total: int = 0
    log: list[str] = attrs.field(factory=list)

    async def started(self) -> None:
        self.log.append("started")

    async def receive(self, message: int | str | Total) -> None:
        match message:
            case int():
                await trio.sleep(1)
                self.total += message
                self.context.unstash_all()
            case Total(at_least) if self.total < at_least:
                self.context.stash()
            case Total():
                self.context.reply(self.total)
            case "forget":
                self.context.stop()
            case _:
                raise ValueError(message)

    async def stopped(self, reason: StopReason) -> None:
        self.log.append(reason.value)


async def test_each_message_is_given_when_the_one_before_was_handled(autojump_clock: MockClock) -> None:
    actor = Counter()
    run = await run_behaviour(actor, [1, Total(), 2, Total()])
    assert run.handled == [Handled(1), Handled(Total(), 1), Handled(2), Handled(Total(), 3)]
    assert (run.reason, run.crash, run.unseen) == (StopReason.STOPPED, None, [])
    assert run.state == {"total": 3, "log": ["started", "stopped"]}
    assert trio.current_time() == 2


async def test_a_crash_is_told_with_what_the_actor_did_not_see(autojump_clock: MockClock) -> None:
    run = await run_behaviour(Counter(), [1, "what?", 2, Total()])
    assert isinstance(run.crash, ValueError)
    assert run.reason is StopReason.CRASHED
    assert run.handled == [Handled(1), Handled("what?")]
    assert run.unseen == [2, Total()]
    assert run.state["total"] == 1


async def test_an_actor_that_ends_by_itself_sees_no_more(autojump_clock: MockClock) -> None:
    run = await run_behaviour(Counter(), ["forget", 1])
    assert (run.reason, run.unseen) == (StopReason.STOPPED, [1])


async def test_what_was_put_aside_is_answered_when_its_turn_has_come(autojump_clock: MockClock) -> None:
    run = await run_behaviour(Counter(), [Total(2), 1, 1, Total(5)])
    assert run.handled[0] == Handled(Total(2), 2)
    assert isinstance(run.handled[3].error, ActorStopped)


class Forgetful(Actor[Any]):
    async def receive(self, message: Any) -> None:
        if message == Total(1):
            self.context.reply_error(LookupError("no"))
        elif message == Total(2):
            raise RuntimeError("boom")


async def test_each_way_of_not_answering_is_told_apart(autojump_clock: MockClock) -> None:
    run = await run_behaviour(Forgetful(), [Total(0), Total(1), Total(2)])
    errors = [type(each.error) for each in run.handled]
    assert errors == [NoReply, LookupError, ActorCrashed]


class Foreman(Actor[str]):
    """Has each message done by a child of that name; ``!name`` ends that child."""

    async def receive(self, message: str) -> None:
        if message.startswith("!"):
            await self.context.stop_child(message[1:])
            return
        worker = await self.context.spawn(message, Forgetful, shutdown_s=1.0)
        worker.tell(f"do {message}")


async def test_children_are_probes_that_tell_what_their_owner_said(autojump_clock: MockClock) -> None:
    run = await run_behaviour(Foreman(), ["a", "b", "!a"])
    assert [(child.name, child.factory, child.policy) for child in run.spawned] == [
        ("a", Forgetful, {"shutdown_s": 1.0}),
        ("b", Forgetful, {"shutdown_s": 1.0}),
    ]
    for child in run.spawned:
        await child.probe.expect(f"do {child.name}")
        await child.probe.expect_no_message()
        assert await child.probe.ref.join() is StopReason.SHUTDOWN


async def test_a_handler_that_takes_too_long_is_named(autojump_clock: MockClock) -> None:
    class Slow(Actor[str]):
        async def receive(self, message: str) -> None:
            await trio.sleep(60)

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="handling 'a' took more than 3.0 s")):
        await run_behaviour(Slow(), ["a"])


async def test_a_function_actor_is_run_in_the_same_way(autojump_clock: MockClock) -> None:
    seen: dict[str, str] = {}

    async def note(context: FunctionContext[str]) -> None:
        async for message in context:
            seen[message] = message.upper()
        seen["end"] = ""

    run = await run_behaviour(function_actor(note)(), ["a", "b"])
    assert seen == {"a": "A", "b": "B", "end": ""}
    assert run.reason is StopReason.STOPPED
