"""A session looks for itself at what grows: whatever happens meanwhile, nothing stops or comes late."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
import trio
from trio.testing import MockClock

from tests.transport.watching import House, Peer
from trouper.store.records import JobState

STEPS = 150


def something_happens(dice: Random, house: House, peers: Sequence[Peer]) -> None:
    """One of the things that jobs, notifiers and clients do."""
    event, writer, peer = dice.random(), dice.choice(house.writers), dice.choice(peers)
    if event < 0.5:
        for _ in range(dice.choice([1, 1, 3])):
            writer.write(dice.choice([1, 5, 60, 150]))
    elif event < 0.55:
        writer.tell_progress()
    elif event < 0.58 and writer.row.state is not JobState.COMPLETED:
        writer.begin(dice.random())
    elif event < 0.75:
        peer.attach(writer)
    elif event < 0.78:
        peer.detach(writer)
    elif event < 0.83:
        peer.look_away()
    elif event < 0.88:
        peer.ask_for_window(dice.choice([None, 0, 100, 500]))
    elif event < 0.885:
        writer.end()
    elif event < 0.92:
        peer.channel.reopen(anew=dice.random() < 0.5)
    elif event < 0.94:
        peer.beat()


async def all_is_well_for(seconds: float, house: House, peers: Sequence[Peer]) -> None:
    """Clients, sockets and the store do what they have to, and no more."""
    for _ in range(int(seconds / 0.1)):
        house.serve_pages()
        for peer in peers:
            peer.answer()
            peer.drained()
        await trio.sleep(0.1)


def nobody_lacks_anything(house: House, peers: Sequence[Peer]) -> None:
    for peer in peers:
        for writer in house.writers:
            assert (writer.row.id in peer.ended) == writer.row.state.terminal
            assert peer.held[writer.row.id] == writer.cursor


async def history(seed: int) -> None:
    dice = Random(seed)
    house = House(dice)
    patient = dice.choice([0.3, 1.0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.ticker.run)
        busy = dice.choice([0.0, 0.3])
        peers = [Peer(house, dice, busy) for _ in range(dice.choice([1, 2, 3]))]
        for _ in range(STEPS):
            something_happens(dice, house, peers)
            if dice.random() < 0.5:
                house.serve_pages()
            for peer in peers:
                if dice.random() < patient:
                    peer.answer()
                if dice.random() < 0.5:
                    peer.drained()
            if dice.random() < 0.6:
                await trio.sleep(dice.choice([0, 0.001, 0.01, 0.03, 0.3, 1]))
        for writer in house.writers:
            if not writer.row.attempt:
                writer.begin(0)
            for peer in peers:
                if writer.row.id not in peer.attached:
                    peer.attach(writer)
        await all_is_well_for(15, house, peers)
        nobody_lacks_anything(house, peers)
        for peer in peers:
            peer.busy = 0.0
        for writer in house.writers * 5:
            writer.write(dice.choice([1, 60]))
            await trio.sleep(0.03)
        await all_is_well_for(15, house, peers)
        nobody_lacks_anything(house, peers)
        looks = [peer.looks for peer in peers]
        await trio.sleep(100)
        assert [peer.looks for peer in peers] == looks  # who is idle is not looked at
        assert house.ticker.statistics().waiting == 0
        if house.tail_bytes > 1000:
            assert [peer.late for peer in peers] == [[]] * len(peers)
        nursery.cancel_scope.cancel()


@pytest.mark.clause("O2", "O4", "O5")
@pytest.mark.parametrize("first", range(0, 40, 8))
def test_an_output_that_is_watched_neither_stops_nor_comes_late(first: int) -> None:
    for seed in range(first, first + 8):
        trio.run(history, seed, clock=MockClock(autojump_threshold=0))


@pytest.mark.torture
def test_in_a_thousand_histories_no_watched_output_stops_or_comes_late() -> None:
    for seed in range(1000, 2000):
        trio.run(history, seed, clock=MockClock(autojump_threshold=0))
