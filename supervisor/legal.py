"""What is refused where it is declared, and how: every message names the legal forms. No ``await``."""

from __future__ import annotations

import enum
import math

from trouper.supervisor.errors import BadSpec


def need(holds: bool, legal: str) -> None:
    """Raise ``BadSpec(legal)`` unless it holds."""
    if not holds:
        raise BadSpec(legal)


def need_kind(what: str, value: object, kind: type, *, none: bool = False) -> None:
    """Raise ``BadSpec`` unless ``value`` is a ``kind``, or ``None`` where that is legal. Of an enumeration
    the members are named."""
    if isinstance(value, kind) or (none and value is None):
        return
    if issubclass(kind, enum.Enum):
        legal = ", ".join(str(member) for member in kind)
    else:
        legal = "True, False" if kind is bool else f"{kind.__name__}(…)"
    raise BadSpec(f"{what}={value!r}: legal are {legal}{' and None' if none else ''}")


def is_number(value: object) -> bool:
    """Whether it is an ``int`` or a ``float``: to compare anything else would raise a ``TypeError``."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: object) -> bool:
    """Whether it is an ``int`` of 1 or more."""
    return isinstance(value, int) and value >= 1


def need_seconds(what: str, value: object, *, zero: bool = False, inf: bool = False) -> None:
    """Raise ``BadSpec`` unless ``value`` is a number of seconds: above 0, or ``zero`` too; finite, or
    ``inf`` too."""
    if (
        isinstance(value, int | float)
        and is_number(value)
        and (value > 0 or (zero and value == 0))
        and (value < math.inf or (inf and value == math.inf))
    ):
        return
    legal = f"{'0 or more' if zero else 'above 0'} seconds{', or math.inf' if inf else ', finite'}"
    raise BadSpec(f"{what}={value!r}: legal is {legal}")
