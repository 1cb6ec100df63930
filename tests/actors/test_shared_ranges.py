"""Several sessions at one output: what is the same for them is made once, and nobody gets another's."""

from __future__ import annotations

import pytest

from tests.actors.channel_world import World, outputs_of
from trouper.actors.channel import SubscriberChannel
from trouper.store.protocol import OutputRange


@pytest.mark.clause("O5")
def test_sessions_at_one_cursor_are_given_one_range_to_encode_once() -> None:
    world = World()
    world.claim(0)
    channels = [world.channel(), world.channel()]
    for channel in channels:
        channel.attach("j", 1, 0)
        world.take(channel)
    world.append("a", ("source", "{}"), "b")
    one, other = (outputs_of(world.take(channel)) for channel in channels)
    assert one == other
    assert one[0].encoded is other[0].encoded


@pytest.mark.clause("O2")
def test_a_range_that_was_shared_is_not_given_to_who_is_elsewhere() -> None:
    world = World()
    world.claim(0)
    first, behind = world.channel(), world.channel()

    def texts(channel: SubscriberChannel) -> str:
        return "".join(str(part) for item in outputs_of(world.take(channel)) for part in item.parts)

    first.attach("j", 1, 0)
    behind.attach("j", 1, 0)
    world.append("a", "b")
    assert texts(first) == "ab"
    world.append("c")
    assert texts(first) == "c"
    assert texts(behind) == "abc"
    world.claim(1)
    world.append("B", "C")
    for channel in (first, behind):
        world.take(channel)
        channel.attach("j", 2, 1)
        assert texts(channel) == "BC"


@pytest.mark.clause("O4")
def test_a_session_is_told_once_of_what_grows_until_it_takes_it() -> None:
    world = World()
    world.claim(0)
    channel = world.channel()
    channel.attach("j", 1, 0)
    world.take(channel)
    told: list[bool] = []
    channel.on_ready = lambda: told.append(True)
    for piece in "abc":
        world.append(piece)
    assert len(told) == 1
    world.take(channel)
    told.clear()
    world.append("d")
    world.append("e")
    assert len(told) == 1
    channel.attach("j", 1, 1)
    assert len(told) == 2, "what is asked for may be due sooner than what has grown"


def grow(world: World, piece: str) -> None:
    """As ``append``, where the log is in memory."""
    head = world.outputs.get("j")
    assert head is not None
    head.add_page(OutputRange(1, len(world.log), (piece,)))
    world.append(piece)


@pytest.mark.clause("O2", "O5")
def test_of_what_goes_on_growing_nobody_is_told_until_he_looked_in_vain() -> None:
    world = World()
    world.claim(0)
    channel = world.channel()
    channel.attach("j", 1, 0)
    world.take(channel)
    told: list[bool] = []
    channel.on_ready = lambda: told.append(True)
    grow(world, "a")
    assert outputs_of(list(channel.take(100)))
    assert len(told) == 1
    grow(world, "b")
    assert len(told) == 1, "who has just taken of it looks again by himself"
    assert channel.pending
    assert [item.parts for item in outputs_of(list(channel.take(100)))] == [["b"]]
    assert not channel.pending
    assert channel.take(100) == []
    grow(world, "c")
    assert len(told) == 2
    world.change(entries=3)
    assert len(told) == 3, "of anything else that changes he is told all the same"


@pytest.mark.clause("O5")
def test_sessions_that_were_sent_as_much_are_given_one_message_to_make_once() -> None:
    world = World()
    world.claim(0)
    world.append("a")
    same = [world.channel(), world.channel()]
    other = world.channel()
    for channel, n in ((same[0], 0), (same[1], 0), (other, 1)):
        channel.attach("j", 1, n)
        world.take(channel)
    grow(world, "b")
    (one,), (another,), (less,) = (outputs_of(list(channel.take(100))) for channel in (*same, other))
    assert one is another
    assert (one.parts, one.sent, less.parts, less.sent) == (["b"], 2, ["b"], 1)
    assert one.encoded is less.encoded
