"""Keyed actors: started by a message, ended when idle, and nothing falls between two incarnations."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.supervisor.desks import Crash, Desk, House, Message, Subscribe
from tests.supervisor.helpers import Stage, running
from trouper.actors.errors import ActorCrashed, ActorQuarantined, ActorStopped, AskTimeout, MailboxFull
from trouper.actors.mailbox import Mailbox, Overflow
from trouper.actors.ref import Delivery
from trouper.actors.reports import ReportKind
from trouper.actors.signals import StopReason
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.keyed import KeyedSupervisor

settle = trio.testing.wait_all_tasks_blocked
AT_ONCE = Backoff(base_s=0, max_s=0)


@pytest.mark.clause("N6")
async def test_the_first_message_starts_the_actor_and_it_leaves_when_it_has_nothing_to_do() -> None:
    house = House()
    async with running(house.keyed):
        ref = house.keyed.ref("ada")
        assert house.keyed.statistics().children == 0, "a ref alone starts nothing"
        assert ref.tell("one") is Delivery.ACCEPTED
        assert ref.tell("two") is Delivery.ACCEPTED
        await settle()
        assert house.log == ["ada+", "one", "two", "ada- passivated"]
        assert house.keyed.statistics().children == 0
        ref.tell("three")
        await settle()
        assert house.log[4:] == ["ada+", "three", "ada- passivated"]
        assert house.stage.reports == []


@pytest.mark.clause("N6")
async def test_an_actor_with_subscribers_stays_until_the_last_has_left() -> None:
    house = House()
    async with running(house.keyed):
        ref = house.keyed.ref("ada")
        assert await ref.ask(Subscribe(), timeout=1) == 1
        assert await ref.ask(Subscribe(), timeout=1) == 2
        ref.tell("leave")
        await settle()
        assert house.log == ["ada+"]
        ref.tell("leave")
        await settle()
        assert house.log == ["ada+", "ada- passivated"]


@pytest.mark.clause("N6")
async def test_what_becomes_idle_outside_a_handler_says_so() -> None:
    house = House()
    async with running(house.keyed):
        await house.keyed.ref("ada").ask(Subscribe(), timeout=1)
        desk = house.desks["ada"]
        desk.context.maybe_passivate()
        await settle()
        assert house.log == ["ada+"], "it has a subscriber"
        desk.subscribers = 0
        desk.context.maybe_passivate()
        desk.context.maybe_passivate()
        await settle()
        assert house.log == ["ada+", "ada- passivated"]


@pytest.mark.clause("N6")
async def test_messages_that_come_while_it_stops_are_for_the_next_incarnation_which_starts_after_it() -> None:
    house = House()
    leaving, may_go = trio.Event(), trio.Event()

    async def linger() -> None:
        leaving.set()
        await may_go.wait()

    house.stop = linger
    async with running(house.keyed):
        ref = house.keyed.ref("ada")
        ref.tell("one")
        await leaving.wait()
        assert house.keyed.tell_if_active("ada", "nobody") is Delivery.DEAD
        assert ref.tell("two") is Delivery.ACCEPTED
        assert house.keyed.tell_if_active("ada", "three") is Delivery.ACCEPTED, "one is coming anyway"
        await settle()
        assert house.log == ["ada+", "one"], "the next one waits for the end of this one"
        may_go.set()
        await settle()
        assert house.log[2:] == ["ada- passivated", "ada+", "two", "three", "ada- passivated"]


@pytest.mark.clause("N6")
async def test_no_message_is_lost_or_doubled_over_any_number_of_incarnations() -> None:
    house = House()
    refs = [house.keyed.ref(key) for key in "ab"]

    async def pester(name: str) -> None:
        for number in range(300):
            await refs[number % 2].send(f"{name}{number}")
            for _ in range(number % 7):
                await trio.lowlevel.checkpoint()

    async with running(house.keyed):
        async with trio.open_nursery() as nursery:
            for name in "xyz":
                nursery.start_soon(pester, name)
        await settle()
    handled = [line for line in house.log if line[0] in "xyz"]
    assert sorted(handled) == sorted(f"{name}{number}" for name in "xyz" for number in range(300))
    assert house.log.count("a+") > 2, "there were several incarnations"


async def test_telling_only_the_active_starts_nothing() -> None:
    house = House()
    async with running(house.keyed):
        assert house.keyed.tell_if_active("ada", "hello") is Delivery.DEAD
        await house.keyed.ref("ada").ask(Subscribe(), timeout=1)
        assert house.keyed.tell_if_active("ada", "hello") is Delivery.ACCEPTED
        await settle()
        assert house.log == ["ada+", "hello"]


async def test_what_is_sent_before_the_actor_runs_reaches_it_also_by_tell_if_active() -> None:
    house = House()
    async with running(house.keyed):
        house.keyed.ref("ada").tell("one")
        assert house.keyed.tell_if_active("ada", "two") is Delivery.ACCEPTED
        await settle()
        assert house.log[:3] == ["ada+", "one", "two"]


@pytest.mark.clause("S2")
async def test_after_a_crash_the_waiting_messages_are_handled_by_the_next_incarnation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House(backoff=Backoff(base_s=3, max_s=3, jitter=0))
    async with running(house.keyed):
        ref = house.keyed.ref("ada")
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(ActorCrashed, match="'ada' crashed: ValueError: boom"):
                    await ref.ask(Crash(), timeout=100)
                assert trio.current_time() == 0, "it is told at once and not after the backoff"

            nursery.start_soon(ask)
            await settle()
            ref.tell("waits")
        house.keyed.ref("bob").tell("not held up")
        await settle()
        assert house.log == ["ada+", "ada- crashed", "bob+", "not held up", "bob- passivated"]
        await trio.sleep(3.1)
        assert house.log[5:] == ["ada+", "waits", "ada- passivated"]
        assert house.stage.kinds() == [(ReportKind.CRASH, "ada"), (ReportKind.RESTART, "ada")]


@pytest.mark.clause("S2")
async def test_a_key_that_crashes_too_often_is_in_quarantine_for_a_while_and_others_go_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House(intensity=Intensity(2, 60), backoff=AT_ONCE, quarantine_s=30)
    async with running(house.keyed):
        ada, bob = house.keyed.ref("ada"), house.keyed.ref("bob")
        for _ in range(2):
            ada.tell(Crash())
            await settle()  # it is idle, and gone, between its crashes: they are counted all the same
        ada.tell(Crash())
        with pytest.raises(ActorQuarantined, match="crashed too often, and is not started for 30 s"):
            await ada.ask(Subscribe(), timeout=1000)
        assert trio.current_time() == 0, "who waits is told at once"
        assert house.stage.kinds()[-1] == (ReportKind.GIVE_UP, "ada")
        assert ada.tell("hello") is Delivery.DEAD
        assert house.keyed.tell_if_active("ada", "hello") is Delivery.DEAD
        assert house.keyed.statistics().gave_up == 1
        with pytest.raises(ActorQuarantined):
            await ada.ask(Subscribe(), timeout=1)
        assert await bob.ask(Subscribe(), timeout=1) == 1
        await trio.sleep(30.1)
        assert await ada.ask(Subscribe(), timeout=1) == 1
        assert house.keyed.statistics().gave_up == 0


async def test_a_factory_that_raises_fails_the_ask_and_is_tried_again_within_the_budget() -> None:
    stage = Stage()

    def refuse(_key: str) -> Desk:
        raise LookupError("no such user")

    keyed: KeyedSupervisor[Message] = KeyedSupervisor(
        "desks", refuse, intensity=Intensity(2, 60), backoff=AT_ONCE, reporter=stage.report
    )
    async with running(keyed):
        with pytest.raises(ActorQuarantined):
            await keyed.ref("ada").ask(Subscribe(), timeout=5)
        assert [kind for kind, _ in stage.kinds()].count(ReportKind.START_FAILED) == 3
        assert "LookupError: no such user" in stage.reports[0].reason


async def test_a_crash_on_its_way_out_is_told_and_it_is_not_started_for_nothing() -> None:
    house = House()

    async def fail() -> None:
        raise ValueError("while leaving")

    house.stop = fail
    async with running(house.keyed):
        house.keyed.ref("ada").tell("one")
        await settle()
        assert house.stage.kinds() == [(ReportKind.CRASH, "ada")]
        assert house.log == ["ada+", "one"]
        assert house.keyed.statistics().children == 0


@pytest.mark.clause("E2")
async def test_only_so_many_actors_at_a_time() -> None:
    house = House(max_active=2)
    async with running(house.keyed):
        for key in "ab":
            await house.keyed.ref(key).ask(Subscribe(), timeout=1)
        third = house.keyed.ref("c")
        assert third.tell("hello") is Delivery.DROPPED
        with pytest.raises(MailboxFull, match="has 2 actors, which is its max_active"):
            await third.ask(Subscribe(), timeout=1)
        with pytest.raises(MailboxFull):
            await third.send("hello")
        house.keyed.ref("a").tell("leave")
        await settle()
        assert await third.ask(Subscribe(), timeout=1) == 1


async def test_an_idle_time_keeps_it_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    house = House(idle_s=10)
    async with running(house.keyed):
        ref = house.keyed.ref("ada")
        ref.tell("one")
        await trio.sleep(9)
        ref.tell("two")
        await trio.sleep(9)
        assert house.log == ["ada+", "one", "two"], "each message begins the time anew"
        await trio.sleep(2)
        assert house.log == ["ada+", "one", "two", "ada- passivated"]
        await ref.ask(Subscribe(), timeout=1)
        await trio.sleep(100)
        assert house.log[4:] == ["ada+"]


async def test_stopping_a_key_ends_its_incarnation_and_joining_waits_for_its_end() -> None:
    house = House()
    async with running(house.keyed):
        ref = house.keyed.ref("ada")
        assert await ref.join() is StopReason.STOPPED
        ref.stop()  # there is none, and none is started for it
        await ref.ask(Subscribe(), timeout=1)
        ref.stop()
        assert await ref.join() is StopReason.STOPPED
        assert house.log == ["ada+", "ada- stopped"]
        assert await ref.ask(Subscribe(), timeout=1) == 1


async def test_the_stop_of_the_supervisor_ends_all_and_answers_who_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House()

    async def take_time() -> None:
        await trio.sleep(2)

    house.stop = take_time
    ref = house.keyed.ref("ada")
    async with trio.open_nursery() as nursery:
        await nursery.start(house.keyed.run)
        await ref.ask(Subscribe(), timeout=1)
        house.keyed.stop()
        await settle()
        with pytest.raises(ActorStopped):
            await ref.ask(Subscribe(), timeout=10)
    assert house.log == ["ada+", "ada- shutdown"]
    assert trio.current_time() == 2
    assert ref.tell("late") is Delivery.DEAD
    with pytest.raises(ActorStopped, match="'desks' is not running"):
        await ref.ask(Subscribe(), timeout=1)


async def test_a_request_that_expires_before_its_actor_is_up_leaves_nothing_running(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House(backoff=Backoff(base_s=5, max_s=5, jitter=0))
    async with running(house.keyed):
        ref = house.keyed.ref("ada")
        ref.tell(Crash())
        await settle()
        with pytest.raises(AskTimeout, match="still waited"):
            await ref.ask(Subscribe(), timeout=1)
        await trio.sleep(10)
        assert house.log == ["ada+", "ada- crashed", "ada+", "ada- passivated"]
        assert house.keyed.statistics().children == 0


async def test_every_key_has_the_kind_of_mailbox_that_was_asked_for() -> None:
    house = House(mailbox=lambda: Mailbox(2, Overflow.CONFLATE, conflate_key=lambda message: message))
    async with running(house.keyed):
        ref = house.keyed.ref("a/b: any text is a key")
        assert [ref.tell("x"), ref.tell("x"), ref.tell("y"), ref.tell("z")] == [
            Delivery.ACCEPTED,
            Delivery.SUPERSEDED,
            Delivery.ACCEPTED,
            Delivery.DROPPED,
        ]
        assert house.keyed.tree().children[0].note == "2 of 2 waiting, conflate"


async def test_what_is_kept_of_keys_that_crashed_is_forgotten_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House(intensity=Intensity(5, 60), backoff=AT_ONCE, max_active=10)
    async with running(house.keyed):
        for number in range(30):
            house.keyed.ref(f"user{number}").tell(Crash())
            await settle()
        assert len(house.keyed._budgets) == 10
        await trio.sleep(61)
        assert len(house.keyed._budgets) == 0
        assert len(house.keyed._timers) == 0
