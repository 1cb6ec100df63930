"""Timers: keyed, in line with the other messages, and never for somebody else."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.actors.helpers import Recorder, crash, do, live_and_crash, new_ref, running, settle
from trouper.actors import timers
from trouper.actors.envelope import DeadReason
from trouper.actors.errors import LimitReached

Clock = trio.testing.MockClock


async def test_a_timer_comes_once_and_a_periodic_one_again_and_again(autojump_clock: Clock) -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:

        def start(actor: Recorder) -> None:
            actor.context.timers.start_once("later", 2.5, "once")
            actor.context.timers.start_periodic("often", 1, "tick")

        await do(ref, start)
        await trio.sleep(4.1)
        assert recorder.got == ["tick", "tick", "once", "tick", "tick"]
        assert not recorder.context.timers.is_active("later")
        assert recorder.context.timers.is_active("often")


async def test_starting_a_key_again_replaces_it(autojump_clock: Clock) -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:
        for number in range(5):

            def renew(actor: Recorder, number: int = number) -> None:
                actor.context.timers.start_once("key", 2, number)

            await do(ref, renew)
            await trio.sleep(1)
        await trio.sleep(5)
        assert recorder.got == [4], "each was started before the last had run out"


async def test_a_cancelled_timer_never_comes_even_if_its_message_waited_already(
    autojump_clock: Clock,
) -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:

        async def be_busy_and_cancel(actor: Recorder) -> None:
            actor.context.timers.start_once("key", 1, "never")
            await trio.sleep(3)  # it has run out, and its message waits
            assert actor.context.timers.is_active("key")
            assert actor.context.timers.cancel("key")
            assert not actor.context.timers.cancel("key")

        await do(ref, be_busy_and_cancel)
        await trio.sleep(5)
        assert recorder.got == []
    seen = ref.statistics()
    assert seen is not None
    assert seen.dead[DeadReason.WITHDRAWN] == 1


async def test_a_timer_of_an_old_incarnation_never_comes_even_if_its_message_waited_already(
    autojump_clock: Clock,
) -> None:
    ref = new_ref("a")

    async def leave_timers(actor: Recorder) -> None:
        actor.context.timers.start_once("waits", 1, "never")
        actor.context.timers.start_once("is to come", 9, "never")
        await trio.sleep(3)
        crash(actor)

    ref.tell(leave_timers)
    ref.tell("a message")
    assert await live_and_crash(ref, Recorder()) is not None
    async with running(ref) as [recorder]:
        await trio.sleep(20)
        assert recorder.got == ["a message"]


async def test_a_slow_handler_finds_one_message_of_a_periodic_timer_and_no_more(
    autojump_clock: Clock,
) -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:

        async def be_slow(actor: Recorder) -> None:
            actor.context.timers.start_periodic("often", 1, "tick")
            await trio.sleep(10.5)

        ref.tell(be_slow)
        await trio.sleep(10.9)
        assert recorder.got == ["tick"]
        await trio.sleep(2)
        assert recorder.got == ["tick"] * 3, "and it keeps its rhythm"


async def test_timers_take_no_place_of_the_mailbox_and_are_not_dropped_from_a_full_one(
    autojump_clock: Clock,
) -> None:
    ref = new_ref("a", capacity=1)
    async with running(ref) as [recorder]:

        async def fill(actor: Recorder) -> None:
            for key in range(3):
                actor.context.timers.start_once(key, 1, key)
            await trio.sleep(2)
            assert actor.context.ref.tell("fits").accepted
            assert not actor.context.ref.tell("does not").accepted

        ref.tell(fill)
        await trio.sleep(3)
        assert recorder.got == [0, 1, 2, "fits"]


async def test_a_timer_that_is_started_anew_all_the_time_leaves_nothing_behind(autojump_clock: Clock) -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:

        def renew(actor: Recorder) -> None:
            for _ in range(1000):
                actor.context.timers.start_once("key", 3600, "x")

        await do(ref, renew)
        assert len(recorder.context.timers._due) < 50


async def test_timers_have_a_bound_and_sensible_times(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "TIMERS_MAX", 2)
    ref, notes = new_ref("a"), []

    def overdo(actor: Recorder) -> None:
        own = actor.context.timers
        own.start_once(1, 1, "x")
        own.start_once(2, 1, "x")
        own.start_once(2, 1, "x")
        with pytest.raises(LimitReached, match="2 timers already"):
            own.start_once(3, 1, "x")
        for bad in (-1, float("inf"), float("nan")):
            with pytest.raises(ValueError, match="delay_s is"):
                own.start_once(1, bad, "x")
            with pytest.raises(ValueError, match="period_s is"):
                own.start_periodic(1, bad, "x")
        own.cancel_all()
        notes.append("done")

    async with running(ref) as [recorder]:
        await do(ref, overdo)
        await trio.sleep(5)
        assert recorder.got == []
    assert notes == ["done"]


async def test_a_result_of_work_beside_the_handler_comes_as_a_message(autojump_clock: Clock) -> None:
    ref = new_ref("a")

    async def work(result: Any) -> Any:
        await trio.sleep(1)
        if isinstance(result, Exception):
            raise result
        return result

    async with running(ref) as [recorder]:

        def pipe(actor: Recorder) -> None:
            context = actor.context
            context.pipe_to_self(lambda: work(7), lambda n: f"got {n}", lambda e: f"failed: {e}")
            context.pipe_to_self(
                lambda: work(ValueError("no")), lambda n: f"got {n}", lambda e: f"failed: {e}"
            )

        await do(ref, pipe)
        assert recorder.got == [], "the handler does not wait for it"
        await trio.sleep(2)
        assert sorted(recorder.got) == ["failed: no", "got 7"]
        assert recorder.context._pipes is not None
        assert not recorder.context._pipes.busy


async def test_a_failure_that_nobody_turns_into_a_message_is_the_actors_crash(autojump_clock: Clock) -> None:
    ref = new_ref("a")

    async def fail() -> None:
        raise ValueError("boom")

    ref.tell(lambda actor: actor.context.pipe_to_self(fail, lambda _: "never"))
    error = await live_and_crash(ref, Recorder())
    assert isinstance(error, ExceptionGroup)


async def test_a_result_for_an_old_incarnation_never_comes(autojump_clock: Clock) -> None:
    ref = new_ref("a")

    async def pipe_and_crash(actor: Recorder) -> None:
        actor.context.pipe_to_self(trio.lowlevel.checkpoint, lambda _: "never")
        await trio.sleep(1)
        crash(actor)

    ref.tell(pipe_and_crash)
    assert await live_and_crash(ref, Recorder()) is not None
    async with running(ref) as [recorder]:
        await settle()
        assert recorder.got == []
