"""Our own engines are held to the published contract, through what is published alone."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tests.store.shared_memory import SharedMemory
from trouper.store.contract import LeasedStoreContract, StoreContract
from trouper.store.leases import Lease
from trouper.store.memory import MemoryStore
from trouper.store.options import StoreOptions
from trouper.store.protocol import Store
from trouper.store.seams import Seams
from trouper.store.sqlite import SqliteStore


class TestMemory(StoreContract):
    stores: ClassVar[dict[Path, MemoryStore]] = {}

    def make_store(self, folder: Path, seams: Seams, options: StoreOptions) -> Store:
        if folder not in self.stores:  # its rows live in the object
            self.stores.clear()
            self.stores[folder] = MemoryStore(seams, options)
        return self.stores[folder]


class TestSqlite(StoreContract):
    HISTORIES = 15  # each commit is an fsync; that it does as the memory store is another test's

    def make_store(self, folder: Path, seams: Seams, options: StoreOptions) -> Store:
        return SqliteStore(folder / "store.db", seams, options)


class TestSharedMemory(LeasedStoreContract):
    """The double on which the tests of several nodes run does what a shared engine must."""

    shared: ClassVar[dict[Path, SharedMemory]] = {}

    def make_node(self, folder: Path, seams: Seams, options: StoreOptions, lease: Lease) -> Store:
        if folder not in self.shared:
            self.shared.clear()
            self.shared[folder] = SharedMemory(clock=seams.now, lease=lease)
        return self.shared[folder].node(seams, options)
