"""The mailbox: lanes, bound, overflow, and the sums of what became of each message."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from trouper.actors.ask import ReplySlot
from trouper.actors.envelope import DeadLetter, DeadReason, Delivery, Envelope
from trouper.actors.errors import ActorStopped, MailboxFull
from trouper.actors.mailbox import CHECKPOINT_EVERY, Mailbox, Overflow
from trouper.actors.signals import ConsiderPassivation, Lagged, Stop, StopReason


def put_all(mailbox: Mailbox[Any], *messages: Any) -> list[Delivery]:
    return [mailbox.offer(Envelope(message)) for message in messages]


async def take(mailbox: Mailbox[Any]) -> Any:
    item = await mailbox.get()
    assert isinstance(item, Envelope)
    mailbox.handled(item)
    return item.message


async def take_all(mailbox: Mailbox[Any]) -> list[Any]:
    return [await take(mailbox) for _ in range(mailbox.statistics().waiting)]


async def test_messages_come_out_in_the_order_they_went_in() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert put_all(mailbox, 1, 2, 3) == [Delivery.ACCEPTED] * 3
    assert await take_all(mailbox) == [1, 2, 3]
    assert mailbox.is_empty()


async def test_a_command_goes_before_every_message_once_of_a_kind_and_stop_first_even_in_a_full_box() -> None:
    mailbox: Mailbox[int] = Mailbox(1)
    put_all(mailbox, 1)
    mailbox.post(ConsiderPassivation())
    mailbox.post(Stop(StopReason.SHUTDOWN))
    mailbox.post(ConsiderPassivation())
    assert await mailbox.get() == Stop(StopReason.SHUTDOWN)
    assert await mailbox.get() == ConsiderPassivation()
    assert await take(mailbox) == 1


@pytest.mark.clause("E2")
async def test_a_full_box_tells_dropped_and_a_blocked_sender_goes_in_when_there_is_room() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    assert put_all(mailbox, 1, 2, 3)[-1] is Delivery.DROPPED
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.put, Envelope(4))
        await trio.testing.wait_all_tasks_blocked()
        assert mailbox.statistics().senders_waiting == 1
        assert await take(mailbox) == 1
        assert put_all(mailbox, 5) == [Delivery.DROPPED], "the room was for the one that waited"
    assert await take_all(mailbox) == [2, 4]
    assert mailbox.statistics().refused == 2


async def test_a_cancelled_sender_has_put_nothing_in() -> None:
    mailbox: Mailbox[int] = Mailbox(1)
    put_all(mailbox, 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.put(Envelope(2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.put, Envelope(3))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await take_all(mailbox) == [1]
    assert mailbox.is_empty()


async def test_reject_raises_to_who_would_wait() -> None:
    mailbox: Mailbox[int] = Mailbox(1, Overflow.REJECT)
    assert put_all(mailbox, 1, 2) == [Delivery.ACCEPTED, Delivery.DROPPED]
    with pytest.raises(MailboxFull, match="all 1 places"):
        await mailbox.put(Envelope(3))


async def test_drop_oldest_makes_room_and_buries_what_it_dropped() -> None:
    dead: list[DeadLetter[Any]] = []
    mailbox: Mailbox[int] = Mailbox(2, Overflow.DROP_OLDEST, on_dead_letter=dead.append)
    assert put_all(mailbox, 1, 2, 3) == [Delivery.ACCEPTED] * 3
    assert dead == [DeadLetter(1, DeadReason.DROPPED_OLDEST)]
    assert await mailbox.get() == Lagged(1), "in the place of what was dropped"
    assert await take_all(mailbox) == [2, 3]


async def test_what_was_dropped_is_told_once_and_as_a_sum() -> None:
    mailbox: Mailbox[int] = Mailbox(2, Overflow.DROP_OLDEST)
    put_all(mailbox, 1, 2, 3, 4, 5)
    assert await mailbox.get() == Lagged(3)
    assert await take(mailbox) == 4
    put_all(mailbox, 6, 7)
    assert await mailbox.get() == Lagged(1)
    assert await take_all(mailbox) == [6, 7]
    assert mailbox.is_empty()


async def test_drop_oldest_gives_a_request_back_to_its_asker() -> None:
    mailbox: Mailbox[int] = Mailbox(1, Overflow.DROP_OLDEST)
    slot: ReplySlot[int] = ReplySlot()
    mailbox.offer(Envelope(1, slot))
    put_all(mailbox, 2)
    with pytest.raises(MailboxFull):
        await slot.wait()
    assert mailbox.statistics().returned == 1


async def test_conflation_keeps_the_place_and_the_newest_content_also_in_a_full_box() -> None:
    mailbox: Mailbox[tuple[str, int]] = Mailbox(2, Overflow.CONFLATE, conflate_key=lambda m: m[0])
    told = put_all(mailbox, ("a", 1), ("b", 1), ("a", 2), ("c", 1))
    assert told == [Delivery.ACCEPTED, Delivery.ACCEPTED, Delivery.SUPERSEDED, Delivery.DROPPED]
    assert await take(mailbox) == ("a", 2)
    assert put_all(mailbox, ("a", 3)) == [Delivery.ACCEPTED], (
        "the one taken is no longer there to be replaced"
    )
    assert await take_all(mailbox) == [("b", 1), ("a", 3)]
    assert mailbox.statistics().superseded == 1


async def test_requests_are_never_conflated() -> None:
    mailbox: Mailbox[str] = Mailbox(4, Overflow.CONFLATE, conflate_key=lambda m: m)
    first: ReplySlot[int] = ReplySlot()
    second: ReplySlot[int] = ReplySlot()
    assert mailbox.offer(Envelope("a", first)) is Delivery.ACCEPTED
    assert mailbox.offer(Envelope("a", second)) is Delivery.ACCEPTED


async def test_a_cancelled_get_has_taken_nothing() -> None:
    mailbox: Mailbox[int] = Mailbox()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mailbox.get)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    put_all(mailbox, 1)
    assert await take(mailbox) == 1


async def test_a_message_wakes_the_consumer() -> None:
    mailbox: Mailbox[int] = Mailbox()
    got: list[int] = []

    async def consume() -> None:
        got.append(await take(mailbox))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        await trio.testing.wait_all_tasks_blocked()
        put_all(mailbox, 1)
    assert got == [1]


async def test_a_second_consumer_is_refused() -> None:
    mailbox: Mailbox[int] = Mailbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.get)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="one consumer"):
            await mailbox.get()
        nursery.cancel_scope.cancel()


async def test_a_busy_consumer_lets_others_run_at_least_every_64_messages() -> None:
    mailbox: Mailbox[int] = Mailbox(1000)
    put_all(mailbox, *range(1000))
    turns: list[int] = []

    async def other() -> None:
        while True:
            turns.append(mailbox.statistics().handled)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(1000):
            await take(mailbox)
        nursery.cancel_scope.cancel()
    gaps = [b - a for a, b in zip([0, *turns], [*turns, 1000], strict=True)]
    assert len(turns) > 10
    assert max(gaps) <= CHECKPOINT_EVERY * 2


async def test_a_request_whose_deadline_passed_or_whose_asker_left_is_buried_before_it_is_handled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    dead: list[DeadLetter[Any]] = []
    mailbox: Mailbox[str] = Mailbox(on_dead_letter=dead.append)
    left: ReplySlot[int] = ReplySlot()
    left.abandoned = True
    mailbox.offer(Envelope("late", ReplySlot(), deadline=1.0 + trio.current_time()))
    mailbox.offer(Envelope("left", left))
    await trio.sleep(1)
    assert mailbox.is_empty()
    put_all(mailbox, "next")
    assert await take(mailbox) == "next"
    assert [(letter.message, letter.reason) for letter in dead] == [
        ("late", DeadReason.EXPIRED),
        ("left", DeadReason.ABANDONED),
    ]


async def test_closing_answers_askers_frees_senders_and_buries_the_rest() -> None:
    dead: list[DeadLetter[Any]] = []
    mailbox: Mailbox[str] = Mailbox(2, on_dead_letter=dead.append)
    slot: ReplySlot[int] = ReplySlot()
    mailbox.offer(Envelope("told"))
    mailbox.offer(Envelope("asked", slot))

    async def send() -> None:
        with pytest.raises(ActorStopped, match="gone"):
            await mailbox.put(Envelope("sent"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        mailbox.close(StopReason.SHUTDOWN, lambda: ActorStopped("gone"))
    with pytest.raises(ActorStopped, match="gone"):
        await slot.wait()
    assert dead == [DeadLetter("told", DeadReason.STOPPED)]
    assert put_all(mailbox, "late") == [Delivery.DEAD]
    assert await mailbox.wait_closed() is StopReason.SHUTDOWN
    mailbox.reopen()
    assert put_all(mailbox, "again") == [Delivery.ACCEPTED]


async def test_the_sums_account_for_every_accepted_message() -> None:
    mailbox: Mailbox[str] = Mailbox(3, Overflow.CONFLATE, conflate_key=lambda m: m[0])
    put_all(mailbox, "a1", "a2", "b1")
    mailbox.offer(Envelope("x", ReplySlot(), deadline=trio.current_time() - 1))
    await take(mailbox)
    crashed = await mailbox.get()
    assert isinstance(crashed, Envelope)
    assert mailbox.statistics().under_way == 1
    mailbox.bury(crashed, DeadReason.CRASHED)
    assert mailbox.is_empty()
    mailbox.offer(Envelope("asked", ReplySlot()))
    put_all(mailbox, "c1")
    assert mailbox.statistics().unaccounted == 0
    mailbox.close(StopReason.STOPPED)
    seen = mailbox.statistics()
    assert (seen.accepted, seen.handled, seen.superseded, seen.returned) == (6, 1, 1, 1)
    assert {r: n for r, n in seen.dead.items() if n} == {
        DeadReason.CRASHED: 1,
        DeadReason.EXPIRED: 1,
        DeadReason.STOPPED: 1,
    }
    assert seen.unaccounted == 0


@given(
    overflow=st.sampled_from(Overflow),
    capacity=st.integers(1, 4),
    steps=st.lists(
        st.sampled_from(["tell", "ask", "leave", "take", "crash", "close", "reopen"]), max_size=40
    ),
)
def test_whatever_happens_no_message_is_unaccounted_for_and_the_bound_holds(
    overflow: Overflow, capacity: int, steps: list[str]
) -> None:
    async def scenario() -> None:
        key = (lambda n: n % 3) if overflow is Overflow.CONFLATE else None
        mailbox: Mailbox[int] = Mailbox(capacity, overflow, conflate_key=key)
        slots: list[ReplySlot[int]] = []
        accepted = 0
        for number, step in enumerate(steps):
            match step:
                case "tell":
                    accepted += mailbox.offer(Envelope(number)).accepted
                case "ask":
                    slots.append(ReplySlot())
                    accepted += mailbox.offer(Envelope(number, slots[-1])).accepted
                case "leave" if slots:
                    slots.pop().abandoned = True
                case "take" if not mailbox.is_empty():
                    if isinstance(item := await mailbox.get(), Envelope):
                        mailbox.handled(item)
                case "crash" if not mailbox.is_empty():
                    if isinstance(item := await mailbox.get(), Envelope):
                        mailbox.bury(item, DeadReason.CRASHED, ActorStopped())
                case "close":
                    mailbox.close(StopReason.STOPPED)
                case "reopen":
                    mailbox.reopen()
            seen = mailbox.statistics()
            assert seen.waiting <= capacity
            assert (seen.accepted, seen.unaccounted) == (accepted, 0)

    trio.run(scenario)


def test_a_mailbox_without_room_or_with_half_a_conflation_is_refused_where_it_is_declared() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1"):
        Mailbox(0)
    with pytest.raises(ValueError, match="capacity must be at least 1 message, not '7'"):
        Mailbox("7")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="overflow='drop_oldest': legal are Overflow"):
        Mailbox(7, "drop_oldest")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="conflate_key goes with"):
        Mailbox(1, Overflow.CONFLATE)
    with pytest.raises(ValueError, match="conflate_key goes with"):
        Mailbox(1, conflate_key=lambda m: m)
