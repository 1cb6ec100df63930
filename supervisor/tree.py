"""The tree of supervisors and children, as it is now, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs
import trio

NODES_PER_SUPERVISOR: Final = 100
"""Bound of the children that a tree shows of one supervisor; the rest are counted."""

# Of one trio.run, not of the process: two loops in two threads are two worlds.
_roots: trio.lowlevel.RunVar[dict[int, Callable[[], TreeNode]]] = trio.lowlevel.RunVar("trouper roots")


@attrs.frozen
class TreeNode:
    """One supervisor or child."""

    name: str
    kind: str
    """``process``, ``supervisor``, ``dynamic``, ``keyed``, ``actor``, ``child``."""
    state: str
    incarnation: int = 0
    restarts: int = 0
    note: str = ""
    """What else there is to say in one line: a strategy, the use of a bound."""
    children: tuple[TreeNode, ...] = ()
    hidden: int = 0
    """Children beyond ``NODES_PER_SUPERVISOR``."""
    waiting: int | None = None
    """Of an actor: messages in its mailbox."""
    capacity: int | None = None
    """Of an actor: how many may wait there."""
    restart_in_s: float | None = None
    """Of a child in back-off: seconds until it is started again."""
    failures: int = 0
    """Failures in a row, as its back-off counts them."""

    def text(self) -> str:
        """The tree with a line for each node."""
        return "\n".join([self._line(), *self._lines_below()])

    def as_dict(self) -> dict[str, Any]:
        """The tree as what JSON can say."""
        return attrs.asdict(self)

    def to_json(self) -> str:
        """The tree as JSON, children nested."""
        return json.dumps(self.as_dict())

    def _line(self) -> str:
        number = f" #{self.incarnation}" if self.incarnation else ""
        again = f" for {self.restart_in_s:.1f} s" if self.restart_in_s is not None else ""
        restarts = f", {self.restarts} restart{'s' * (self.restarts > 1)}" if self.restarts else ""
        note = f" ({self.note})" if self.note else ""
        return f"{self.name}{number}: {self.kind}, {self.state}{again}{restarts}{note}"

    def _lines_below(self) -> Iterator[str]:
        last = len(self.children) - 1 + bool(self.hidden)
        for index, child in enumerate(self.children):
            corner, bar = ("└── ", "    ") if index == last else ("├── ", "│   ")
            yield corner + child._line()
            yield from (bar + line for line in child._lines_below())
        if self.hidden:
            yield f"└── … and {self.hidden} more"


@contextmanager
def rooted(tree: Callable[[], TreeNode]) -> Iterator[None]:
    """Have ``tree()`` be part of ``process_tree()`` meanwhile. For supervisors that none supervises."""
    roots = _roots.get({})
    _roots.set(roots)
    roots[id(tree)] = tree
    try:
        yield
    finally:
        del roots[id(tree)]


def process_tree() -> TreeNode:
    """Everything that runs under a supervisor in this ``trio.run``, whoever started it.

    Raises: ``RuntimeError`` outside of a ``trio.run``.
    """
    trees = [tree() for tree in _roots.get({}).values()]
    return TreeNode("process", "process", "running", children=tuple(trees))
