"""Idleness: nothing waits and no handler runs, for the whole of the time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.actors.helpers import Recorder, do, new_ref, running, settle
from trouper.actors import inspection
from trouper.actors.actor import Actor
from trouper.actors.ask import Request
from trouper.actors.loop import Incarnation, Passivation
from trouper.actors.signals import IdleTimeout, Signal, StopReason

Clock = trio.testing.MockClock


def idle_after(seconds: float | None) -> Any:
    def set_it(actor: Recorder) -> None:
        actor.context.set_idle_timeout(seconds)

    return set_it


async def test_it_comes_after_a_whole_window_without_messages_and_again_after_another(
    autojump_clock: Clock,
) -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:
        await do(ref, idle_after(10))
        for _ in range(3):
            await trio.sleep(6)
            ref.tell("message")
        assert recorder.got == ["message"] * 2, "no window was whole"
        await trio.sleep(25)
        assert recorder.got == ["message"] * 3 + [IdleTimeout()] * 2
        await do(ref, idle_after(None))
        await trio.sleep(100)
        assert len(recorder.got) == 5


async def test_a_long_handler_is_no_idleness_and_the_window_begins_after_it(autojump_clock: Clock) -> None:
    # What others were reported for: the time-out came a millisecond after a long handler.
    ref = new_ref("a")
    async with running(ref) as [recorder]:
        await do(ref, idle_after(10))

        async def be_busy(_actor: Recorder) -> None:
            await trio.sleep(60)

        ref.tell(be_busy)
        await trio.sleep(69)
        assert recorder.got == []
        await trio.sleep(2)
        assert recorder.got == [IdleTimeout()]


async def test_to_handle_an_idle_time_out_is_no_idleness_either(autojump_clock: Clock) -> None:
    heard: list[float] = []

    class Slow(Recorder):
        async def started(self) -> None:
            self.context.set_idle_timeout(10)

        async def signalled(self, signal: Signal) -> None:
            heard.append(trio.current_time())
            await trio.sleep(60)

    async with running(new_ref("a"), actors=[Slow()]):
        await trio.sleep(200)
    assert heard == [10, 80, 150]


async def test_inspections_are_no_messages_and_do_not_keep_an_actor_from_being_idle(
    autojump_clock: Clock,
) -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:
        await do(ref, idle_after(10))
        for _ in range(11):
            await trio.sleep(1)
            await inspection.get_state(ref)
        assert recorder.got == [IdleTimeout()]


async def test_a_suspended_actor_is_not_idle(autojump_clock: Clock) -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:
        await do(ref, idle_after(10))
        await inspection.suspend(ref)
        await trio.sleep(60)
        assert recorder.got == []
        await inspection.resume(ref)
        await trio.sleep(9)
        assert recorder.got == [], "the window begins with its resumption"
        await trio.sleep(2)
        assert recorder.got == [IdleTimeout()]


async def test_a_timer_ends_a_window_like_any_message(autojump_clock: Clock) -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:

        def set_both(actor: Recorder) -> None:
            actor.context.set_idle_timeout(10)
            actor.context.timers.start_periodic("often", 9, "tick")

        await do(ref, set_both)
        await trio.sleep(50)
        assert recorder.got == ["tick"] * 5


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
async def test_an_idle_timeout_is_finite_and_positive(seconds: float) -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:
        with pytest.raises(ValueError, match="finite number of seconds above 0"):
            recorder.context.set_idle_timeout(seconds)


@attrs.frozen
class Ask(Request[int]):
    pass


class Debtor(Actor[Any]):
    """Owes something for 50 seconds."""

    async def receive(self, message: Any) -> None:
        context = self.context
        if message == "stash" and trio.current_time() < 50:
            context.stash()
            context.nursery.start_soon(self.later, context.unstash_all)
        elif message == "pipe":
            context.pipe_to_self(partial(trio.sleep, 50), lambda _: "result")
        elif isinstance(message, Ask):
            reply = context.deferred_reply()
            context.nursery.start_soon(self.later, lambda: reply.succeed(1))

    async def later(self, what: Callable[[], object]) -> None:
        await trio.sleep(50)
        what()
        self.context.maybe_passivate()


@pytest.mark.clause("N6")
@pytest.mark.parametrize("owed", ["stash", "pipe", Ask()])
@pytest.mark.parametrize("idle_s", [10, None])
async def test_an_actor_that_owes_something_is_not_passivated(
    autojump_clock: Clock, owed: Any, idle_s: float | None
) -> None:
    ref, left = new_ref("a"), list[float]()
    passivation = Passivation(lambda: left.append(trio.current_time()), idle_s)
    ended: list[StopReason] = []

    async def live() -> None:
        ended.append(await Incarnation(Debtor(), ref, ref._mailbox(), passivation=passivation).run())

    async with trio.open_nursery() as nursery:
        if isinstance(owed, Ask):
            nursery.start_soon(lambda: ref.ask(owed, timeout=60))
            await settle()
        else:
            ref.tell(owed)
        nursery.start_soon(live)
    assert ended == [StopReason.PASSIVATED]
    assert left[0] >= 50
