"""What a session with a full window is told: nothing of what grows, and all that needs no room."""

from __future__ import annotations

import pytest

from tests.actors.channel_world import World, outputs_of
from trouper.actors.attempt import Progress
from trouper.actors.channel_items import RewindItem
from trouper.actors.options import ChannelLimits


@pytest.mark.clause("O4")
def test_a_session_with_a_full_window_is_not_called_for_each_entry_but_for_what_needs_no_room() -> None:
    world = World(ChannelLimits(window_bytes=1000))
    world.claim(0)
    channel = world.channel()
    channel.attach("j", 1, 0)
    world.outputs.progressed(Progress("j", 1, 1, 3, None))
    world.append("x" * 1000)
    world.take(channel)
    calls: list[None] = []
    channel.on_ready = lambda: calls.append(None)
    for _ in range(10):
        world.append("x" * 100)
    assert (calls, channel.pending) == ([], False)
    world.claim(1)
    assert calls, "a rewind takes no room"
    assert world.take(channel) == [RewindItem("j", 2, 1)]
    channel.attach("j", 2, 1)
    world.append("y")
    world.take(channel)
    assert not channel.pending, "that the progress of the attempt before is over is nothing to be told"
    calls.clear()
    channel.ack(1000, 0)
    assert calls
    assert [item.parts for item in outputs_of(world.take(channel))] == [["y"]]
