"""Random sequences of operations get the same answers from memory and from SQLite."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings

from tests.store.support import InlineThread, World
from trouper.store.contract.histories import HISTORIES, SMALL_OPTIONS, Play


async def play(operations: list[tuple[Any, ...]], folder: Path) -> None:
    async with trio.open_nursery() as nursery:
        plays = []
        for engine in ("memory", "sqlite"):
            world = World(engine, folder, nursery, options=SMALL_OPTIONS, open_thread=InlineThread)
            await world.open()
            plays.append(Play(world))
        for operation in operations:
            answers = [await play.do(*operation) for play in plays]
            assert answers[0] == answers[1], operation
            told = [await play.everything() for play in plays]
            assert told[0] == told[1], operation
        notices = [play.world.notices for play in plays]
        assert notices[0] == notices[1]
        nursery.cancel_scope.cancel()


@pytest.mark.slow
@settings(max_examples=12)
@given(operations=HISTORIES)
def test_memory_and_sqlite_give_equal_answers(operations: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(play, operations, Path(folder), clock=trio.testing.MockClock(autojump_threshold=0))
