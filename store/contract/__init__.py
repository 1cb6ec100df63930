"""The contract of a store: the tests that every engine must pass, for those who write their own.

In a test module of yours, with the extra ``trouper[test]``::

    from trouper.store.contract import StoreContract

    class TestMyStore(StoreContract):
        def make_store(self, folder, seams, options):
            return MyStore(folder / "db", seams, options)

That is one test for each sentence of the contract, and random histories that are compared with a model.
An engine that several nodes share has leases, and subclasses ``LeasedStoreContract``: all of that, what is
whose until when, and random histories in which two nodes take turns, and stall::

    class TestMySharedStore(LeasedStoreContract):
        def make_node(self, folder, seams, options, lease):
            return MySharedStore(str(folder), seams, options, lease, clock=seams.now)

memory and SQLite are held to it in the same way. Nothing here is loaded before it is asked for.

Reading order:

* ``world``   a store that can be restarted, under clocks and ids of the test's; a source of output
* ``jobs``, ``output``, ``people``, ``usage``, ``fairness``, ``superseding``, ``cancel_key``, ``timing``,
  ``names``, ``places``, ``completions``, ``signals``, ``questions``  the tests, in plain words
* ``clocks``  those of an engine with one owner at a time; ``leases`` those of one that nodes share
* ``model``   what every store does, in dictionaries, from ``model.core`` on; ``gist`` what of an answer it
  speaks of
* ``histories``  random operations, aimed at what there is; ``machine`` compares each answer with the model's
* ``suite``   ``StoreContract`` and ``LeasedStoreContract``: all of it as one class each

A further transaction comes with: its method in a chapter of ``model``, or in one of its own, its operation in
``histories``, and tests in a file that ``suite`` lists.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trouper.store.contract.machine import check_against_model as check_against_model
    from trouper.store.contract.suite import LeasedStoreContract as LeasedStoreContract
    from trouper.store.contract.suite import StoreContract as StoreContract
    from trouper.store.contract.world import Source as Source
    from trouper.store.contract.world import World as World

_HOMES = {
    "LeasedStoreContract": "suite",
    "StoreContract": "suite",
    "check_against_model": "machine",
    "Source": "world",
    "World": "world",
}
_EXTRA = ("pytest", "pytest_trio", "hypothesis")

__all__ = ["LeasedStoreContract", "Source", "StoreContract", "World", "check_against_model"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as missing:
        if missing.name not in _EXTRA:
            raise
        raise ModuleNotFoundError(
            f"{__name__}.{name} needs {missing.name}, which the extra has: pip install 'trouper[test]'",
            name=missing.name,
        ) from missing
