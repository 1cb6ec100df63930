"""``TestProbe``: what is expected of it is what Akka's does, on whatever clock trio has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from trouper.actors.actor import Actor
from trouper.actors.ask import Request
from trouper.actors.errors import ActorStopped, NothingToReply
from trouper.actors.loop import run_actor
from trouper.actors.mailbox import Mailbox, Overflow
from trouper.actors.ref import ActorRef
from trouper.actors.signals import Lagged, StopReason, Terminated
from trouper.testing import TestProbe


@attrs.frozen
class Price(Request[int]):
    item: str


@attrs.frozen
class Noted:
    text: str


class Echo(Actor[str]):
    """Tells ``to`` what it is told, in capitals; ``boom`` crashes it."""

    def __init__(self, to: ActorRef[str]) -> None:
        self.to = to

    async def receive(self, message: str) -> None:
        if message == "boom":
            raise ValueError("boom")
        self.to.tell(message.upper())


async def test_what_an_actor_tells_the_probe_is_expected_in_order(autojump_clock: MockClock) -> None:
    probe: TestProbe[str] = TestProbe()
    echo: ActorRef[str] = ActorRef("echo")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_actor, Echo(probe.ref), echo)
        for word in ("a", "b", "c", "d", "e"):
            echo.tell(word)
        assert await probe.expect("A") == "A"
        assert await probe.receive(2) == ["B", "C"]
        assert await probe.fish(lambda message: message == "E") == "E"
        await probe.expect_no_message()
        echo.stop()


async def test_an_expectation_that_fails_says_what_came(autojump_clock: MockClock) -> None:
    probe: TestProbe[object] = TestProbe("ledger")
    probe.ref.tell(Noted("x"))
    with pytest.raises(AssertionError, match=r"probe 'ledger': expected 'a', but Noted\(text='x'\) came"):
        await probe.expect("a")
    probe.ref.tell("text")
    with pytest.raises(AssertionError, match="expected a Noted, but 'text' came"):
        await probe.expect_type(Noted)
    probe.ref.tell(1)
    with pytest.raises(AssertionError, match="expected no message within 5 s, but 1 came"):
        await probe.expect_no_message(5)


Expectation = Callable[[TestProbe[str]], Awaitable[object]]


@pytest.mark.parametrize(
    ("expectation", "waits_s"),
    [
        (lambda probe: probe.expect("c"), 3),
        (lambda probe: probe.expect("c", within_s=7), 7),
        (lambda probe: probe.expect_type(str, within_s=7), 7),
        (lambda probe: probe.receive_one(), 3),
    ],
)
async def test_what_does_not_come_is_waited_for_as_long_as_was_said(
    autojump_clock: MockClock, expectation: Expectation, waits_s: float
) -> None:
    probe: TestProbe[str] = TestProbe()
    began = trio.current_time()
    with pytest.raises(AssertionError, match=f"but no other came within {waits_s}(.0)? s"):
        await expectation(probe)
    assert trio.current_time() - began == pytest.approx(waits_s)


async def test_several_messages_have_one_time_together(autojump_clock: MockClock) -> None:
    probe: TestProbe[int] = TestProbe(within_s=1.0)

    async def tell_slowly() -> None:
        for number in range(4):
            await trio.sleep(0.4)
            probe.ref.tell(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_slowly)
        with pytest.raises(AssertionError, match=r"expected 3 messages, of which \[0, 1\] came"):
            await probe.receive(3)
        with pytest.raises(AssertionError, match=r"the one fished for, \[2, 3\] was skipped"):
            await probe.fish(lambda number: number > 3)
    assert trio.current_time() == pytest.approx(2.0)


async def test_on_real_time_it_works_as_on_virtual_time() -> None:
    probe: TestProbe[str] = TestProbe()
    echo: ActorRef[str] = ActorRef("echo")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_actor, Echo(probe.ref), echo)
        echo.tell("a")
        await probe.expect("A")
        echo.stop()


async def test_a_request_is_answered_by_the_probe(autojump_clock: MockClock) -> None:
    probe: TestProbe[Price] = TestProbe()
    answers: list[object] = []

    async def ask(item: str) -> None:
        try:
            price = await probe.ref.ask(Price(item), timeout=5)
            answers.append(price)
        except ValueError as error:
            answers.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "tea")
        assert (await probe.expect_type(Price)).item == "tea"
        assert probe.reply(3)
        with pytest.raises(NothingToReply):
            probe.reply(4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "gold")
        await probe.expect(Price("gold"))
        assert probe.reply_error(ValueError("not for sale"))
    assert answers == [3, "not for sale"]


async def test_an_answer_that_comes_too_late_is_not_wanted(autojump_clock: MockClock) -> None:
    probe: TestProbe[Price] = TestProbe()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            nursery.start_soon(probe.expect_type, Price)
            await probe.ref.ask(Price("tea"), timeout=60)
    assert not probe.reply(3)


async def test_the_end_of_a_watched_actor_is_expected_with_its_reason(autojump_clock: MockClock) -> None:
    probe: TestProbe[str] = TestProbe()
    calm, wild = ActorRef[str]("calm"), ActorRef[str]("wild")
    probe.watch(calm)
    probe.watch(wild)
    with pytest.raises(AssertionError, match=r"expected <ActorRef 'calm'> to end within 3\.0 s"):
        await probe.expect_terminated(calm)

    async def crash() -> None:
        with pytest.raises(ValueError, match="boom"):
            await run_actor(Echo(probe.ref), wild)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_actor, Echo(probe.ref), calm)
        nursery.start_soon(crash)
        calm.tell("last words")
        wild.tell("boom")
        assert await probe.expect_terminated(wild) == Terminated(wild, StopReason.CRASHED, "ValueError: boom")
        calm.stop()
        assert (await probe.expect_terminated(calm)).reason is StopReason.STOPPED
    late: TestProbe[str] = TestProbe()
    late.watch(wild)
    assert (await late.expect_terminated(wild)).reason is StopReason.CRASHED
    with pytest.raises(ValueError, match="does not watch"):
        await late.expect_terminated(calm)
    await probe.expect("LAST WORDS")


async def test_a_probe_that_stops_is_a_dead_actor_whose_messages_can_still_be_read(
    autojump_clock: MockClock,
) -> None:
    probe: TestProbe[Any] = TestProbe("partner")
    watcher: TestProbe[str] = TestProbe()
    watcher.watch(probe.ref)

    async def ask() -> None:
        with pytest.raises(ActorStopped, match="'partner' has ended: crashed"):
            await probe.ref.ask(Price("tea"), timeout=5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await probe.expect(Price("tea"))
        probe.ref.tell("unread")
        probe.stop(StopReason.CRASHED)
    assert (await watcher.expect_terminated(probe.ref)).reason is StopReason.CRASHED
    assert not probe.ref.tell("too late").accepted
    await probe.expect("unread")
    await probe.expect_no_message()


async def test_a_probe_that_others_stop_says_so_to_who_expects_something(autojump_clock: MockClock) -> None:
    probe: TestProbe[str] = TestProbe()
    probe.ref.stop()
    with pytest.raises(AssertionError, match="was asked to stop"):
        await probe.expect("a")
    assert await probe.ref.join() is StopReason.STOPPED


async def test_a_probe_has_whatever_mailbox_it_is_given(autojump_clock: MockClock) -> None:
    probe: TestProbe[str] = TestProbe(mailbox=Mailbox(2, Overflow.DROP_OLDEST))
    for word in ("a", "b", "c"):
        probe.ref.tell(word)
    assert await probe.expect_type(Lagged) == Lagged(1)
    assert await probe.receive(2) == ["b", "c"]


async def test_nothing_is_left_of_a_watch_that_was_taken_back(autojump_clock: MockClock) -> None:
    probe: TestProbe[str] = TestProbe()
    other: ActorRef[str] = ActorRef("other")
    probe.watch(other)
    probe.watch(other)
    assert other._mailbox().watchers == 1
    probe.unwatch(other)
    assert other._mailbox().watchers == 0
    probe.watch(other)
    probe.stop()
    assert other._mailbox().watchers == 0
