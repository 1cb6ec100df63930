"""What may be asked of a person, and what answers it."""

from __future__ import annotations

from typing import Any

import pytest

import trouper
from trouper.actors.questions import make_ask, wrong_with

pytestmark = pytest.mark.clause("J8")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, None),
        ({"type": "string"}, ""),
        ({"type": "integer", "minimum": 1, "maximum": 3}, 3),
        ({"type": "number"}, 1.5),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"enum": [1, "a", None]}, None),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 2}, ["a", "b"]),
        ({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"a": 1}),
        ({"type": "object"}, {"anything": [1]}),
        ({"type": "string", "minLength": 1, "maxLength": 3, "title": "Name"}, "abc"),
    ],
)
def test_a_value_that_fits_is_an_answer(schema: dict[str, Any], value: Any) -> None:
    make_ask("?", schema=schema, bytes_max=1000)
    assert wrong_with(value, schema) is None


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "string"}, 7, "the answer is 7; legal is a string"),
        ({"type": "integer"}, True, "the answer is true; legal is an integer"),
        ({"type": "integer"}, 1.0, "the answer is 1.0; legal is an integer"),
        ({"type": "number"}, "1", 'the answer is "1"; legal is a number'),
        ({"enum": [1, "a"]}, True, 'the answer is true; legal are 1, "a"'),
        ({"minimum": 1, "maximum": 3}, 0, "the answer is 0; legal are numbers from 1 up to 3"),
        ({"maximum": 3}, 4.5, "the answer is 4.5; legal are numbers up to 3"),
        ({"minLength": 2}, "a", "the answer has the length 1; legal is from 2"),
        ({"maxItems": 1}, [1, 2], "the answer has the length 2; legal is up to 1"),
        ({"items": {"type": "string"}}, ["a", None], "the answer[1] is null; legal is a string"),
        ({"required": ["a", "b"]}, {"a": 1}, "the answer has no 'b'; legal are objects with a, b"),
        ({"properties": {"a": {}}}, {"b": 1}, "the answer has 'b'; legal are a"),
        (
            {"properties": {"a": {"items": {"type": "null"}}}},
            {"a": [0]},
            "the answer.a[0] is 0; legal is a null",
        ),
        ({"type": "string"}, ["x" * 99], f'the answer is ["{"x" * 57}…; legal is a string'),
    ],
)
def test_a_value_that_does_not_fit_is_told_what_is_legal(
    schema: dict[str, Any], value: Any, message: str
) -> None:
    make_ask("?", schema=schema, bytes_max=1000)
    assert wrong_with(value, schema) == message


def nested(levels: int) -> dict[str, Any]:
    """Objects in each other, two levels of JSON each, and three for the last."""
    schema: dict[str, Any] = {"enum": [[]]}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


LOOPED: dict[str, Any] = {"type": "array"}
LOOPED["items"] = LOOPED


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"choices": []}, "legal is a list of one text or more"),
        ({"choices": "yes"}, "legal is a list of one text or more"),
        ({"choices": ["a"], "schema": {}}, "choices or a schema, not both"),
        ({"schema": []}, "schema is list: legal is a JSON object"),
        ({"schema": {"pattern": "a"}}, "schema has 'pattern': legal are type, enum"),
        ({"schema": {"type": "date"}}, "schema.type is 'date': legal are string"),
        ({"schema": {"type": ["string", "null"]}}, "schema.type is .'string', 'null'.: legal are string"),
        ({"schema": {"enum": []}}, "schema.enum is"),
        ({"schema": {"minimum": "1"}}, "schema.minimum is '1': legal is a number"),
        ({"schema": {"items": {"items": 1}}}, "schema.items.items is int"),
        ({"schema": {"properties": {"a": {"x": 1}}}}, "schema.properties.a has 'x'"),
        ({"schema": {"properties": []}}, "schema.properties is list"),
        ({"schema": {"required": "a"}}, "schema.required is 'a': legal is a list of names"),
        ({"schema": {"enum": [object()]}}, "is not JSON"),
        ({"schema": {"minimum": float("nan")}}, "is not JSON: NaN and infinities have no JSON"),
        ({"schema": nested(49)}, "schema of question 'Which.': legal are 100 levels of nesting"),
        ({"schema": LOOPED}, "is not JSON: Recursion limit reached"),
        ({"timeout": 0}, "legal are None and seconds above 0"),
        ({"timeout": True}, "legal are None and seconds above 0"),
        ({"timeout": "5"}, "legal are None and seconds above 0"),
        ({"timeout": float("nan")}, "legal are None and seconds above 0"),
        ({"key": ""}, "legal are 1 to 200 characters"),
        ({"key": "x" * 201}, "legal are 1 to 200 characters"),
        ({"key": "\ud800"}, "is not JSON"),
        ({"schema": {"title": "x" * 1000}}, "legal are up to 1000"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_the_call(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(trouper.BadState, match=message):
        make_ask("Which?", bytes_max=1000, **fields)


def test_a_schema_may_be_as_deep_as_any_other_json() -> None:
    assert make_ask("Which?", schema=nested(48), bytes_max=2000).schema.count("{") == 97


def test_a_question_s_key_is_its_text_unless_it_has_one() -> None:
    long = "Which? " * 50
    key = make_ask(long, bytes_max=1000).key
    assert (len(key), key[:184]) == (200, long[:184])
    assert make_ask(long, bytes_max=1000).key == key
    assert make_ask(f"{long}Or?", bytes_max=1000).key != key, "alike, as far as a key reaches"
    assert make_ask("Which?", key="k", choices=("a", "b"), bytes_max=1000).schema == (
        '{"type":"string","enum":["a","b"]}'
    )
