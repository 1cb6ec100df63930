"""What is told to a peer of its own mistake, short: its words come back only as far as they name it."""

from __future__ import annotations

import reprlib

MAX_MESSAGE_CHARS = 500
"""Of the ``message`` of an error; what comes from the application (its arguments' names) may be long."""

_SAID_CHARS = 40

_repr = reprlib.Repr()  # the built-in one recurses without a bound into what a client nests
_repr.maxstring = _repr.maxother = _repr.maxlong = 2 * _SAID_CHARS
_repr.maxlevel = 3


def said(value: object) -> str:
    """What a client sent, as at most 40 characters: it must fit into a close frame."""
    return _cut("null" if value is None else _repr.repr(value), _SAID_CHARS)


def brief(message: str) -> str:
    """``message`` cut to ``MAX_MESSAGE_CHARS``, so that answers to bad requests cost little to keep."""
    return _cut(message, MAX_MESSAGE_CHARS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
