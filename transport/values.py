"""Which values of the right JSON type are legal: validators of the items' fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from trouper.transport.integers import large_integer
from trouper.transport.wording import said


class OutOfRange(ValueError):
    """A field has the right JSON type and a value that is not legal."""


Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def length(least: int, most: int) -> Validator:
    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and not least <= len(value) <= most:
            what = "elements" if isinstance(value, tuple) else "characters"
            raise OutOfRange(f"{attribute.name} has {len(value)} {what}; legal are {least} to {most}")

    return check


def between(least: int, most: int) -> Validator:
    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and not least <= value <= most:
            raise OutOfRange(f"{attribute.name} is {said(value)}; legal are {least} to {most}")

    return check


def exact(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Of any JSON: its integers are such as every reader can hold."""
    if (fault := large_integer(attribute.name, value)) is not None:
        raise OutOfRange(fault)


def one_of(*words: str | int | None) -> Validator:
    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in words:
            legal = ", ".join("null" if word is None else str(word) for word in words)
            raise OutOfRange(f"{attribute.name} is {said(value)}; legal are {legal}")

    return check
