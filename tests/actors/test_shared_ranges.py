"""Several sessions at one output: what is the same for them is made once, and nobody gets another's."""

from __future__ import annotations

import pytest

from tests.actors.channel_world import World, outputs_of
from trouper.actors.channel import SubscriberChannel


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
