"""The JSON of what an application gives: values, and nothing that reads back as another value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import orjson

JSON_DEPTH_MAX = 100
"""Levels of nesting in arguments and results: encoders, ours and others', give up at a few hundred."""


def encode_json(value: object, option: int = 0) -> bytes:
    """JSON of ``value``, with an ``option`` of orjson's. Raises ``TypeError`` for what has none: NaN and
    infinities too, of which the encoder makes null without a word."""
    encoded = orjson.dumps(value, option=option)
    if b"null" in encoded and not all(map(math.isfinite, _floats(value))):
        raise TypeError("NaN and infinities have no JSON: legal are finite numbers")
    return encoded


def _floats(value: object) -> Iterator[float]:
    rest = [value]
    while rest:
        leaf = rest.pop()
        if isinstance(leaf, float):
            yield leaf
        elif isinstance(leaf, dict):
            rest.extend(leaf.values())
        elif isinstance(leaf, list | tuple):
            rest.extend(leaf)
        elif dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            rest.extend(getattr(leaf, field.name) for field in dataclasses.fields(leaf))


def too_deep(value: object) -> bool:
    """Whether lists and mappings in ``value`` are nested deeper than ``JSON_DEPTH_MAX``."""
    level: list[object] = [value]
    for _ in range(JSON_DEPTH_MAX):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list | tuple)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return any(isinstance(value, dict | list | tuple) for value in level)
