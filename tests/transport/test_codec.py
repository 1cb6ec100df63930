"""The codec: strict in shape and value, and every refusal names the field."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trouper.actors.channel_items import OutputItem
from trouper.store.records import Job, JobState, ThreadSummary
from trouper.transport import messages, views
from trouper.transport.codec import decode_client, encode, encode_item, encode_output, encode_row
from trouper.transport.codes import CLOSE_REASON_BYTES, CloseCode, close_reason
from trouper.transport.errors import MessageTooLarge, ProtocolBroken
from trouper.transport.messages import Item, Unacceptable

LIMIT = 64 * 1024


def decode(*items: Any) -> list[Item]:
    return decode_client(json.dumps(items), max_bytes=LIMIT)


def test_every_field_of_a_command_is_read() -> None:
    submit = {"t": "submit", "id": "c1", "job": "echo", "arguments": {"text": "hi"}, "key": "k1"}
    assert decode(submit | {"thread": "t1", "on_busy": "reject"}) == [
        messages.Submit(
            id="c1", job="echo", arguments={"text": "hi"}, key="k1", thread="t1", on_busy="reject"
        )
    ]
    cursor = {"epoch": "e", "seq": 4}
    assert decode({"t": "hello", "visible": False, "token": None, "feed": cursor}) == [
        messages.Hello(visible=False, feed=messages.FeedCursor("e", 4))
    ]


SUBMIT = {"t": "submit", "id": "c1", "job": "echo", "arguments": {}, "key": "k1"}
JOBS = {"t": "jobs", "id": "c1"}


@pytest.mark.parametrize(
    ("item", "without"),
    [
        ({"t": "hello", "visible": True}, ["token", "feed", "coalesce_ms"]),
        ({"t": "ack", "sent": 1}, ["feed"]),
        ({"t": "resync"}, ["feed"]),
        (SUBMIT, ["thread", "at", "delay_s"]),
        (JOBS, ["thread", "before", "limit"]),
        (SUBMIT, ["on_busy", "thread", "at"]),
        ({"t": "messages", "id": "c1", "job": "j"}, ["after", "limit"]),
        ({"t": "threads", "id": "c1"}, ["before"]),
        ({"t": "notifications", "id": "c1"}, ["before"]),
        ({"t": "cancel", "id": "c1", "job": "j"}, ["key"]),
        ({"t": "mark", "id": "c1", "mark": "seen", "job": "j"}, ["ids", "upto"]),
    ],
)
def test_what_may_be_left_out_may_be_null(item: dict[str, Any], without: list[str]) -> None:
    assert decode(item | dict.fromkeys(without)) == decode(item)


@pytest.mark.parametrize(
    "item", [SUBMIT | {"key": None}, JOBS | {"id": None}, {"t": "hello", "visible": None}]
)
def test_what_may_not_be_left_out_may_not_be_null(item: dict[str, Any]) -> None:
    with pytest.raises(ProtocolBroken, match="is null; legal is"):
        decode(item)


def test_fields_that_are_not_known_are_ignored() -> None:
    assert decode({"t": "beat", "more": [1]}) == [messages.Beat()]
    feed = {"epoch": "e", "seq": 1, "x": 2}
    assert decode({"t": "resync", "feed": feed}) == [messages.Resync(messages.FeedCursor("e", 1))]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[" * 5000, "not JSON"),
        ('["\\ud800"]', "not JSON"),
        ("[NaN]", "not JSON"),
        ('{"t": "beat"}', "legal is an array"),
        ("[1]", "legal is an object"),
        ("[[]]", "legal is an object"),
        ('[{"type": "beat"}]', "t of an item is null; legal is a string"),
        ('[{"t": 1}]', "t of an item is 1"),
        ('[{"t": "nonsense"}]', "t is 'nonsense'; legal are hello, beat"),
        ('[{"t": "welcome"}]', "t is 'welcome'"),
        ('[{"t": "ack", "sent": "7", "feed": 1}]', "ack.sent is '7'; legal is an integer"),
        ('[{"t": "ack", "sent": 7.0, "feed": 1}]', "ack.sent is 7.0; legal is an integer"),
        ('[{"t": "ack", "sent": true, "feed": 1}]', "ack.sent is True; legal is an integer"),
        ('[{"t": "ack", "sent": 1e300, "feed": 1}]', "ack.sent is 1e+300; legal is an integer"),
        ('[{"t": "ack", "feed": 1}]', "ack.sent is missing"),
        ('[{"t": "hello", "visible": 1}]', "hello.visible is 1; legal is true or false"),
        ('[{"t": "hello", "visible": true, "feed": {"seq": 1}}]', "hello.feed.epoch is missing"),
        ('[{"t": "hello", "visible": true, "feed": []}]', "hello.feed is []; legal is an object"),
        ('[{"t": "submit", "id": "c", "job": "j", "arguments": [], "key": "k"}]', "submit.arguments is []"),
        ('[{"t": "mark", "id": "c", "mark": "seen", "ids": ["a", 3]}]', "mark.ids is 3; legal is a string"),
        ('[{"t": "mark", "id": "c", "mark": "seen", "ids": "a"}]', "mark.ids is 'a'; legal is an array"),
        ('[{"t": "job", "id": 7, "job": "j"}]', "job.id is 7; legal is a string"),
        ('[{"t": "job", "id": "", "job": "j"}]', "id has 0 characters"),
    ],
)
def test_a_wrong_shape_breaks_the_protocol_and_is_named(text: str, says: str) -> None:
    with pytest.raises(ProtocolBroken, match=re.escape(says)) as caught:
        decode_client(text, max_bytes=LIMIT)
    assert caught.value.code is CloseCode.PROTOCOL


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"t": "jobs", "id": "c1", "limit": 1000}, "limit is 1000; legal are 1 to 100"),
        ({"t": "mark", "id": "c1", "mark": "eaten", "upto": 1}, "legal are seen, read, archived"),
        ({"t": "mark", "id": "c1", "mark": "seen"}, "exactly one of ids, job and upto"),
        ({"t": "mark", "id": "c1", "mark": "seen", "upto": 1, "job": "j"}, "exactly one"),
        ({"t": "mark", "id": "c1", "mark": "seen", "ids": ["x"] * 501}, "ids has 501 elements"),
        ({"t": "submit", "id": "c1", "job": "j", "arguments": {}, "key": ""}, "key has 0 characters"),
        (
            {"t": "submit", "id": "c1", "job": "j", "arguments": {}, "key": "k", "on_busy": "wait"},
            "on_busy is 'wait'; legal are enqueue, reject, interrupt, rollback",
        ),
    ],
)
def test_a_wrong_value_of_a_command_is_to_be_answered(item: dict[str, Any], says: str) -> None:
    [unacceptable] = decode(item)
    assert isinstance(unacceptable, Unacceptable)
    assert unacceptable.id == "c1"
    assert says in unacceptable.message


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("9007199254740992", "message is 9007199254740992; legal are integers from -(2^53 - 1) to 2^53 - 1"),
        ("-9007199254740992", "message is -9007199254740992; legal"),
        ('[1, {"a b": [[], {}, "x", 18446744073709551616]}]', "message[1].a b[3] is 18446744073709551616;"),
        ('{"a": [1], "b": 123456789012345678901234567890}', "message.b is 123456789012345678901234567890;"),
        ("[" * 900 + "1" * 300 + "]" * 900, "message[0][0]"),
        ('{"a": ["9' + "9" * 400 + '", -' + "1" * 309 + "]}", "message.a[1] is -11111"),
        ('["\\"", ' + "7" * 30_000 + "]", "message[1] is 77777"),
    ],
)
def test_an_integer_that_not_every_reader_holds_is_named_by_its_place(value: str, says: str) -> None:
    text = f'[{{"t": "signal", "id": "c1", "job": "j", "key": "k", "message": {value}}}]'
    [unacceptable] = decode_client(text, max_bytes=LIMIT)
    assert isinstance(unacceptable, Unacceptable)
    assert unacceptable.id == "c1"
    assert says in unacceptable.message


def test_the_largest_integers_doubles_and_long_texts_are_taken_as_they_are() -> None:
    for value in (2**53 - 1, 1 - 2**53, 1e20, 0.1234567890123456789, "9" * 400, True, None):
        [signal] = decode({"t": "signal", "id": "c1", "job": "j", "key": "k", "message": [value]})
        assert isinstance(signal, messages.Signal)
        assert signal.message == [value]
        assert type(signal.message[0]) is type(value)


@pytest.mark.parametrize(
    "number", ["1e400", "-1" + "0" * 400 + ".5", "NaN", "1" * 400 + "x", "01" + "0" * 400]
)
def test_what_is_no_integer_and_no_double_is_no_json(number: str) -> None:
    with pytest.raises(ProtocolBroken, match="not JSON"):
        decode_client(
            f'[{{"t": "signal", "id": "c1", "job": "j", "key": "k", "message": {number}}}]', max_bytes=LIMIT
        )


@pytest.mark.parametrize("text", ['"' * 65_001, "[" + '"\\' * 30_000, "[" + '"\\""' * 15_000 + "1" * 400])
def test_text_that_is_no_json_is_looked_at_once(text: str) -> None:
    """A look from each quote to the end would take minutes."""
    with pytest.raises(ProtocolBroken, match="not JSON"):
        decode_client(text, max_bytes=LIMIT)


@pytest.mark.parametrize(
    "item",
    [
        {"t": "submit", "id": "c1", "job": "j", "arguments": {"n": 2**53}, "key": "k"},
        {"t": "answer", "id": "c1", "job": "j", "key": "k", "value": -(2**53)},
        {"t": "jobs", "id": "c1", "limit": 10**30},
    ],
)
def test_a_large_integer_is_answered_in_every_command_that_takes_one(item: dict[str, Any]) -> None:
    [unacceptable] = decode_client(json.dumps([item]), max_bytes=LIMIT)
    assert isinstance(unacceptable, Unacceptable)
    assert "legal are" in unacceptable.message


def test_a_wrong_value_of_an_item_without_id_has_none() -> None:
    [unacceptable] = decode({"t": "attach", "job": "j", "attempt": 2**53, "n": -1})
    assert isinstance(unacceptable, Unacceptable)
    assert unacceptable.id is None


def test_a_message_beyond_its_bound_is_too_large_counted_in_bytes() -> None:
    text = json.dumps([{"t": "beat", "x": "ä" * 40}], ensure_ascii=False)
    decode_client(text, max_bytes=len(text.encode()))
    with pytest.raises(MessageTooLarge) as caught:
        decode_client(text, max_bytes=len(text.encode()) - 1)
    assert caught.value.code is CloseCode.TOO_LARGE


FIELDS = st.sampled_from(["t", "id", "job", "visible", "feed", "sent"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["hello", "ack", "job", "mark"])
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner))


@given(JSON)
def test_whatever_json_comes_gives_items_or_breaks_the_protocol(value: Any) -> None:
    with contextlib.suppress(ProtocolBroken):
        assert all(isinstance(item, Item) for item in decode_client(json.dumps(value), max_bytes=LIMIT))


@given(st.text(alphabet=st.characters(), max_size=100))
def test_text_that_is_not_json_breaks_the_protocol(text: str) -> None:
    with pytest.raises(ProtocolBroken):
        decode_client("x" + text, max_bytes=LIMIT)


# --- writing ------------------------------------------------------------------------------------


def test_an_output_is_written_with_the_names_of_the_wire() -> None:
    item = messages.Output("j1", 1, 0, 3, ("text", ("source", '{"a":1}')), 12)
    assert json.loads(encode_item(item)) == {
        "t": "output",
        "job": "j1",
        "attempt": 1,
        "from": 0,
        "to": 3,
        "parts": ["text", ["source", '{"a":1}']],
        "sent": 12,
    }


def test_a_reply_holds_exactly_one_of_ok_and_error() -> None:
    row = views.job_detail(Job(id="j1", user="ada", name="echo", arguments='{"a":[1]}', result="null"))
    ok = json.loads(encode_item(messages.Reply("c1", ok={"jobs": [orjson.Fragment(encode_row(row))]})))
    assert ok.keys() == {"t", "id", "ok"}
    assert ok["ok"]["jobs"][0]["arguments"] == {"a": [1]}
    error = json.loads(encode_item(messages.Reply("c1", error=messages.ErrorBody("busy", "m", True))))
    assert error == {"t": "reply", "id": "c1", "error": {"code": "busy", "message": "m", "retryable": True}}


def test_a_lone_surrogate_is_refused_when_written() -> None:
    with pytest.raises(ProtocolBroken, match="gone cannot be written"):
        encode([messages.Gone("j1", "\ud800")])


def test_the_feed_holds_no_arguments_and_replies_do() -> None:
    job = Job(id="j1", user="ada", name="echo", arguments='{"a":1}', state=JobState.RUNNING, savepoint=3)
    row = json.loads(encode_row(views.job_row(job)))
    assert "arguments" not in row
    assert (row["state"], row["saved_entries"]) == ("running", 3)
    assert json.loads(encode_row(views.job_detail(job)))["arguments"] == {"a": 1}


def test_a_row_with_damaged_json_shows_null_and_spoils_nothing() -> None:
    job = Job(id="j1", user="ada", name="echo", arguments="{broken", result="{}")
    summary = ThreadSummary("t1", 1, 0, job, job)
    row = json.loads(encode_row(views.thread_row(summary)))
    assert row["first"]["arguments"] is None
    assert row["last"]["result"] == {}


def test_a_close_reason_is_cut_on_a_code_point() -> None:
    reason = close_reason("ä" * 100)
    assert reason == "ä" * (CLOSE_REASON_BYTES // 2)
    assert close_reason("short") == "short"


entries = st.one_of(st.text(max_size=20), st.tuples(st.text(max_size=5), st.text(max_size=20)))


@given(st.text(max_size=20), st.integers(0, 2**40), st.lists(entries, max_size=5), st.integers(0, 2**40))
def test_output_that_is_written_by_hand_is_what_the_codec_writes(
    job: str, start: int, parts: list[Any], sent: int
) -> None:
    shared: list[bytes] = []
    for total in (sent, sent + 7):  # another session: only its own count differs
        item = OutputItem(job, 3, start, start + len(parts), parts, total, shared)
        by_codec = messages.Output(job, 3, start, start + len(parts), tuple(parts), total)
        assert encode_output(item) == encode_item(by_codec)
    assert len(shared) == 1


def test_output_that_cannot_be_written_is_refused_each_time() -> None:
    item = OutputItem("j1", 1, 0, 1, ["\ud800"], 3)
    for _ in range(2):
        with pytest.raises(ProtocolBroken, match="output cannot be written as JSON"):
            encode_output(item)
