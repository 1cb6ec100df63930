"""``StoreContract``: the tests of an engine as one class, which an engine's author subclasses."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_trio  # type: ignore[import-untyped]  # noqa: F401  # the fixture ``nursery``, and tests that are coroutines
import trio

PARTS = (
    "jobs",
    "output",
    "people",
    "usage",
    "fairness",
    "superseding",
    "cancel_key",
    "timing",
    "names",
    "places",
    "completions",
    "signals",
    "questions",
)
"""The modules whose tests every engine passes."""

# Before they are imported, so that a failure shows what was compared.
pytest.register_assert_rewrite(
    *(
        name
        for part in (*PARTS, "clocks", "leases", "machine")
        if (name := f"{__package__}.{part}") not in sys.modules
    )
)

from trouper.store.contract.leases import LEASE, Nodes  # noqa: E402
from trouper.store.contract.machine import check_against_model  # noqa: E402
from trouper.store.contract.world import PROMPT_OPTIONS, World  # noqa: E402
from trouper.store.leases import Lease, Renewed  # noqa: E402
from trouper.store.options import StoreOptions  # noqa: E402
from trouper.store.protocol import Store  # noqa: E402
from trouper.store.seams import Seams  # noqa: E402

LONG_LEASE = Lease(seconds=1e9)
"""For what is not about leases: the clock goes for years there."""

SHORT_LEASE = Lease(seconds=6.0, margin_s=2.0)
"""One that has run out when a node stalled, in random histories."""

SMALL_BOUNDS = attrs.evolve(
    PROMPT_OPTIONS,
    tombstones_per_user_max=2,
    tombstone_age_s=10.0,
    signals_pending_max=2,
    signals_remembered=1,
)


class EngineContract:
    """What every engine does, whoever shares it."""

    HISTORIES = 100
    """How many random histories are compared with the model."""

    def make_store(self, folder: Path, seams: Seams, options: StoreOptions) -> Store:
        """The store of the next boot, not running yet; ``folder`` is of this test alone and empty at first.

        Called again at each restart, for the same rows; it may give the same object again. (``self`` is
        that of all tests: what belongs to one is known by its folder.) Its clock is ``seams.wall``; threads
        are ``seams.open_thread``'s.
        """
        raise NotImplementedError("a subclass of StoreContract makes the store that is tested")

    @pytest.fixture
    async def world(self, tmp_path: Path, nursery: trio.Nursery) -> World:
        """A running store."""
        world = World(partial(self.make_store, tmp_path), nursery)
        await world.open()
        return world

    @pytest.fixture
    async def small(self, tmp_path: Path, nursery: trio.Nursery) -> World:
        """A store that remembers two cancelled keys of each user, for ten seconds, takes two messages that
        are not read, and remembers one that was."""
        world = World(partial(self.make_store, tmp_path), nursery, options=SMALL_BOUNDS)
        await world.open()
        return world

    def test_random_histories_agree_with_the_model(self) -> None:
        def make(folder: Path) -> Callable[[Seams, StoreOptions], Store]:
            return partial(type(self)().make_store, folder)

        with tempfile.TemporaryDirectory() as folder:
            check_against_model(make, Path(folder), histories=self.HISTORIES)


class StoreContract(EngineContract):
    """Subclass it, name the subclass ``Test…`` and give it ``make_store``."""

    @pytest.mark.trio
    async def test_an_engine_without_leases_has_nothing_to_renew(self, world: World) -> None:
        assert world.store.lease is None, "an engine with leases is held to LeasedStoreContract"
        boot = world.store.boot
        for anew in (False, True):
            assert await world.store.renew(anew=anew) == Renewed(boot, anew=False)


class LeasedStoreContract(EngineContract):
    """For an engine that several nodes share: subclass it, name the subclass ``Test…`` and give it
    ``make_node``."""

    def make_node(self, folder: Path, seams: Seams, options: StoreOptions, lease: Lease) -> Store:
        """A further node's store on what is in ``folder``, not running yet: as ``make_store``, but a new
        object each time, and with ``lease``. The store's clock, shared by its nodes, is ``seams.now``."""
        raise NotImplementedError("a subclass of LeasedStoreContract makes the nodes that are tested")

    def make_store(self, folder: Path, seams: Seams, options: StoreOptions) -> Store:
        return self.make_node(folder, seams, options, LONG_LEASE)

    @pytest.mark.parametrize("lease", [LONG_LEASE, SHORT_LEASE], ids=["long", "short"])
    def test_random_histories_of_two_nodes_agree_with_the_model(self, lease: Lease) -> None:
        def make(folder: Path) -> Callable[[Seams, StoreOptions], Store]:
            return partial(type(self)().make_node, folder, lease=lease)

        with tempfile.TemporaryDirectory() as folder:
            check_against_model(make, Path(folder), histories=self.HISTORIES, nodes=2)

    @pytest.fixture
    async def nodes(self, tmp_path: Path, nursery: trio.Nursery) -> Nodes:
        """Two running nodes on one store."""

        def make(seams: Seams, options: StoreOptions) -> Store:
            return self.make_node(tmp_path, seams, options, LEASE)

        nodes = Nodes(World(make, nursery, name="a"), World(make, nursery, name="b"))
        for node in nodes:
            await node.open()
        return nodes


def _take(into: type, part: str) -> None:
    module = import_module(f"{__package__}.{part}")
    for name, test in vars(module).items():
        if name.startswith("test_"):
            assert not hasattr(into, name), f"two parts have a test called {name}"
            taken: Any = test
            taken.clauses = (*getattr(module, "CLAUSES", ()), *getattr(test, "clauses", ()))
            if iscoroutinefunction(taken):  # so that it runs whatever the project of the engine has set
                taken = pytest.mark.trio(taken)
            setattr(into, name, staticmethod(test))


for _part in PARTS:
    _take(EngineContract, _part)
_take(StoreContract, "clocks")
_take(LeasedStoreContract, "leases")
