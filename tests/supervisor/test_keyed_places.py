"""Keyed supervisors at their bound: who makes room for whom; what is told of a quarantine; timers."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.supervisor.desks import Crash, House, Subscribe
from tests.supervisor.helpers import running
from trouper.actors.actor import Actor
from trouper.actors.errors import ActorQuarantined, MailboxFull
from trouper.actors.ref import Delivery
from trouper.actors.reports import ReportKind
from trouper.actors.signals import StopReason
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.keyed import KeyedSupervisor
from trouper.supervisor.places import Places

settle = trio.testing.wait_all_tasks_blocked
AT_ONCE = Backoff(base_s=0, max_s=0)


@pytest.mark.clause("N6")
async def test_the_least_recently_addressed_makes_room_and_its_next_message_starts_it_anew() -> None:
    house = House(max_active=3, idle_s=1000)
    async with running(house.keyed):
        refs = {key: house.keyed.ref(key) for key in "abcd"}
        for key in "abca":
            refs[key].tell(f"{key} works")
            await settle()
        assert refs["d"].tell("d works") is Delivery.ACCEPTED
        await settle()
        assert house.log[-3:] == ["b- passivated", "d+", "d works"], "d starts when b has ended"
        assert refs["b"].tell("b is back") is Delivery.ACCEPTED
        await settle()
        assert house.log[-3:] == ["c- passivated", "b+", "b is back"]
        seen = house.keyed.statistics()
        assert (seen.running, seen.evicted, seen.waiting) == (3, 2, 0)


@pytest.mark.clause("N6")
async def test_one_with_a_subscriber_never_makes_room_however_long_nobody_wrote_to_it() -> None:
    house = House(max_active=2, idle_s=1000)
    async with running(house.keyed):
        await house.keyed.ref("watched").ask(Subscribe(), timeout=1)
        for number in range(10):
            await house.keyed.ref(f"visitor{number}").send("hello")
            await settle()
        assert not [line for line in house.log if line.startswith("watched-")]
        await house.keyed.ref("visitor9").ask(Subscribe(), timeout=1)
        with pytest.raises(MailboxFull, match="has 2 actors, which is its max_active"):
            await house.keyed.ref("late").ask(Subscribe(), timeout=1)
        assert house.keyed.ref("late").tell("hello") is Delivery.DROPPED


@pytest.mark.clause("N6")
async def test_one_in_the_middle_of_a_message_does_not_make_room() -> None:
    gate = trio.Event()

    class Slow(Actor[str]):
        async def receive(self, message: str) -> None:
            if message == "long":
                await gate.wait()

    keyed = KeyedSupervisor("keyed", lambda _: Slow(), max_active=1, idle_s=1000)
    async with running(keyed):
        keyed.ref("a").tell("long")
        await settle()
        assert keyed.ref("b").tell("no") is Delivery.DROPPED
        gate.set()
        await settle()
        assert keyed.ref("b").tell("yes") is Delivery.ACCEPTED
        await settle()


@pytest.mark.clause("N6")
async def test_one_that_has_a_message_waiting_does_not_make_room() -> None:
    house = House(max_active=1, idle_s=1000)
    async with running(house.keyed):
        house.keyed.ref("a").tell("waits")
        assert house.keyed.ref("b").tell("no") is Delivery.DROPPED, "it has not even started"
        await settle()
        house.keyed.ref("a").tell("waits")
        assert house.keyed.ref("b").tell("no") is Delivery.DROPPED
        await settle()
        assert house.keyed.ref("b").tell("yes") is Delivery.ACCEPTED
        await settle()
        assert house.log[-2:] == ["b+", "yes"]


@pytest.mark.clause("N6")
async def test_what_comes_for_one_that_makes_room_waits_until_there_is_room_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House(max_active=1, idle_s=1000)
    async with running(house.keyed):
        a, b = house.keyed.ref("a"), house.keyed.ref("b")
        a.tell("one")
        await settle()
        assert b.tell("two") is Delivery.ACCEPTED
        assert house.keyed.tell_if_active("a", "nobody") is Delivery.DEAD, "it is leaving"
        assert a.tell("three") is Delivery.ACCEPTED, "in the same moment, so it is for the next one"
        assert house.keyed.statistics().waiting == 1
        await trio.sleep(1)
        assert house.log == ["a+", "one", "a- passivated", "b+", "two", "b- passivated", "a+", "three"]
        assert house.keyed.statistics().children == 1


@pytest.mark.clause("N6", "E2")
async def test_no_message_is_lost_while_many_keys_share_few_places(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House(max_active=3, idle_s=1000)
    refused = 0
    sent: list[str] = []

    async def pester(name: str) -> None:
        nonlocal refused
        for number in range(200):
            line = f"{name}{number}"
            if house.keyed.ref(f"key{number * 7 % 11}").tell(line).accepted:
                sent.append(line)
            else:
                refused += 1
            for _ in range(number % 3):
                await trio.lowlevel.checkpoint()

    async with running(house.keyed):
        async with trio.open_nursery() as nursery:
            for name in "xyz":
                nursery.start_soon(pester, name)
        await trio.sleep(100)
        seen = house.keyed.statistics()
        assert seen.waiting == 0
        assert seen.running <= 3
        assert seen.evicted > 10
    assert sorted(line for line in house.log if line[0] in "xyz") == sorted(sent)
    assert len(sent) + refused == 600


@given(st.lists(st.tuples(st.sampled_from(["ask", "leave"]), st.integers(0, 7)), max_size=60))
def test_places_are_a_queue_in_front_of_a_room(steps: list[tuple[str, int]]) -> None:
    places: Places[int] = Places(3)
    room: list[int] = []
    queue: list[int] = []
    for what, who in steps:
        if what == "ask" and who not in room and who not in queue:
            assert places.ask(str(who), who) is (len(room) < 3)
            (room if len(room) < 3 else queue).append(who)
        elif what == "leave":
            heir = places.leave(str(who))
            expected = None
            if who in queue:
                queue.remove(who)
            if who in room:
                room.remove(who)
                if queue:
                    expected = queue.pop(0)
                    room.append(expected)
            assert heir == expected
        assert (places.held, places.waiting) == (len(room), len(queue))
        assert places.held <= 3


# -- quarantine -----------------------------------------------------------------------------------


@pytest.mark.clause("S2")
async def test_who_rests_on_an_actor_is_told_that_its_key_is_in_quarantine(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told: list[str] = []
    house = House(
        intensity=Intensity(1, 60), backoff=AT_ONCE, quarantine_s=30, on_quarantine=told.append, max_active=5
    )
    async with running(house.keyed):
        ada = house.keyed.ref("ada")
        for _ in range(2):
            assert told == []
            ada.tell(Crash())
            await settle()
        assert told == ["ada"]
        assert house.stage.kinds()[-1] == (ReportKind.GIVE_UP, "ada")
        assert house.keyed.quarantined() == {"ada": 30}
        assert house.keyed.statistics().gave_up == 1
        assert house.keyed.tree().note == "0 of 5, 1 in quarantine"
        await trio.sleep(10)
        assert house.keyed.quarantined() == {"ada": 20}
        await trio.sleep(21)
        assert house.keyed.quarantined() == {}
        assert await ada.ask(Subscribe(), timeout=1) == 1
        assert told == ["ada"]


@pytest.mark.clause("S2")
async def test_a_quarantine_can_be_ended_by_hand_and_the_crashes_are_forgotten() -> None:
    house = House(intensity=Intensity(1, 60), backoff=AT_ONCE)
    async with running(house.keyed):
        ada = house.keyed.ref("ada")
        for _ in range(2):
            ada.tell(Crash())
            await settle()
        with pytest.raises(ActorQuarantined):
            await ada.ask(Subscribe(), timeout=1)
        assert house.keyed.end_quarantine("ada")
        assert not house.keyed.end_quarantine("ada")
        assert await ada.ask(Subscribe(), timeout=1) == 1
        ada.tell(Crash())
        await settle()
        assert await ada.ask(Subscribe(), timeout=1) == 1, "that was the first crash again"


# -- Orleans --------------------------------------------------------------------------------------


class Ticker(Actor[str]):
    """Asks itself for something by a timer, also while it is about to end."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def started(self) -> None:
        self.log.append("+")
        self.context.timers.start_once("tick", 10, "tick")

    async def receive(self, message: str) -> None:
        self.log.append(message)

    async def stopped(self, reason: StopReason) -> None:
        await trio.sleep(20)  # the timer falls due while it cleans up
        self.log.append(f"- {reason.value}")


@pytest.mark.clause("N6")
async def test_orleans_a_timer_that_falls_due_at_a_passivation_neither_holds_it_up_nor_comes_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Deactivation waited for a timer whose callback called the grain itself."""
    log: list[str] = []
    keyed: KeyedSupervisor[str] = KeyedSupervisor("top", lambda _: Ticker(log), idle_s=9)
    async with running(keyed):
        keyed.ref("a").tell("one")
        await trio.sleep(12)
        keyed.ref("a").tell("two")
        await trio.sleep(25)
        assert log == ["+", "one", "- passivated", "+", "two"]
