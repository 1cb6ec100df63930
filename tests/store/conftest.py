"""The fixtures: a world on each engine, and one on SQLite alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.store.support import ENGINES, World


@pytest.fixture(params=ENGINES)
async def world(request: pytest.FixtureRequest, tmp_path: Path, nursery: trio.Nursery) -> World:
    """A running store; the tests that ask for it are the contract of every engine."""
    world = World(request.param, tmp_path, nursery)
    await world.open()
    return world


@pytest.fixture
async def sqlite(tmp_path: Path, nursery: trio.Nursery) -> World:
    """A running SQLite store, on its real thread."""
    world = World("sqlite", tmp_path, nursery)
    await world.open()
    return world
