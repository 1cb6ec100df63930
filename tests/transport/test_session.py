"""The session's protocol, without any I/O: messages in, messages and actions out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.transport.fakes import output, snapshot
from tests.transport.talk import HELLO, WELCOME, Talk, opened
from trouper.actors.channel_items import EndItem, GoneItem, ProgressItem, RewindItem
from trouper.store.records import JobState
from trouper.transport.codes import CloseCode
from trouper.transport.messages import ErrorBody, GetJob, Hello, Reply
from trouper.transport.options import ENTRY_BYTES
from trouper.transport.session_ports import Authenticate, CarryOut, Close
from trouper.transport.session_state import IllegalSessionEvent, SessionState


def test_the_first_message_of_the_server_is_welcome_then_snapshot() -> None:
    talk = Talk()
    assert talk.say(HELLO) == [Authenticate(Hello(visible=True))]
    assert talk.session.state is SessionState.OPENING
    assert talk.hear() == []
    talk.channel.give(snapshot(7))
    assert talk.session.opened(talk.channel, WELCOME) == []
    assert talk.due >= 1
    welcome, feed = talk.hear()
    assert welcome["t"] == "welcome"
    assert welcome["window"] == 262144
    assert (feed["t"], feed["epoch"], feed["seq"]) == ("snapshot", "e1", 7)


def test_what_comes_behind_the_hello_is_done_after_the_welcome() -> None:
    talk = Talk()
    actions = talk.open(
        {"t": "attach", "job": "j1", "attempt": 1, "n": 4}, {"t": "job", "id": "c1", "job": "j"}
    )
    assert talk.channel.calls == [("attach", "j1", 1, 4)]
    assert actions == [CarryOut(GetJob(id="c1", job="j"))]


@pytest.mark.clause("N4")
def test_a_message_holds_replies_then_feed_then_output() -> None:
    talk = opened()
    talk.channel.give(
        snapshot(),
        RewindItem("j0", 2, 0),
        ProgressItem("j1", 1, 1.0, None, None),
        output("hi"),
        EndItem("j1", 1, 1, "00", JobState.COMPLETED, 66),
        GoneItem("j2", "unknown"),
    )
    talk.say({"t": "job", "id": "c1", "job": "j"})
    talk.session.replied(Reply("c1", ok={"job": None}))
    talk.session.beat()
    assert talk.tags() == ["beat", "reply", "snapshot", "rewind", "progress", "output", "output.end", "gone"]
    assert talk.hear() == []


@pytest.mark.parametrize(
    "first",
    [
        [{"t": "beat"}],
        [{"t": "job", "id": "c1", "job": "j"}, HELLO],
        [],
        {"t": "hello", "visible": True},
        "hello",
        [{"t": "hello", "visible": "yes"}],
        [{"t": "hello", "visible": True, "feed": {"epoch": "e", "seq": -1}}],
    ],
)
def test_anything_but_a_hello_at_first_is_closed_with_4503(first: Any) -> None:
    talk = Talk()
    actions = talk.session.receive(json.dumps(first))
    if first == []:
        assert actions == []  # an empty message says nothing: the hello may still come
        return
    [close] = actions
    assert isinstance(close, Close)
    assert close.code is CloseCode.PROTOCOL
    assert close.reason
    assert talk.session.state is SessionState.CLOSED
    assert talk.say(HELLO) == []


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([HELLO], "a second hello"),
        ([{"t": "ack", "sent": 5, "feed": 0}], "ack of sent=5"),
        ([{"t": "submit", "id": "c1"}], "submit.job is missing"),
        ([{"t": "unheard of"}], "legal are"),
    ],
)
def test_what_breaks_the_protocol_closes_with_4503_and_a_reason(items: list[Any], says: str) -> None:
    talk = opened()
    [close] = talk.say(*items)
    assert isinstance(close, Close)
    assert close.code is CloseCode.PROTOCOL
    assert says in close.reason
    assert len(close.reason.encode()) <= 123
    assert talk.hear() == []


def test_a_binary_message_is_closed_with_4503() -> None:
    talk = opened()
    [close] = talk.session.receive(b"[]")
    assert isinstance(close, Close)
    assert close.code is CloseCode.PROTOCOL


@pytest.mark.clause("E2")
def test_a_message_that_is_too_large_is_closed_with_4504() -> None:
    talk = opened()
    rest = len('[{"t":"beat","é":""}]'.encode())
    largest = "x" * (64 * 1024 - rest)
    assert talk.session.receive(f'[{{"t":"beat","é":"{largest}"}}]') == []
    [close] = talk.session.receive(f'[{{"t":"beat","é":"{largest}x"}}]')
    assert isinstance(close, Close)
    assert close.code is CloseCode.TOO_LARGE


def test_a_value_that_is_not_legal_is_answered_and_the_session_goes_on() -> None:
    talk = opened()
    assert (
        talk.say({"t": "jobs", "id": "c1", "limit": 0}, {"t": "attach", "job": "", "attempt": 0, "n": 0})
        == []
    )
    reply, fault = talk.hear()
    assert (reply["id"], reply["error"]["code"], reply["error"]["retryable"]) == ("c1", "bad_request", False)
    assert "limit is 0" in reply["error"]["message"]
    assert (fault["t"], fault["code"]) == ("error", "bad_request")
    assert talk.session.state is SessionState.OPEN


def test_an_attach_too_many_is_answered_with_an_error() -> None:
    talk = opened()
    for job in ("a", "b", "c"):
        assert talk.say({"t": "attach", "job": job, "attempt": 0, "n": 0}) == []
    [fault] = talk.hear()
    assert fault["t"] == "error"
    assert "2 outputs are attached" in fault["message"]


def test_what_the_client_says_reaches_its_channel() -> None:
    talk = opened()
    talk.channel.give(output("abc"))
    talk.hear()
    talk.say(
        {"t": "beat"},
        {"t": "ack", "sent": 3, "feed": 1},
        {"t": "visible", "visible": False},
        {"t": "resync", "feed": {"epoch": "e1", "seq": 3}},
        {"t": "detach", "job": "j1"},
    )
    assert talk.channel.calls == [("ack", 3, 1), ("visible", False), ("resync", ("e1", 3)), ("detach", "j1")]


@pytest.mark.clause("N3")
@pytest.mark.parametrize("resync", [{"t": "resync"}, {"t": "resync", "feed": None}])
def test_a_client_that_holds_nothing_of_the_feed_may_say_so(resync: dict[str, Any]) -> None:
    talk = opened()
    assert talk.say(resync) == []
    assert talk.channel.calls == [("resync", None)]


@pytest.mark.parametrize("feed", [{}, {"feed": None}])
def test_an_ack_needs_no_feed(feed: dict[str, Any]) -> None:
    talk = opened()
    talk.channel.give(output("abc"))
    talk.hear()
    assert talk.say({"t": "ack", "sent": 3, **feed}) == []
    assert talk.channel.calls == [("ack", 3, 0)]


@pytest.mark.parametrize("ack", [{"sent": -1, "feed": 0}, {"sent": 0, "feed": -1}])
def test_a_negative_ack_acknowledges_nothing_and_is_answered(ack: dict[str, Any]) -> None:
    talk = opened()
    assert talk.say({"t": "ack", **ack}) == []
    [error] = talk.hear()
    assert (error["t"], error["code"]) == ("error", "bad_request")
    assert "is -1; legal are 0 to" in error["message"]
    assert talk.channel.calls == []


def command(number: int) -> dict[str, Any]:
    return {"t": "job", "id": f"c{number}", "job": "j"}


@pytest.mark.clause("N4")
def test_the_65th_pending_command_is_busy_and_going_on_is_a_flood() -> None:
    talk = opened()
    actions = talk.say(*map(command, range(64)))
    assert len(actions) == 64
    assert talk.say(command(64)) == []
    # Acks and beats are processed all the same.
    talk.say({"t": "ack", "sent": 0, "feed": 1}, {"t": "beat"})
    assert ("ack", 0, 1) in talk.channel.calls
    talk.say(*map(command, range(65, 128)))
    assert talk.session.owed == 128
    [close] = talk.say(command(128))
    assert isinstance(close, Close)
    assert close.code is CloseCode.FLOOD


@pytest.mark.clause("N4")
def test_answers_that_were_taken_make_room_again() -> None:
    talk = opened()
    talk.say(*map(command, range(65)))
    [busy] = talk.hear()
    assert (busy["id"], busy["error"]["code"], busy["error"]["retryable"]) == ("c64", "busy", True)
    for number in range(64):
        talk.session.replied(Reply(f"c{number}", ok=None))
    assert talk.session.owed == 64  # answered, but not taken
    talk.say(command(99))
    assert len(talk.hear()) == 65
    assert talk.say(command(100)) == [CarryOut(GetJob(id="c100", job="j"))]


@pytest.mark.clause("E2")
def test_faults_that_nobody_takes_are_a_flood_too() -> None:
    talk = opened()
    bad = {"t": "attach", "job": "", "attempt": 0, "n": 0}
    assert talk.say(*[bad] * 128) == []
    [close] = talk.say(bad)
    assert isinstance(close, Close)
    assert close.code is CloseCode.FLOOD


@pytest.mark.clause("E2")
def test_refusals_that_nobody_takes_are_bounded_in_bytes_too() -> None:
    talk = opened(max_reply_bytes=2000)
    talk.say(command(0))
    talk.session.replied(Reply("c0", ok="x" * 5000))  # a large list on a slow line is no flood
    bad = {"t": "jobs", "id": "c", "limit": 0}
    assert talk.say(*[bad] * 15) == []
    [close] = talk.say(*[bad] * 15)
    assert isinstance(close, Close)
    assert (close.code, close.reason) == (CloseCode.FLOOD, "more than 2000 bytes of refusals are not taken")
    assert talk.session.reply_bytes == 0


@pytest.mark.clause("E2")
def test_refusals_that_are_taken_do_not_add_up() -> None:
    talk = opened(max_reply_bytes=2000)
    for _ in range(100):
        assert talk.say({"t": "jobs", "id": "c", "limit": 0}) == []
        assert talk.tags() == ["reply"]


@pytest.mark.clause("E2")
@pytest.mark.parametrize("word", ["x" * 60_000, "\u0001" * 10_000])
def test_a_refusal_holds_little_of_what_was_wrong(word: str) -> None:
    talk = opened()
    submit = {"t": "submit", "id": "c1", "job": "echo", "arguments": {}, "key": "k"}
    talk.say(submit | {"on_busy": word})
    [refused] = talk.hear()
    assert refused["error"]["message"].startswith(f"submit: on_busy is {word[:5]!r}"[:-1])
    assert len(refused["error"]["message"]) < 200
    talk.say(command(1))
    talk.session.replied(Reply("c1", error=ErrorBody("bad_request", f"there is no argument {word!r}")))
    [refused] = talk.hear()
    assert len(refused["error"]["message"]) == 500


@pytest.mark.clause("E1")
@pytest.mark.parametrize("depth", [1, 300, 1000])
def test_a_client_that_nests_deeply_breaks_the_protocol_and_not_the_server(depth: int) -> None:
    talk = opened()
    deep = "[" * depth + "]" * depth
    [close] = talk.session.receive(f'[{{"t":"beat"}},{deep}]')
    assert isinstance(close, Close)
    assert close.code is CloseCode.PROTOCOL
    talk = opened()
    [close] = talk.session.receive(f'[{{"t":"jobs","id":{deep}}}]')
    assert isinstance(close, Close)
    assert close.code is CloseCode.PROTOCOL


@pytest.mark.clause("E2")
def test_what_is_sent_before_the_welcome_is_bounded() -> None:
    talk = Talk(max_early_items=3)
    [_, close] = talk.say(HELLO, *[{"t": "beat"}] * 4)
    assert isinstance(close, Close)
    assert close.code is CloseCode.FLOOD


@pytest.mark.clause("E2")
def test_a_message_is_bounded_and_one_whole_item_always_fits() -> None:
    talk = opened(max_message_bytes=1000)
    for number in range(3):
        talk.say(command(number))
        talk.session.replied(Reply(f"c{number}", ok="x" * 600))
    talk.channel.give(output("y" * 5000), output("z"))
    assert talk.tags() == ["reply", "output", "output"]
    assert talk.channel.taken[-1] == ENTRY_BYTES
    assert talk.tags() == ["reply"]
    assert talk.session.pending
    assert talk.tags() == ["reply"]
    assert not talk.session.pending
    assert talk.session.reply_bytes == 0


def test_beats_that_were_not_taken_are_one_beat() -> None:
    talk = opened()
    talk.session.beat()
    talk.session.beat()
    assert talk.session.pending
    assert talk.tags() == ["beat"]


def test_a_session_that_ended_gives_and_takes_nothing() -> None:
    talk = opened()
    talk.say(command(1))
    talk.channel.give(output("abc"))
    talk.session.end()
    talk.session.end()
    talk.session.replied(Reply("c1", ok=None))
    talk.session.beat()
    assert talk.hear() == []
    assert not talk.session.pending
    assert talk.channel.on_ready is None
    assert talk.say(command(2)) == []


def test_an_event_that_is_not_legal_names_state_and_event() -> None:
    talk = Talk()
    with pytest.raises(IllegalSessionEvent, match="'welcomed' is not legal in the state 'waiting for hello'"):
        talk.session.opened(talk.channel, WELCOME)


@pytest.mark.clause("E1", "O2")
def test_after_what_cannot_be_written_a_session_looks_on_until_there_is_nothing() -> None:
    talk = opened()
    looks = len(talk.channel.taken)
    talk.channel.give(ProgressItem("j1", 1, 1, 2, "\ud800"))
    assert talk.hear() == []
    assert len(talk.channel.taken) == looks + 2, "a channel tells of what comes only after an empty list"
    assert [what for what, _ in talk.faults] == ["an item of a session (ProgressItem)"]
