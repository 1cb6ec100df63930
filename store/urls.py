"""A database URL to its engine, whose module is imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trouper.store.errors import StoreRefused
from trouper.store.options import DEFAULTS, StoreOptions
from trouper.store.protocol import Store
from trouper.store.seams import Seams

LEGAL_FORMS = "memory: | sqlite:///relative/path.db | sqlite:////absolute/path.db"


StoreFactory = Callable[[Seams, StoreOptions], Store]
"""Makes a store of somebody's own; ``trouper.store.contract`` has the tests that it must pass."""


def create_store(url: str | StoreFactory, seams: Seams, options: StoreOptions = DEFAULTS) -> Store:
    """The store that ``url`` names, or that it makes, not opened yet: its ``run`` does that.

    Raises ``StoreRefused``, naming the legal forms, for any other URL.
    """
    if callable(url):
        return url(seams, options)
    if not isinstance(url, str):
        raise StoreRefused(f"{url!r:.200} names no store; legal forms: {LEGAL_FORMS}, or a function")
    if url == "memory:":
        from trouper.store.memory import MemoryStore

        return MemoryStore(seams, options)
    scheme, slashes, path = url.partition(":///")
    nowhere = ("", "/", ":memory:", "memory:")
    if slashes and scheme == "sqlite" and path not in nowhere and not {"\0", "?"} & {*path}:
        from trouper.store.sqlite import SqliteStore

        return SqliteStore(Path(path), seams, options)
    raise StoreRefused(f"{url!r} names no store; legal forms: {LEGAL_FORMS}")
