"""Looking into actors that run: while they are full, suspended, busy, or between two lives."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.actors.helpers import Recorder, crash, live_and_crash, new_ref, running, settle, stop
from trouper.actors import control, inspection
from trouper.actors.errors import ActorStopped, InspectionTimeout, LimitReached
from trouper.actors.function_actor import FunctionContext, function_actor
from trouper.actors.loop import run_actor
from trouper.actors.signals import StopReason


def told(ref: Any) -> str:
    """The state that ``statistics`` tells."""
    seen = inspection.statistics(ref)
    assert seen is not None
    return seen.state


async def test_state_is_seen_and_replaced_between_two_messages() -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:
        ref.tell("x")
        await settle()
        assert await inspection.get_state(ref) == {"got": ["x"]}
        new = await inspection.replace_state(ref, lambda state: {"got": [*state["got"], "y"]})
        assert new == {"got": ["x", "y"]} == {"got": recorder.got}
        with pytest.raises(TypeError, match="a mapping of attributes"):
            await inspection.replace_state(ref, lambda _: 7)
        with pytest.raises(ZeroDivisionError):
            await inspection.replace_state(ref, lambda _: 1 / 0)
        assert await inspection.get_state(ref) == {"got": ["x", "y"]}, "who looks cannot crash the actor"


async def test_a_suspended_actor_handles_nothing_and_answers_inspections_even_with_a_full_mailbox() -> None:
    ref = new_ref("a", capacity=2)
    async with running(ref) as [recorder]:
        await inspection.suspend(ref)
        assert [ref.tell(number).accepted for number in range(3)] == [True, True, False]
        await settle()
        assert recorder.got == []
        assert await inspection.get_state(ref) == {"got": []}
        assert told(ref) == "suspended"
        await inspection.suspend(ref)
        await inspection.resume(ref)
        await settle()
        assert recorder.got == [0, 1]
        assert told(ref) == "idle"


async def test_a_suspended_actor_can_be_stopped_and_the_next_incarnation_is_not_suspended() -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:
        await inspection.suspend(ref)
        ref.tell("waits")
    assert recorder.got == [StopReason.STOPPED]
    other, first = new_ref("b"), Recorder()

    async def crash_beside() -> None:
        crash(first)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live_and_crash, other, first)
        await inspection.suspend(other)
        other.tell("kept")
        first.context.nursery.start_soon(crash_beside)
    assert told(other) == "not running"
    async with running(other) as [second]:
        await settle()
        assert second.got == ["kept"]


async def test_a_busy_handler_is_told_by_statistics_and_times_inspections_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def be_busy(_actor: Recorder) -> None:
        await trio.sleep(100)

    ref = new_ref("a")
    async with running(ref):
        ref.tell(be_busy)
        await trio.sleep(1)
        with pytest.raises(
            InspectionTimeout, match="'a' did not come to the inspection in 2 s: it is handling function"
        ):
            await inspection.get_state(ref, timeout=2)
        seen = inspection.statistics(ref)
        assert seen is not None
        assert (seen.state, seen.handling, seen.incarnation) == ("handling", "function", 1)
        await trio.sleep(100)
        assert await inspection.get_state(ref) == {"got": []}


async def test_an_inspection_between_two_incarnations_is_answered_by_the_next() -> None:
    ref = new_ref("a")
    ref.tell(crash)
    assert await live_and_crash(ref, Recorder()) is not None
    states: list[Any] = []

    async def look() -> None:
        states.append(dict.fromkeys(await inspection.get_state(ref)))  # the values go on changing

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await settle()
        assert told(ref) == "not running"
        async with running(ref):
            await settle()
    assert states == [{"got": None}]


async def test_who_waits_for_an_actor_that_ends_is_told_so_and_so_is_who_comes_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ref = new_ref("a")

    async def look() -> None:
        with pytest.raises(ActorStopped, match="'a' has ended: stopped"):
            await inspection.get_state(ref, timeout=60)

    async def be_busy_and_stop(actor: Recorder) -> None:
        await trio.sleep(1)
        stop(actor)

    ref.tell(be_busy_and_stop)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_actor, Recorder(), ref)
        await settle()
        nursery.start_soon(look)
    await look()
    assert told(ref) == "ended"


async def test_inspections_that_wait_have_a_bound(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(control, "INSPECTIONS_MAX", 2)
    ref = new_ref("a")
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(inspection.get_state, ref)
        await settle()
        with pytest.raises(LimitReached):
            await inspection.get_state(ref)
        async with running(ref):
            pass
    with pytest.raises(ValueError, match="finite number of seconds above 0"):
        await inspection.get_state(ref, timeout=0)


async def test_a_function_actor_is_suspended_and_inspected_like_any_other() -> None:
    got: list[int] = []

    async def note(context: FunctionContext[int]) -> None:
        got.extend([number async for number in context])

    ref = new_ref("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_actor, function_actor(note)(), ref)
        await inspection.suspend(ref)
        ref.tell(1)
        await settle()
        assert "function" in await inspection.get_state(ref)
        assert told(ref) == "suspended"
        await inspection.resume(ref)
        await settle()
        ref.stop()
    assert got == [1]


async def test_a_trace_has_the_newest_messages_that_came_and_were_taken_and_costs_nothing_afterwards() -> (
    None
):
    ref = new_ref("a", capacity=3)
    async with running(ref) as [recorder]:
        ref.tell("before")
        await settle()
        with inspection.trace(ref, size=4) as trace:
            for number in range(4):
                ref.tell(number)
            await settle()
            assert [(event.what, event.message) for event in trace.events] == [
                ("offered", 3),
                ("taken", 0),
                ("taken", 1),
                ("taken", 2),
            ]
            assert trace.seen == 7
        ref.tell("after")
        await settle()
        assert trace.seen == 7
        mailbox = ref._mailbox()
        assert (mailbox._trace, mailbox._choosy) == (None, False)
        assert recorder.got == ["before", 0, 1, 2, "after"]
    with pytest.raises(ValueError, match="at least 1 event"), inspection.trace(new_ref("b"), size=0):
        pass
    with pytest.raises(ActorStopped), inspection.trace(ref):
        pass


async def test_a_message_that_waits_for_room_is_traced_once_when_it_goes_in(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ref = new_ref("a", capacity=1)
    async with running(ref):
        await inspection.suspend(ref)
        with inspection.trace(ref) as trace:
            ref.tell("one")
            assert not ref.tell("refused").accepted
            with trio.move_on_after(1):
                await ref.send("given up")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ref.send, "two")
                await settle()
                assert [event.message for event in trace.events] == ["one", "refused"]
                await inspection.resume(ref)
            await settle()
            offered = [event.message for event in trace.events if event.what == "offered"]
            assert offered == ["one", "refused", "two"]


async def test_become_replaces_the_behaviour_and_unbecome_goes_back() -> None:
    ref = new_ref("a")
    async with running(ref) as [recorder]:

        async def shout(message: Any) -> None:
            recorder.got.append(str(message).upper())
            if message == "enough":
                recorder.context.unbecome()

        ref.tell(lambda actor: actor.context.become(shout, replace=False))
        for message in ("a", "enough", "b"):
            ref.tell(message)
        await settle()
        assert recorder.got == ["A", "ENOUGH", "b"]
        with pytest.raises(RuntimeError, match="no behaviour to go back to"):
            recorder.context.unbecome()
        recorder.context.become(shout)
        ref.tell("c")
        await settle()
        assert recorder.got[-1] == "C"
        for _ in range(64):
            recorder.context.become(shout, replace=False)
        with pytest.raises(LimitReached, match="64 behaviours"):
            recorder.context.become(shout, replace=False)


async def test_inspections_whose_askers_gave_up_take_no_places_of_those_who_still_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ref = new_ref("a")

    async def be_busy(_actor: Recorder) -> None:
        await trio.sleep(60)

    async with running(ref):
        ref.tell(be_busy)
        await settle()
        for _ in range(2 * control.INSPECTIONS_MAX):
            with pytest.raises(InspectionTimeout):
                await inspection.get_state(ref, timeout=0.1)
        assert await inspection.get_state(ref, timeout=60) == {"got": []}
