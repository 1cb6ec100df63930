"""The nodes of a store as its transactions see them: which boots are live, and the jobs that each can run.

A row whose name no live node knows is told so, and lost in the end; so a node may not judge by its own names
alone: two nodes with different jobs would mark each other's rows and take the marks away again, for ever.
Every claim registers the names of its boot, and they are gone with the boot: at its closing, with its lease,
or by what opens the store after a process that died.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from trouper.store.errors import DataRefused
from trouper.store.options import StoreOptions
from trouper.store.views import Names


class NodeRows(Protocol):
    """The live boots inside one transaction."""

    def live(self, boot: int | None) -> bool:
        """Whether a node works under this boot. One that is not live stays so."""
        ...

    def register(self, boot: int, names: Collection[str] | None) -> None:
        """The node under ``boot`` can run the jobs of these names (None: all), and no others."""
        ...

    def known(self) -> Collection[str] | None:
        """What one live node or another has registered; None: all."""
        ...


class MemoryNodes:
    """``NodeRows`` in memory. SQLite has them too: its one node is this process, so what the process
    registered ends with it, however it ends. In a table it would have to be written, and cleared again."""

    def __init__(self, live: Callable[[int | None], bool]) -> None:
        self._live = live
        self._names: dict[int, frozenset[str] | None] = {}

    def live(self, boot: int | None) -> bool:
        return self._live(boot)

    def register(self, boot: int, names: Collection[str] | None) -> None:
        live = {each: of for each, of in self._names.items() if self._live(each)}
        self._names = {**live, boot: None if names is None else frozenset(names)}

    def known(self) -> frozenset[str] | None:
        found: frozenset[str] = frozenset()
        for boot, names in self._names.items():
            if self._live(boot):
                if names is None:
                    return None
                found |= names
        return found

    def forget(self, boot: int) -> None:
        """The node under ``boot`` has closed."""
        self._names.pop(boot, None)

    def __len__(self) -> int:
        return sum(len(names or ()) for names in self._names.values())


def check_names(names: Names, options: StoreOptions) -> None:
    """Raise ``DataRefused`` for a node that has more jobs than it may register."""
    if names.known is not None and len(names.known) > options.job_names_max:
        raise DataRefused(
            f"{len(names.known)} names of jobs: legal are up to {options.job_names_max} (job_names_max)"
        )
