"""What a client sends: judged where it is asked for, packed into messages where it goes (no ``await``).

A gateway closes a connection for good over a field of a wrong JSON type, so one wrong call would end
everything that goes on over it: such a call is refused here, before anything is sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from trouper.transport.client_errors import CommandRefused
from trouper.transport.client_options import MAX_CLIENT_MESSAGE_BYTES
from trouper.transport.integers import large_integer

ENVELOPE_BYTES = 256
"""Of a message, kept for what surrounds a command's fields: its type, its id, the array."""


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


_TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "arguments": (lambda value: isinstance(value, dict), "an object"),
    "ids": (_are_texts, "a list of strings"),
    "message": (lambda value: True, "any JSON"),
    "at": (_is_number, "a number"),
    "delay_s": (_is_number, "a number"),
    "value": (lambda value: True, "any JSON"),
    "after": (_is_integer, "an integer"),
    "limit": (_is_integer, "an integer"),
    "upto": (_is_integer, "an integer"),
}
_TEXT: tuple[Callable[[Any], bool], str] = (lambda value: isinstance(value, str), "a string")
"""Of every other field."""


def checked(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A command's fields as they will be sent: a copy, which the caller cannot change any more.

    Raises ``CommandRefused``, naming the field and what is legal.
    """
    for name, value in fields.items():
        is_right, legal = _TYPES.get(name, _TEXT)
        if not is_right(value):
            raise CommandRefused(f"{kind}: {name} is {value!r:.80}; legal is {legal}")
        if (fault := large_integer(name, value)) is not None:
            raise CommandRefused(f"{kind}: {fault}")
    try:
        encoded = orjson.dumps(fields)
    except TypeError as error:  # not JSON, nested too deep, or a lone surrogate
        raise CommandRefused(f"{kind}: this cannot be sent as JSON: {error}") from None
    if len(encoded) > MAX_CLIENT_MESSAGE_BYTES - ENVELOPE_BYTES:
        raise CommandRefused(
            f"{kind}: {len(encoded)} bytes of JSON; a message may hold {MAX_CLIENT_MESSAGE_BYTES}"
        )
    copy: dict[str, Any] = orjson.loads(encoded)
    return copy


def packed(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Items in as few messages as the protocol's limit allows, in order."""
    messages: list[str] = []
    batch: list[bytes] = []
    size = 2
    for item in items:
        encoded = orjson.dumps(item)
        if batch and size + len(encoded) + 1 > MAX_CLIENT_MESSAGE_BYTES:
            messages.append(f"[{b','.join(batch).decode()}]")
            batch, size = [], 2
        batch.append(encoded)
        size += len(encoded) + 1
    if batch:
        messages.append(f"[{b','.join(batch).decode()}]")
    return messages
