"""Asking: one answer, one deadline, and no way to hang."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

from trouper.actors.actor import Actor, StopReason
from trouper.actors.ask import Request
from trouper.actors.envelope import DeadLetter, DeadReason
from trouper.actors.errors import (
    ActorCrashed,
    ActorError,
    ActorStopped,
    AskTimeout,
    MailboxFull,
    NoReply,
    NothingToReply,
)
from trouper.actors.loop import run_actor
from trouper.actors.mailbox import Mailbox, Overflow
from trouper.actors.ref import ActorRef


@attrs.frozen
class Double(Request[int]):
    number: int
    seconds: float = 0


@attrs.frozen
class Divide(Request[float]):
    by: int


@attrs.frozen
class Refuse(Request[int]):
    pass


@attrs.frozen
class Forget(Request[int]):
    pass


@attrs.frozen
class Twice(Request[int]):
    pass


Sums = Double | Divide | Refuse | Forget | Twice | str


class Calculator(Actor[Sums]):
    def __init__(self) -> None:
        self.handled: list[object] = []

    async def receive(self, message: Sums) -> None:
        self.handled.append(message)
        match message:
            case Double(number, seconds):
                await trio.sleep(seconds)
                self.context.reply(number * 2)
            case Divide(by):
                self.context.reply(1 / by)
            case Refuse():
                self.context.reply_error(LookupError("not here"))
            case Twice():
                self.context.reply(1)
                with pytest.raises(NothingToReply, match="answered Twice already"):
                    self.context.reply(2)
            case Forget():
                pass
            case str():
                with pytest.raises(NothingToReply, match="not handling a Request"):
                    self.context.reply(1)


async def test_an_answer_comes_back(nursery: trio.Nursery) -> None:
    ref: ActorRef[Sums] = ActorRef("sums")
    nursery.start_soon(run_actor, Calculator(), ref)
    number: int = await ref.ask(Double(4), timeout=1)
    assert number == 8
    ref.stop()


async def test_a_late_answer_reaches_nobody_and_harms_nobody(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ref: ActorRef[Sums] = ActorRef("sums")
    nursery.start_soon(run_actor, Calculator(), ref)
    with pytest.raises(AskTimeout, match=r"no answer from 'sums' to Double in 1 s: it was being handled"):
        await ref.ask(Double(1, seconds=2), timeout=1)
    assert await ref.ask(Double(21), timeout=5) == 42, "the next asker gets its own answer"
    ref.stop()


async def test_a_request_that_expires_while_it_waits_is_never_handled(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ref: ActorRef[Sums] = ActorRef("sums")
    calculator = Calculator()
    nursery.start_soon(run_actor, calculator, ref)
    nursery.start_soon(lambda: ref.ask(Double(1, seconds=5), timeout=10))
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(AskTimeout, match="still waited in the mailbox"):
        await ref.ask(Double(2), timeout=1)
    with trio.move_on_after(1):
        await ref.ask(Double(3), timeout=100)  # this asker leaves long before its deadline
    assert await ref.ask(Double(4), timeout=10) == 8
    assert calculator.handled == [Double(1, seconds=5), Double(4)]
    ref.stop()


async def test_a_crash_on_the_request_fails_the_ask_and_the_others_are_answered_when_the_ref_dies(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ref: ActorRef[Sums] = ActorRef("sums")
    errors: dict[str, ActorError] = {}

    async def ask(name: str, by: int) -> None:
        try:
            await ref.ask(Divide(by), timeout=60)
        except ActorError as error:
            errors[name] = error

    async def crash() -> None:
        with pytest.raises(ZeroDivisionError):
            await run_actor(Calculator(), ref)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "first", 0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, "second", 1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(crash)
    assert type(errors["first"]) is ActorCrashed
    assert "'sums' crashed: ZeroDivisionError: division by zero" in str(errors["first"])
    assert type(errors["second"]) is ActorStopped
    with pytest.raises(ActorStopped, match="'sums' has ended: crashed"):
        await ref.ask(Divide(1), timeout=1)


@pytest.mark.clause("S4")
async def test_an_asker_whose_handler_ends_by_the_crash_of_a_task_beside_it_is_told_of_that_crash() -> None:
    letters: list[DeadLetter[Any]] = []

    class Beside(Actor[Divide]):
        async def receive(self, message: Divide) -> None:
            async def divide() -> None:
                self.context.reply(1 // message.by)

            self.context.nursery.start_soon(divide)
            await trio.sleep_forever()

    ref: ActorRef[Divide] = ActorRef("beside", Mailbox(on_dead_letter=letters.append))

    async def crash() -> None:
        with pytest.RaisesGroup(ZeroDivisionError):
            await run_actor(Beside(), ref)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash)
        with pytest.raises(ActorCrashed, match="'beside' crashed: ZeroDivisionError"):
            await ref.ask(Divide(0), timeout=60)
    assert [letter.reason for letter in letters] == [DeadReason.CRASHED]


async def test_stopping_answers_those_who_still_wait(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ref: ActorRef[Sums] = ActorRef("sums")
    nursery.start_soon(run_actor, Calculator(), ref)
    answers: list[int] = []

    async def ask_slow() -> None:
        answers.append(await ref.ask(Double(1, seconds=3), timeout=10))

    nursery.start_soon(ask_slow)
    await trio.testing.wait_all_tasks_blocked()
    ref.stop()
    with pytest.raises(ActorStopped, match="has ended: stopped"):
        await ref.ask(Double(2), timeout=10)
    assert await ref.join() is StopReason.STOPPED
    await trio.testing.wait_all_tasks_blocked()
    assert answers == [2], "the request under way was still answered"


async def test_a_refusal_reaches_the_asker_and_is_no_crash(nursery: trio.Nursery) -> None:
    ref: ActorRef[Sums] = ActorRef("sums")
    nursery.start_soon(run_actor, Calculator(), ref)
    with pytest.raises(LookupError, match="not here"):
        await ref.ask(Refuse(), timeout=1)
    assert await ref.ask(Double(1), timeout=1) == 2
    ref.stop()


async def test_a_handler_that_forgets_to_answer_is_named_at_once(nursery: trio.Nursery) -> None:
    ref: ActorRef[Sums] = ActorRef("sums")
    nursery.start_soon(run_actor, Calculator(), ref)
    with pytest.raises(NoReply, match="handled Forget without"):
        await ref.ask(Forget(), timeout=1e6)
    ref.stop()


async def test_only_an_open_request_can_be_answered(nursery: trio.Nursery) -> None:
    ref: ActorRef[Sums] = ActorRef("sums")
    nursery.start_soon(run_actor, Calculator(), ref)
    ref.tell("nobody waits for this")
    assert await ref.ask(Twice(), timeout=1) == 1
    ref.stop()


async def test_asking_a_full_mailbox_waits_for_room_within_the_timeout_or_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    waiting: ActorRef[Sums] = ActorRef("sums", Mailbox(1))
    waiting.tell("x")
    with pytest.raises(AskTimeout, match="still waited"):
        await waiting.ask(Double(1), timeout=2)
    assert trio.current_time() == 2
    seen = waiting.statistics()
    assert seen is not None
    assert (seen.senders_waiting, seen.accepted, seen.refused) == (0, 1, 0)

    strict: ActorRef[Sums] = ActorRef("sums", Mailbox(1, Overflow.REJECT))
    strict.tell("x")
    with pytest.raises(MailboxFull):
        await strict.ask(Double(1), timeout=2)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
async def test_a_timeout_is_finite_and_positive(timeout: float) -> None:
    with pytest.raises(ValueError, match="finite number of seconds above 0"):
        await ActorRef("sums").ask(Double(1), timeout=timeout)
