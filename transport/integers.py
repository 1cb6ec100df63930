"""Which integers JSON carries from one end to the other as they are.

Many readers, browsers among them, hold every number as a double, which has each integer up to 2^53 − 1 and
beyond it only some: RFC 8259, 6, and RFC 7493, 2.2, name that range. A larger one that was let through would
be another number at the next reader, without a word; so it is refused where it comes in. Numbers that are
written with a fraction or an exponent are doubles, and as exact as these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trouper.transport.codes import MAX_INTEGER
from trouper.transport.wording import said

LEGAL_INTEGERS = "integers from -(2^53 - 1) to 2^53 - 1 (send a larger one as a string)"


def large_integer(name: str, value: object) -> str | None:
    """What to say of the first integer in ``value`` (any JSON, called ``name``) that is too large: where it
    is, what it is, and what is legal. None if there is none."""
    # No recursion, and no path before it is needed: depth and names are the peer's choice.
    places = [name]
    around: list[Iterator[tuple[str | int, object]]] = [iter(((name, value),))]
    while around:
        for place, each in around[-1]:
            places[len(around) - 1 :] = [f"[{place}]" if isinstance(place, int) else f".{place}"]
            inside = _inside(each)
            if inside is not None:
                around.append(iter(inside))
                break
            if isinstance(each, int) and not -MAX_INTEGER <= each <= MAX_INTEGER:
                return f"{''.join(places)[1:]} is {said(each)}; legal are {LEGAL_INTEGERS}"
        else:
            around.pop()
    return None


def _inside(value: object) -> Iterable[tuple[str | int, object]] | None:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else None
