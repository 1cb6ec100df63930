"""The specification names what the code sends and reads: by the same names, all of them, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest

from trouper.store.questions import Ask, shown
from trouper.supervisor import refusals
from trouper.transport import messages, rows
from trouper.transport.codes import CloseCode, ErrorCode
from trouper.transport.messages import Command, Item

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
TEXT = PAGE.read_text("utf-8").partition("## 8. A trace")[0]

Shape = dict[str, "Shape"]
"""The names of an object, each with those of the object in it, if that has one."""


def shape_at(text: str, start: int) -> tuple[Shape, int]:
    """The names of the object that begins at ``start``, and where it ends. It is JSON but for what is
    left out of it: ``…``, ``Job…``, ``Counts``, and what may be either of two."""
    names: Shape = {}
    name, at = "", start + 1
    while text[at] != "}":
        if text[at] == "{":
            inner, at = shape_at(text, at)
            names[name] = names.get(name, {}) | inner
        elif text[at] == '"':
            end = re.compile(r'(?:[^"\\]|\\.)*"').match(text, at + 1)
            assert end, text[at : at + 40]
            word = text[at + 1 : end.end() - 1]
            if re.match(r"\s*:", text[end.end() :]):
                name = word
                names[name] = {}
            at = end.end() - 1
        at += 1
    return names, at


def specified(tag: str) -> Shape | None:
    """The fields of all places that show such an item."""
    places = [match.start() for match in re.finditer(rf'{{"t": "{re.escape(tag)}"', TEXT)]
    if not places:
        return None
    fields: Shape = {}
    for place in places:
        for name, inner in shape_at(TEXT, place)[0].items():
            fields[name] = fields.get(name, {}) | inner
    del fields["t"]
    return fields


def objects(heading: str) -> list[Shape]:
    """The objects of the first block under a heading."""
    block = re.search(rf"^### {re.escape(heading)}.*?^```json\n(.*?)^```", TEXT, re.M | re.S)
    assert block, heading
    return objects_of(block[1])


def objects_of(text: str) -> list[Shape]:
    found, at = [], 0
    while (at := text.find("{", at)) >= 0:
        shape, at = shape_at(text, at)
        found.append(shape)
    return found


def names_of(cls: Any) -> set[str]:
    return {field.metadata.get("wire", field.name) for field in attrs.fields(cls)}


COMMANDS: dict[str, Any] = {cls.t: cls for cls in Command.__subclasses__()}
ITEMS = {cls.t: cls for cls in Item.__subclasses__() if getattr(cls, "t", "")}
INNER: dict[str, dict[str, Any]] = {
    "hello": {"feed": messages.FeedCursor},
    "resync": {"feed": messages.FeedCursor},
    "reply": {"error": messages.ErrorBody},
    "queue": {"places": messages.Place},
}


@pytest.mark.clause("N3")
@pytest.mark.parametrize("tag", ITEMS)
def test_each_item_is_specified_with_all_its_fields(tag: str) -> None:
    fields = specified(tag)
    assert fields is not None, "the page does not show it"
    assert fields.keys() == names_of(ITEMS[tag])
    inner = {name: names_of(cls) for name, cls in INNER.get(tag, {}).items()}
    assert {name: shape.keys() for name, shape in fields.items() if shape} == inner


@pytest.mark.clause("N3")
@pytest.mark.parametrize("tag", COMMANDS)
def test_each_command_is_specified_with_its_fields_and_which_may_be_left_out(tag: str) -> None:
    row = re.search(rf"^\| `{tag}` \| (.*?) \| `\{{", TEXT, re.M)
    assert row, "the page does not show it"
    fields = {field.name: field.default is attrs.NOTHING for field in attrs.fields(COMMANDS[tag])}
    assert fields.pop("id")
    named = re.findall(r"`(\w+)(\??)`", re.sub(r"\([^)]*\)|: [^;]*", "", row[1]))
    assert {name for name, _ in named} == fields.keys()
    one_of = {"cancel": {"job", "key"}, "mark": {"ids", "job", "upto"}}.get(tag, set())
    assert {name for name, may in named if not may} - one_of == {
        name for name, required in fields.items() if required
    }


@pytest.mark.clause("N3")
def test_each_row_is_specified_with_all_its_fields() -> None:
    [job] = objects("2.1 Job")
    assert job.keys() == names_of(rows.JobDetail)
    assert names_of(rows.JobDetail) - names_of(rows.JobRow) == {"arguments", "result"}
    assert "`arguments` and `result` are in replies only" in TEXT
    notification, counts = objects("2.2 Notification and Counts")
    assert notification.keys() == names_of(rows.NotificationRow)
    assert counts.keys() == names_of(rows.Counts)
    thread = re.search(r'{"threads": \[{(.*?)}…\]}', TEXT)
    assert thread
    assert set(re.findall(r'"(\w+)"', thread[1])) == names_of(rows.ThreadRow)
    asked = shown(Ask(key="k", question="q", schema="{}"), 1.0)
    question = next(shape for shape in objects_of(TEXT) if "question" in shape)
    assert question.keys() == orjson.loads(asked).keys()


def kinds_of(cls: type[refusals.Refusal]) -> list[type[refusals.Refusal]]:
    """Those that are raised: what only stands between has no code of its own."""
    below = cls.__subclasses__()
    return [kind for each in below for kind in kinds_of(each)] if below else [cls]


@pytest.mark.clause("N3")
def test_each_error_code_is_specified_with_whether_it_is_worth_another_try() -> None:
    paragraph = re.search(r"^Error codes: (.*?A `message` has)", TEXT, re.M | re.S)
    assert paragraph
    told = re.sub(r"\s+", " ", paragraph[1])
    codes = dict(re.findall(r"`(\w+)`(?: \(([^)]*)\))?", told))
    sent = {str(code): code.retryable for code in ErrorCode} | {
        cls.code: cls.retryable for cls in kinds_of(refusals.Refusal)
    }
    del sent["too_many_sessions"]  # it closes the connection (4002)
    assert codes.keys() - {"message"} == sent.keys()
    for code, note in codes.items():
        if code != "message":
            assert ("retryable" in note) == sent[code], code


@pytest.mark.clause("N3")
def test_each_close_code_is_specified_and_says_by_its_hundreds_whether_to_come_back() -> None:
    table = dict(re.findall(r"^\| (\d{4}) \|.*\| (.*?) \|$", TEXT, re.M))
    assert {int(code) for code in table} == set(CloseCode)
    for code, client in table.items():
        if code != "1000":
            assert client.startswith("comes back") == code.startswith("40"), code
