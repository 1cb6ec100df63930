"""Messages put aside: in order, within a bound, and over a restart."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.actors.helpers import crash, live_and_crash, new_ref, running, settle
from trouper.actors.actor import Actor
from trouper.actors.ask import Request
from trouper.actors.envelope import DeadLetter, DeadReason
from trouper.actors.errors import ActorStopped, AskTimeout, LimitReached, NothingToReply
from trouper.actors.loop import run_actor


@attrs.frozen
class Ask(Request[str]):
    pass


class Door(Actor[Any]):
    """Puts everything aside until it is told to open."""

    def __init__(self) -> None:
        self.open = False
        self.got: list[Any] = []

    async def receive(self, message: Any) -> None:
        if callable(message):
            message(self)
        elif message == "open":
            self.open = True
            self.context.unstash_all()
        elif not self.open:
            self.context.stash()
        elif isinstance(message, Ask):
            self.context.reply("come in")
        else:
            self.got.append(message)


async def test_what_was_put_aside_comes_in_order_before_what_waits() -> None:
    ref, door = new_ref("door"), Door()
    for message in (1, 2, 3, "open", 4, 5):
        ref.tell(message)
    async with running(ref, actors=[door]):
        await settle()
        assert door.got == [1, 2, 3, 4, 5]


async def test_what_is_put_aside_again_in_its_turn_keeps_its_place_before_the_others() -> None:
    class Choosy(Door):
        async def receive(self, message: Any) -> None:
            if message == 1 and self.open and not self.got:
                self.got.append("not yet")
                self.context.stash()
                self.context.unstash_all()
            else:
                await super().receive(message)

    ref, door = new_ref("door"), Choosy()
    for message in (1, 2, 3, "open", 4):
        ref.tell(message)
    async with running(ref, actors=[door]):
        await settle()
        assert door.got == ["not yet", 1, 2, 3, 4]


async def test_a_request_whose_time_is_over_while_it_is_put_aside_still_waited(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ref = new_ref("door")
    async with running(ref, actors=[Door()]):
        with pytest.raises(AskTimeout, match="it still waited in the mailbox"):
            await ref.ask(Ask(), timeout=5)


async def test_a_task_beside_the_handler_can_have_it_come_again() -> None:
    ref, door = new_ref("door"), Door()
    async with running(ref, actors=[door]):
        ref.tell(1)
        await settle()
        door.open = True
        assert door.context.unstash_all() == 1
        await settle()
        assert door.got == [1]


async def test_the_asker_of_a_request_that_was_put_aside_goes_on_waiting(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ref, answers = new_ref("door"), []

    async def ask() -> None:
        answers.append(await ref.ask(Ask(), timeout=5))

    async with running(ref, actors=[Door()]), trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(1)
        with trio.move_on_after(1):
            await ref.ask(Ask(), timeout=5)  # this one leaves, and is not handled
        ref.tell("open")
    assert answers == ["come in"]
    seen = ref.statistics()
    assert seen is not None
    assert seen.dead[DeadReason.ABANDONED] == 1


@pytest.mark.clause("S4")
async def test_what_was_put_aside_survives_a_crash_and_comes_first() -> None:
    # What others were reported for: a stash that is lost with the incarnation.
    ref = new_ref("door")
    for message in (1, 2, crash, 3):
        ref.tell(message)
    assert await live_and_crash(ref, Door()) is not None
    seen = ref.statistics()
    assert seen is not None
    assert seen.kept == 3
    second = Door()
    second.open = True
    async with running(ref, actors=[second]):
        await settle()
    assert second.got == [1, 2, 3]


async def test_a_crash_while_it_is_handed_out_loses_only_the_message_at_fault() -> None:
    ref = new_ref("door")
    for message in (1, 2, 3, "open"):
        ref.tell(message)

    class Fragile(Door):
        async def receive(self, message: Any) -> None:
            if self.open and message == 2:
                raise ValueError("2")
            await super().receive(message)

    first, second = Fragile(), Door()
    assert await live_and_crash(ref, first) is not None
    assert first.got == [1]
    ref.tell("open")
    async with running(ref, actors=[second]):
        await settle()
    assert second.got == [3]


@pytest.mark.clause("S4")
async def test_at_the_end_askers_are_told_and_the_rest_are_dead_letters() -> None:
    dead: list[DeadLetter[Any]] = []
    ref = new_ref("door", on_dead_letter=dead.append)

    async def ask() -> None:
        with pytest.raises(ActorStopped, match="'door' has ended"):
            await ref.ask(Ask(), timeout=5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_actor, Door(), ref)
        nursery.start_soon(ask)
        ref.tell("put aside")
        await settle()
        ref.stop()
    assert dead == [DeadLetter("put aside", DeadReason.STOPPED)]


@pytest.mark.clause("E2")
async def test_the_stash_has_a_bound_of_its_own_and_takes_no_place_of_the_mailbox() -> None:
    ref, door = new_ref("door", capacity=2), Door()
    notes: list[str] = []

    def bound(actor: Door) -> None:
        actor.context.set_stash_capacity(2)

    def overfill(actor: Door) -> None:
        with pytest.raises(LimitReached, match="all 2 places of the stash are taken"):
            actor.context.stash()
        notes.append("full")

    async with running(ref, actors=[door]):
        for message in (bound, 1, 2, overfill):
            await ref.send(message)
        await settle()
        assert [ref.tell(message).accepted for message in ("open", 3, 4)] == [True, True, False]
        await settle()
        assert door.got == [1, 2, 3]
    assert notes == ["full"]


async def test_only_the_message_being_handled_can_be_put_aside_and_once() -> None:
    ref, notes = new_ref("door"), []

    def twice(actor: Door) -> None:
        actor.context.stash()
        with pytest.raises(RuntimeError, match="only the message being handled"):
            actor.context.stash()
        with pytest.raises(NothingToReply):
            actor.context.reply(1)
        notes.append("once")

    async with running(ref, actors=[Door()]):
        ref.tell(twice)
        await settle()
        with pytest.raises(ValueError, match="at least 1 place"):
            ref._mailbox().occupant.context.set_stash_capacity(0)
    assert notes == ["once"]


async def test_what_nobody_wants_any_more_takes_no_place_of_the_stash(
    autojump_clock: trio.testing.MockClock,
) -> None:
    letters: list[DeadLetter[Any]] = []
    ref, door = new_ref("door", on_dead_letter=letters.append), Door()

    def bound(actor: Door) -> None:
        actor.context.set_stash_capacity(2)

    async with running(ref, actors=[door]):
        ref.tell(bound)
        ref.tell("kept")
        for _ in range(5):
            with pytest.raises(AskTimeout):
                await ref.ask(Ask(), timeout=1)
        seen = ref.statistics()
        assert seen is not None
        assert (seen.stashed, seen.unaccounted) == (2, 0)
        assert [letter.reason for letter in letters] == [DeadReason.EXPIRED] * 4
        ref.tell("open")
        await settle()
        assert door.got == ["kept"]
