"""The suites by name."""

from __future__ import annotations

import importlib
from typing import Final

from benchmarks.measuring import Suite

SUITES: Final = {
    "actors": "benchmarks.actors",
    "delivery": "benchmarks.delivery",
    "store": "benchmarks.store",
}
"""Name → the module whose ``SUITE`` it is."""


def load(name: str) -> Suite:
    """The suite of that name."""
    suite = importlib.import_module(SUITES[name]).SUITE
    assert isinstance(suite, Suite)
    return suite
