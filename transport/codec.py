"""Text to items and back, strictly: ``"7"`` is not 7, and every refusal names the field.

cattrs alone coerces silently, raises a bare KeyError for an unknown tag and a TypeError for what is
not an object; so the primitives are structured by hooks of ours and the envelope is checked first.
Two kinds of refusal are told apart: a wrong *shape* (not JSON, a missing field, a wrong JSON type)
breaks the protocol and raises ``ProtocolBroken``; a wrong *value* (too long, out of range, an unknown
word) becomes an ``Unacceptable`` item, to be answered.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args, get_origin

import attrs
import cattrs
import orjson
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from trouper.actors.channel_items import OutputItem
from trouper.transport import messages
from trouper.transport.errors import MessageTooLarge, ProtocolBroken
from trouper.transport.messages import CLIENT_ITEMS, Item, JsonObject, Part, Unacceptable
from trouper.transport.values import OutOfRange
from trouper.transport.wording import said

_JSON_NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


class _WrongType(TypeError):
    """A field does not have the JSON type that it must have."""


def _strict(kind: type, accepts: tuple[type, ...]) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) not in accepts:  # not isinstance: True is an int
            raise _WrongType(f"is {said(value)}; legal is {_JSON_NAMES[kind]}")
        return value

    return hook


def _is_array(kind: Any) -> bool:
    """Whether ``kind`` is ``tuple[X, ...]``."""
    return bool(get_origin(kind) == tuple and get_args(kind)[1:] == (...,))  # noqa: E721


def _object(value: Any, _: Any) -> JsonObject:
    if type(value) is not dict:
        raise _WrongType(f"is {said(value)}; legal is an object")
    return value


def _tuple(value: Any, kind: Any) -> tuple[Any, ...]:
    if type(value) is not list:
        raise _WrongType(f"is {said(value)}; legal is an array")
    element = get_args(kind)[0]
    return tuple(_converter.structure(each, element) for each in value)


def _renames(cls: type) -> dict[str, Any]:
    return {
        field.name: override(rename=field.metadata["wire"])
        for field in attrs.fields(cls)
        if "wire" in field.metadata
    }


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=False)
    converter.register_structure_hook(str, _strict(str, (str,)))
    converter.register_structure_hook(bool, _strict(bool, (bool,)))
    converter.register_structure_hook(int, _strict(int, (int,)))
    converter.register_structure_hook(float, _strict(float, (float, int)))
    converter.register_structure_hook_func(lambda kind: kind == JsonObject, _object)
    converter.register_structure_hook_func(lambda kind: _is_array(kind), _tuple)
    converter.register_unstructure_hook_func(lambda kind: kind == Part, lambda part: part)

    def structure(cls: type) -> Callable[[Any, Any], Any]:
        generated: Callable[[Any, Any], Any] = make_dict_structure_fn(cls, converter, **_renames(cls))

        def hook(value: Any, kind: Any) -> Any:
            if type(value) is not dict:
                raise _WrongType(f"is {said(value)}; legal is an object")
            return generated(value, kind)

        return hook

    converter.register_structure_hook_factory(attrs.has, structure)
    converter.register_unstructure_hook_factory(
        attrs.has, lambda cls: make_dict_unstructure_fn(cls, converter, **_renames(cls))
    )
    return converter


_converter = _make_converter()
_MANY_DIGITS = re.compile(rb"[0-9]{19}")
_DIGITS_MAX = 300
_STRING_OR_NUMBER = re.compile(
    rb'"(?:[^"\\]|\\.)*(?:"|\Z)'  # a string; one without an end is all the rest, or this would be quadratic
    rb"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?",
    re.DOTALL,
)
_CLIENT: Mapping[str, type[Item]] = {item.t: item for item in CLIENT_ITEMS}


def _may_be_left_out(cls: Any) -> frozenset[str]:
    return frozenset(field.name for field in attrs.fields(cls) if field.default is not attrs.NOTHING)


_OPTIONAL: Mapping[type[Item], frozenset[str]] = {item: _may_be_left_out(item) for item in CLIENT_ITEMS}
"""The fields that may be left out, of which null says the same."""


# --- reading ------------------------------------------------------------------------------------


def decode_client(text: str | bytes, *, max_bytes: int) -> list[Item]:
    """The items of a client's message of at most ``max_bytes`` UTF-8 bytes, for the gateway.

    Raises ``ProtocolBroken`` (``MessageTooLarge``) with a message fit for a close frame. An item
    whose values are not legal is given as ``Unacceptable``.
    """
    items: list[Item] = []
    for value in _array(text, max_bytes):
        tag = _tag(value)
        cls = _CLIENT.get(tag)
        if cls is None:
            raise ProtocolBroken(f"t is {said(tag)}; legal are {', '.join(_CLIENT)}")
        items.append(_item(cls, value))
    return items


def _array(text: str | bytes, max_bytes: int) -> list[Any]:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > max_bytes:
        raise MessageTooLarge(f"a message of {len(raw)} bytes; legal are {max_bytes}")
    try:
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            if (shorter := _shortened(raw)) == raw:
                raise
            value, raw = orjson.loads(shorter), shorter
        # Of an integer beyond 64 bits orjson makes a double, which would pass for one.
        if _MANY_DIGITS.search(raw):
            value = json.loads(raw)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise ProtocolBroken(f"not JSON: {error}; legal is an array of items") from error
    if type(value) is not list:
        raise ProtocolBroken(f"the message is {said(value)}; legal is an array of items")
    return value


def _shortened(raw: bytes) -> bytes:
    """``raw`` with the integers that have more digits than any double, because of which orjson reads nothing,
    cut to fewer: still far too large, so that they are refused with their place, as others are."""

    def shorter(match: re.Match[bytes]) -> bytes:
        token = match[0]
        return token[:_DIGITS_MAX] if token.removeprefix(b"-").isdigit() else token

    return _STRING_OR_NUMBER.sub(shorter, raw)


def _tag(value: Any) -> str:
    if type(value) is not dict:
        raise ProtocolBroken(f"an item is {said(value)}; legal is an object")
    tag = value.get("t")
    if type(tag) is not str:
        raise ProtocolBroken(f"t of an item is {said(tag)}; legal is a string")
    return tag


def _item(cls: type[Item], value: dict[str, Any]) -> Item:
    if None in value.values():
        value = {name: each for name, each in value.items() if each is not None or name not in _OPTIONAL[cls]}
    try:
        return _converter.structure(value, cls)
    except (BaseValidationError, _WrongType, OutOfRange) as error:
        faults = _faults(error, cls.t)
        message = "; ".join(text for _, text in faults)
        if not all(is_value for is_value, _ in faults):
            raise ProtocolBroken(message) from error
        id = value.get("id")
        if type(id) is str and not 1 <= len(id) <= 64:
            raise ProtocolBroken(message) from error  # a reply could not name it
        return Unacceptable(cls.t, id if issubclass(cls, messages.Command) else None, message)


_CATTRS_PLACE = re.compile(r"Structuring class \w+ @ attribute (\w+)")


def _faults(error: BaseException, path: str) -> list[tuple[bool, str]]:
    """Every fault as (whether it is one of value, text), with the path of its field."""
    if isinstance(error, BaseExceptionGroup):
        faults: list[tuple[bool, str]] = []
        for each in error.exceptions:
            faults.extend(_faults(each, path + _place(each)))
        return faults
    if isinstance(error, KeyError):
        return [(False, f"{path}.{error.args[0]} is missing")]
    if isinstance(error, OutOfRange):
        return [(True, f"{path}: {error}")]
    return [(False, f"{path} {error}")]


def _place(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return ""
    for note in getattr(error, "__notes__", ()):
        if match := _CATTRS_PLACE.match(str(note)):
            return f".{match[1]}"
    return ""


# --- writing ------------------------------------------------------------------------------------


def encode_row(row: object) -> bytes:
    """A row of a list as JSON; as an ``orjson.Fragment`` it goes into its reply as it is.

    Raises ``ProtocolBroken`` as ``encode_item`` does.
    """
    try:
        return orjson.dumps(_converter.unstructure(row))
    except orjson.JSONEncodeError as error:
        raise ProtocolBroken(f"{type(row).__name__} cannot be written as JSON: {error}") from error


def encode_item(item: Item) -> bytes:
    """One item as JSON. Raises ``ProtocolBroken`` for what JSON cannot hold (a lone surrogate)."""
    value = _converter.unstructure(item)
    if isinstance(item, messages.Reply):
        # A reply holds exactly one of the two, and ``ok`` may be null.
        del value["ok" if item.error is not None else "error"]
    try:
        return orjson.dumps({"t": item.t, **value})
    except orjson.JSONEncodeError as error:
        raise ProtocolBroken(f"{item.t} cannot be written as JSON: {error}") from error


def encode_output(item: OutputItem) -> bytes:
    """As ``encode_item`` of its ``messages.Output``, by hand: this is the hot path. What is the same for all
    sessions at one cursor is made once; only ``sent`` is each one's own."""
    if not item.encoded:
        try:
            job, parts = orjson.dumps(item.job_id), orjson.dumps(item.parts)
        except orjson.JSONEncodeError as error:
            raise ProtocolBroken(f"output cannot be written as JSON: {error}") from error
        item.encoded.append(
            b'{"t":"output","job":%b,"attempt":%d,"from":%d,"to":%d,"parts":%b,"sent":'
            % (job, item.attempt, item.start, item.end, parts)
        )
    return b"%b%d}" % (item.encoded[0], item.sent)


def join_items(encoded: Iterable[bytes]) -> bytes:
    """A message of items that were encoded one by one."""
    return b"[" + b",".join(encoded) + b"]"


def encode(items: Iterable[Item]) -> bytes:
    """A whole message."""
    return join_items(map(encode_item, items))


def finite(value: float | None) -> float | None:
    """``value``, or None for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None
