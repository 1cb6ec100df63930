"""Options: what each may be (a number, one of a few words) is checked where it is given, and told with what
is legal.

An option that is not checked there fails much later, in a loop that divides by it or never waits, and that
does not name it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

T = TypeVar("T")

Validator = Callable[[object, "attrs.Attribute[Any]", Any], None]


def wrong_count(value: object, least: int = 1) -> str | None:
    """What is legal in the place of ``value``, unless it is a whole number from ``least``."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return None
    return f"legal are whole numbers from {least}"


def wrong_number(value: object, *, zero: bool = False) -> str | None:
    """What is legal in the place of ``value``, unless it is a finite number above 0, or ``zero`` too."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if 0 < number < math.inf or (zero and number == 0):
        return None
    return f"legal are finite numbers {'from' if zero else 'above'} 0"


def count(default: int, *, least: int = 1) -> int:
    """A field of a class of options: a number of things, or of bytes. Raises ``ValueError``."""
    return _field(default, lambda value: wrong_count(value, least))


def number(default: float, *, zero: bool = False) -> float:
    """A field of a class of options: a time, as a rule. Raises ``ValueError``."""
    return _field(default, lambda value: wrong_number(value, zero=zero))


def one_of(default: str, *others: str) -> str:
    """A field of a class of options: one of a few words. Raises ``ValueError``."""
    words = (default, *others)
    legal = f"legal are {', '.join(map(repr, words))}"
    return _field(default, lambda value: None if isinstance(value, str) and value in words else legal)


def options(default: T) -> T:
    """A field that holds options of the kind of ``default``. Raises ``ValueError``."""
    kind = type(default)
    return _field(default, lambda value: None if type(value) is kind else f"legal is {kind.__name__}(…)")


def need_options(what: str, value: object, kind: type) -> None:
    """Raise ``TypeError`` unless ``value``, the argument ``what``, is a ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{what}={value!r:.200}: legal is {kind.__name__}(…)")


def _field(default: T, wrong: Callable[[object], str | None]) -> T:
    def validate(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if (legal := wrong(value)) is not None:
            raise ValueError(f"{type(instance).__name__}.{attribute.name}={value!r:.200}: {legal}")

    field: T = attrs.field(default=default, validator=validate)
    return field
