"""Questions to a person: what may be asked, and whether a value answers it. No ``await``.

What an answer may be is said in a small part of JSON Schema (draft 2020-12), so that it can be stored, shown
as a form, and checked on a node that has not loaded the job.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from trouper.actors.job_errors import BadState, beyond
from trouper.actors.job_spec import Fail
from trouper.actors.json_text import JSON_DEPTH_MAX, encode_json, too_deep
from trouper.store.checks import wrong_number
from trouper.store.questions import Ask

KEY_CHARS_MAX = 200
TIMEOUT_MAX_S = 10 * 365 * 86400.0

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
_COUNTS = {
    "minLength": "string",
    "maxLength": "string",
    "minItems": "array",
    "maxItems": "array",
}
_NOTES = ("title", "description", "default", "examples")
_LEGAL = ("type", "enum", "minimum", "maximum", *_COUNTS, "items", "properties", "required", *_NOTES)


class NoAnswer(Fail):
    """Nobody answered in time. A job that does not catch it ends ``failed``, without retry."""


def make_ask(
    question: str,
    *,
    choices: Sequence[str] | None = None,
    schema: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    key: str | None = None,
    bytes_max: int,
) -> Ask:
    """A question as it is stored. Raises ``BadState``, naming what is legal."""
    key = _key_of(str(question)) if key is None else key
    if choices is not None and schema is not None:
        raise BadState("a question has choices or a schema, not both")
    if choices is not None:
        texts = list[object]([] if isinstance(choices, str) else choices)
        if not texts or not all(isinstance(each, str) for each in texts):
            raise BadState(f"choices={choices!r:.80}: legal is a list of one text or more")
        schema = {"type": "string", "enum": [*choices]}
    schema = {"type": "string"} if schema is None else schema
    if timeout is not None and (wrong_number(timeout) or timeout > TIMEOUT_MAX_S):
        raise BadState(f"timeout={timeout!r}: legal are None and seconds above 0, up to ten years")
    for text in (key, question):
        if type(text) is not str:
            raise BadState(f"question {text!r:.80}: its text and its key are texts")
    if not 1 <= len(key) <= KEY_CHARS_MAX:
        raise BadState(f"question key {key!r:.80} has {len(key)}: legal are 1 to {KEY_CHARS_MAX} characters")
    try:
        encoded = encode_json(schema)  # in its order: a form shows the properties in it
        size = len(orjson.dumps([key, question])) + len(encoded)
    except TypeError as error:
        raise BadState(f"question {key!r:.80} is not JSON: {error}") from None
    stored = orjson.loads(encoded)  # what an answer is checked by
    if too_deep(stored):
        raise BadState(f"schema of question {key!r:.80}: legal are {JSON_DEPTH_MAX} levels of nesting")
    check_schema(stored)
    if size > bytes_max:
        what = f"question {key!r:.80} with its schema"
        raise BadState(beyond(what, size, "bytes", bytes_max, "question_bytes"))
    return Ask(key=key, question=question, schema=encoded.decode(), timeout_s=timeout)


def _key_of(text: str) -> str:
    """A question's own key: its text, or of a long one as much as fits, and its hash."""
    if len(text) <= KEY_CHARS_MAX:
        return text
    mark = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:16]
    return f"{text[: KEY_CHARS_MAX - len(mark)]}{mark}"


def check_schema(schema: object, at: str = "schema") -> None:
    """Raise ``BadState`` if it is not of the part of JSON Schema that is known here."""
    if not isinstance(schema, Mapping):
        raise BadState(f"{at} is {type(schema).__name__}: legal is a JSON object")
    unknown = [name for name in schema if name not in _LEGAL]
    if unknown:
        raise BadState(f"{at} has {unknown[0]!r}: legal are {', '.join(_LEGAL)}")
    if "type" in schema and (not isinstance(schema["type"], str) or schema["type"] not in _TYPES):
        raise BadState(f"{at}.type is {schema['type']!r:.40}: legal are {', '.join(_TYPES)}")
    if "enum" in schema and (not isinstance(schema["enum"], list) or not schema["enum"]):
        raise BadState(f"{at}.enum is {schema['enum']!r:.40}: legal is a list that is not empty")
    for name in ("minimum", "maximum", *_COUNTS):
        number = schema.get(name, 0)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise BadState(f"{at}.{name} is {number!r:.40}: legal is a number")
    if "items" in schema:
        check_schema(schema["items"], f"{at}.items")
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        raise BadState(f"{at}.properties is {type(properties).__name__}: legal is a JSON object")
    for name, inner in properties.items():
        check_schema(inner, f"{at}.properties.{name}")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise BadState(f"{at}.required is {required!r:.40}: legal is a list of names")


def wrong_with(value: Any, schema: Mapping[str, Any], at: str = "the answer") -> str | None:
    """Why ``value`` (decoded JSON) is no answer, naming what is legal; None if it is one.

    Unlike JSON Schema's, an object may have no properties but those that are named, if any are.
    """
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        return f"{at} is {_said(value)}; legal is {'an' if kind[0] in 'aio' else 'a'} {kind}"
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        return f"{at} is {_said(value)}; legal are {', '.join(map(_said, schema['enum']))}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        least, most = schema.get("minimum", value), schema.get("maximum", value)
        if not least <= value <= most:
            return f"{at} is {value}; legal are numbers {_range(schema, 'minimum', 'maximum')}"
    if isinstance(value, str | list):
        what = "Length" if isinstance(value, str) else "Items"
        if not schema.get(f"min{what}", 0) <= len(value) <= schema.get(f"max{what}", len(value)):
            return f"{at} has the length {len(value)}; legal is {_range(schema, f'min{what}', f'max{what}')}"
    if isinstance(value, list) and "items" in schema:
        wrong = (wrong_with(each, schema["items"], f"{at}[{n}]") for n, each in enumerate(value))
        return next((fault for fault in wrong if fault), None)
    if isinstance(value, dict):
        return _wrong_properties(value, schema, at)
    return None


def _wrong_properties(value: dict[str, Any], schema: Mapping[str, Any], at: str) -> str | None:
    properties = schema.get("properties", {})
    missing = [name for name in schema.get("required", []) if name not in value]
    if missing:
        return f"{at} has no {missing[0]!r}; legal are objects with {', '.join(schema['required'])}"
    unknown = [name for name in value if properties and name not in properties]
    if unknown:
        return f"{at} has {unknown[0]!r}; legal are {', '.join(properties)}"
    wrong = (
        wrong_with(value[name], inner, f"{at}.{name}") for name, inner in properties.items() if name in value
    )
    return next((fault for fault in wrong if fault), None)


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _same(one: object, other: object) -> bool:
    """Python's 1 == True is not JSON's."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _said(value: object) -> str:
    text = re.sub(r"\s+", " ", orjson.dumps(value).decode())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _range(schema: Mapping[str, Any], least: str, most: str) -> str:
    bounds = [f"{word} {schema[name]}" for word, name in (("from", least), ("up to", most)) if name in schema]
    return " ".join(bounds)
