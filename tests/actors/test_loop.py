"""One incarnation: hooks in order, its own nursery, and crashes that cannot vanish."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from trouper.actors.actor import Actor, StopReason
from trouper.actors.envelope import DeadLetter, DeadReason
from trouper.actors.errors import ActorStopped
from trouper.actors.loop import Incarnation, run_actor
from trouper.actors.mailbox import Mailbox, Overflow
from trouper.actors.ref import ActorRef, Delivery
from trouper.actors.signals import Lagged, Signal

Step = Callable[["Scripted"], Awaitable[None]]


class Scripted(Actor[Step | str]):
    """Notes what happens; a message that is a function is called."""

    def __init__(self, on_start: Step | None = None, on_stop: Step | None = None) -> None:
        self.log: list[str] = []
        self._on_start = on_start
        self._on_stop = on_stop

    async def started(self) -> None:
        self.log.append("started")
        if self._on_start is not None:
            await self._on_start(self)

    async def receive(self, message: Step | str) -> None:
        if isinstance(message, str):
            self.log.append(message)
        else:
            await message(self)

    async def stopped(self, reason: StopReason) -> None:
        self.log.append(f"stopped: {reason.value}")
        if self._on_stop is not None:
            await self._on_stop(self)


async def crash(_actor: Scripted) -> None:
    raise ValueError("boom")


async def wait_for_ever(_actor: Scripted) -> None:
    await trio.sleep_forever()


async def test_hooks_come_in_order_and_stop_comes_after_the_message_under_way() -> None:
    actor, ref = Scripted(), ActorRef[Step | str]("a")

    async def stop_now(actor: Scripted) -> None:
        actor.context.stop()
        actor.log.append("still here")

    ref.tell("one")
    ref.tell(stop_now)
    ref.tell("never")
    assert await run_actor(actor, ref) is StopReason.STOPPED
    assert actor.log == ["started", "one", "still here", "stopped: stopped"]
    assert ref.tell("late") is Delivery.DEAD
    assert await ref.join() is StopReason.STOPPED


async def test_tasks_of_the_actors_nursery_end_before_stopped() -> None:
    actor, ref = Scripted(), ActorRef[Step | str]("a")

    async def background(actor: Scripted) -> None:
        try:
            await trio.sleep_forever()
        finally:
            actor.log.append("background ended")

    async def begin(actor: Scripted) -> None:
        actor.context.nursery.start_soon(background, actor)
        await trio.testing.wait_all_tasks_blocked()

    ref.tell(begin)
    ref.tell(lambda actor: _stop(actor))
    await run_actor(actor, ref)
    assert actor.log == ["started", "background ended", "stopped: stopped"]
    with pytest.raises(RuntimeError, match="not in stopped"):
        _ = actor.context.nursery


async def _stop(actor: Scripted) -> None:
    actor.context.stop()


async def test_a_crash_comes_out_as_it_was_raised_and_what_it_handled_is_a_dead_letter() -> None:
    dead: list[DeadLetter[object]] = []
    actor = Scripted()
    ref: ActorRef[Step | str] = ActorRef("a", Mailbox(on_dead_letter=dead.append))
    ref.tell(crash)
    ref.tell("waits")
    with pytest.raises(ValueError, match="boom"):
        await run_actor(actor, ref)
    assert [letter.reason for letter in dead] == [DeadReason.CRASHED, DeadReason.STOPPED]
    assert actor.log == ["started", "stopped: crashed"]
    seen = ref.statistics()
    assert seen is not None
    assert seen.unaccounted == 0


async def test_a_message_that_waits_is_handled_by_the_next_incarnation_and_the_crashing_one_is_not() -> None:
    mailbox: Mailbox[Step | str] = Mailbox()
    ref: ActorRef[Step | str] = ActorRef("a", mailbox)
    ref.tell(crash)
    ref.tell("kept")
    ref.tell(_stop)
    with pytest.raises(ValueError, match="boom"):
        await Incarnation(Scripted(), ref, mailbox).run()
    second = Scripted()
    await Incarnation(second, ref, mailbox, incarnation=2).run()
    assert second.log == ["started", "kept", "stopped: stopped"]
    assert second.context.incarnation == 2


async def test_a_crash_of_a_task_in_its_nursery_is_the_actors_crash() -> None:
    actor, ref = Scripted(), ActorRef[Step | str]("a")

    async def begin(actor: Scripted) -> None:
        actor.context.nursery.start_soon(crash, actor)
        await trio.sleep_forever()

    ref.tell(begin)
    with pytest.RaisesGroup(ValueError):
        await run_actor(actor, ref)
    assert actor.log[-1] == "stopped: crashed"


@pytest.mark.clause("S3")
async def test_a_crash_is_told_when_the_clean_up_after_it_is_cancelled() -> None:
    async def slow_clean_up(_actor: Scripted) -> None:
        await trio.sleep_forever()

    recorded: list[Exception] = []
    ref: ActorRef[Step | str] = ActorRef("a")
    incarnation = Incarnation(
        Scripted(on_stop=slow_clean_up), ref, ref._mailbox(), record_crash=recorded.append
    )
    ref.tell(crash)
    with pytest.RaisesGroup(ValueError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(incarnation.run)
            await trio.testing.wait_all_tasks_blocked()
            assert [str(error) for error in recorded] == ["boom"], "told before the clean-up awaits"
            nursery.cancel_scope.cancel()


@pytest.mark.clause("S3")
@pytest.mark.parametrize("passing", [KeyboardInterrupt, SystemExit])
async def test_what_must_pass_passes_and_is_no_crash(passing: type[BaseException]) -> None:
    async def interrupted(_actor: Scripted) -> None:
        raise passing

    recorded: list[Exception] = []
    ref: ActorRef[Step | str] = ActorRef("a")
    actor = Scripted()
    ref.tell(interrupted)
    with pytest.RaisesGroup(passing):
        await Incarnation(actor, ref, ref._mailbox(), record_crash=recorded.append).run()
    assert recorded == []
    assert actor.log[-1] == "stopped: cancelled"


@pytest.mark.clause("S3")
async def test_a_group_of_a_crash_and_an_interrupt_is_split() -> None:
    async def both(_actor: Scripted) -> None:
        raise BaseExceptionGroup("both", [ValueError("boom"), KeyboardInterrupt()])

    recorded: list[Exception] = []
    ref: ActorRef[Step | str] = ActorRef("a")
    ref.tell(both)
    with pytest.RaisesGroup(ValueError, KeyboardInterrupt, flatten_subgroups=True):
        await Incarnation(Scripted(), ref, ref._mailbox(), record_crash=recorded.append).run()
    assert len(recorded) == 1


async def test_cancelling_passes_on_after_stopped_and_buries_the_message_under_way() -> None:
    dead: list[DeadLetter[object]] = []
    actor = Scripted()
    ref: ActorRef[Step | str] = ActorRef("a", Mailbox(on_dead_letter=dead.append))
    ref.tell(wait_for_ever)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_actor, actor, ref)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert actor.log == ["started", "stopped: cancelled"]
    assert [letter.reason for letter in dead] == [DeadReason.CANCELLED]
    assert await ref.join() is StopReason.CANCELLED


async def test_stopped_is_not_called_when_started_failed_and_the_start_is_not_acknowledged() -> None:
    acknowledged: list[bool] = []
    actor = Scripted(on_start=crash)
    ref: ActorRef[Step | str] = ActorRef("a")
    with pytest.raises(ValueError, match="boom"):
        await Incarnation(actor, ref, ref._mailbox(), acknowledge=lambda: acknowledged.append(True)).run()
    assert actor.log == ["started"]
    assert acknowledged == []


async def test_the_first_crash_is_the_crash_and_a_second_one_is_noted_on_it() -> None:
    async def crash_again(_actor: Scripted) -> None:
        raise LookupError("and this")

    ref: ActorRef[Step | str] = ActorRef("a")
    ref.tell(crash)
    with pytest.raises(ValueError, match="boom") as caught:
        await run_actor(Scripted(on_stop=crash_again), ref)
    assert "LookupError: and this" in "".join(caught.value.__notes__)


async def test_a_crash_in_stopped_alone_is_a_crash() -> None:
    ref: ActorRef[Step | str] = ActorRef("a")
    ref.tell(_stop)
    with pytest.raises(ValueError, match="boom"):
        await run_actor(Scripted(on_stop=crash), ref)


async def test_send_waits_for_room_and_raises_when_the_actor_has_ended() -> None:
    actor = Scripted()
    ref: ActorRef[Step | str] = ActorRef("a", Mailbox(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_actor, actor, ref)
        for number in range(5):
            await ref.send(str(number))
        await ref.send(_stop)
    assert actor.log[1:-1] == ["0", "1", "2", "3", "4"]
    with pytest.raises(ActorStopped):
        await ref.send("late")


async def test_a_dead_actor_is_gone_without_a_garbage_collection() -> None:
    ref: ActorRef[Step | str] = ActorRef("a")
    actor = Scripted()
    gone = weakref.ref(actor)
    ref.tell(crash)
    incarnation = Incarnation(actor, ref, ref._mailbox())
    with pytest.raises(ValueError, match="boom") as caught:
        await incarnation.run()
    del caught, incarnation, actor
    gc.disable()
    try:
        await trio.testing.wait_all_tasks_blocked()
        assert gone() is None
    finally:
        gc.enable()


async def test_an_actor_whose_mailbox_drops_the_oldest_hears_of_it_in_their_place() -> None:
    class Listener(Actor[int]):
        def __init__(self) -> None:
            self.got: list[object] = []

        async def receive(self, message: int) -> None:
            self.got.append(message)

        async def signalled(self, signal: Signal) -> None:
            self.got.append(signal)

    class Careless(Actor[int]):
        async def receive(self, message: int) -> None:
            self.context.stop()

    listener = Listener()
    second = ActorRef[int]("b", Mailbox(1, Overflow.DROP_OLDEST))
    second.tell(1)
    second.tell(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_actor, Careless(), second)
        await trio.testing.wait_all_tasks_blocked()
    assert await second.join() is StopReason.STOPPED, "who does not care need not hear"

    async with trio.open_nursery() as nursery:
        third = ActorRef[int]("c", Mailbox(2, Overflow.DROP_OLDEST))
        for number in range(5):
            third.tell(number)
        nursery.start_soon(run_actor, listener, third)
        await trio.testing.wait_all_tasks_blocked()
        third.stop()
    assert listener.got == [Lagged(3), 3, 4]
