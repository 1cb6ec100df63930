"""Traces as they stand in docs: see docs/traces/README.md for what each line means."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAMES = re.compile(r"[sejn]\d")
REST = "…"

Item = dict[str, Any]

_LINE = re.compile(r"(?P<kind>>\||>b|[><=x(]) ?(?P<rest>.*)")


@attrs.frozen
class Line:
    kind: str
    """``>``, ``>|``, ``>b``, ``<``, ``(``, ``x`` or ``=``."""
    text: str
    """What follows, as it stands; of ``(`` without its closing parenthesis."""
    items: list[Item] = attrs.field(factory=list)
    """Of ``>`` and ``<``."""


@attrs.frozen
class Trace:
    name: str
    judges: frozenset[str]
    """``server``, ``client``."""
    lines: list[Line]


def read_line(text: str) -> Line:
    """Raises ``AssertionError`` for what is no line of a trace."""
    match = _LINE.fullmatch(text)
    assert match, f"no line of a trace: {text}"
    kind, rest = match["kind"], match["rest"]
    if kind in (">", "<"):
        return Line(kind, rest, json.loads(rest))
    if kind == "(":
        assert rest.endswith(")"), text
        rest = rest[:-1]
    return Line(kind, rest)


def read_trace(name: str, text: str) -> Trace:
    judges, lines = frozenset({"server", "client"}), []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("for: "):
            judges = frozenset(line.removeprefix("for: ").split())
        elif not line.startswith("#"):
            lines.append(read_line(line))
    return Trace(name, judges, lines)


def read_traces() -> list[Trace]:
    """Those of the folder, and the one of the page itself."""
    page = (DOCS / "protocol.md").read_text("utf-8")
    block = re.search(r"^## 8\. A trace\n.*?^```\n(.*?)^```", page, re.M | re.S)
    assert block, "the page has no trace"
    files = sorted((DOCS / "traces").glob("*.trace"))
    return [
        read_trace("the trace of the page", block[1]),
        *(read_trace(path.stem, path.read_text("utf-8")) for path in files),
    ]


def named(value: Any, names: dict[str, str]) -> Any:
    """``value`` with each name that is known replaced by what it stands for."""
    if isinstance(value, dict):
        return {key: named(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [named(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


def difference(page: Any, real: Any, names: dict[str, str], path: str = "") -> str | None:
    """What of ``real`` is not as the page has it; a name that is new is bound."""
    if isinstance(page, dict) and isinstance(real, dict):
        wanted = page.keys() - {REST}
        if REST in page:
            missing, more = wanted - real.keys(), set[str]()
        else:
            missing, more = wanted - real.keys(), real.keys() - wanted
        if missing or more:
            return f"{path}: missing {sorted(missing)}, too many {sorted(more)}"
        pairs = [(f"{path}.{key}", page[key], real[key]) for key in page if key in wanted]
    elif isinstance(page, list) and isinstance(real, list):
        if len(page) != len(real):
            return f"{path}: {len(real)} elements instead of {len(page)}: {real}"
        pairs = [(f"{path}[{n}]", one, other) for n, (one, other) in enumerate(zip(page, real, strict=True))]
    elif isinstance(page, str) and NAMES.fullmatch(page) and isinstance(real, str):
        known = names.setdefault(page, real)
        return None if known == real else f"{path}: {real!r} instead of {page} ({known!r})"
    elif page == REST and isinstance(real, str):
        return None
    else:
        same = type(page) is type(real) or {type(page), type(real)} <= {int, float}
        return None if same and page == real else f"{path}: {real!r} instead of {page!r}"
    for where, one, other in pairs:
        wrong = difference(one, other, names, where)
        if wrong is not None:
            return wrong
    return None
