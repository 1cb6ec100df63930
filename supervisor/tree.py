"""The tree of supervisors and children, as it is now, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import attrs

NODES_PER_SUPERVISOR: Final = 100
"""Bound of the children that a tree shows of one supervisor; the rest are counted."""


@attrs.frozen
class TreeNode:
    """One supervisor or child."""

    name: str
    kind: str
    """``supervisor``, ``dynamic``, ``keyed``, ``actor``, ``child``."""
    state: str
    incarnation: int = 0
    restarts: int = 0
    note: str = ""
    """What else there is to say in one line: a strategy, the use of a bound."""
    children: tuple[TreeNode, ...] = ()
    hidden: int = 0
    """Children beyond ``NODES_PER_SUPERVISOR``."""

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
        restarts = f", {self.restarts} restarts" if self.restarts else ""
        note = f" ({self.note})" if self.note else ""
        return f"{self.name}{number}: {self.kind}, {self.state}{restarts}{note}"

    def _lines_below(self) -> Iterator[str]:
        last = len(self.children) - 1 + bool(self.hidden)
        for index, child in enumerate(self.children):
            corner, bar = ("└── ", "    ") if index == last else ("├── ", "│   ")
            yield corner + child._line()
            yield from (bar + line for line in child._lines_below())
        if self.hidden:
            yield f"└── … and {self.hidden} more"
