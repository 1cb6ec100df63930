"""How often a session is sent something, and how much at once."""

from __future__ import annotations

import pytest

from tests.transport.fakes import output, snapshot
from tests.transport.talk import HELLO, WELCOME, Talk, opened
from trouper.transport.options import ENTRY_BYTES


@pytest.mark.clause("O5")
def test_a_session_waits_as_long_as_its_client_asks_and_longer_while_nobody_sees_it() -> None:
    talk = Talk()
    talk.say({**HELLO, "coalesce_ms": 100})
    talk.session.opened(talk.channel, WELCOME)
    assert talk.session.coalesce_s is None  # the welcome is a reply
    talk.hear()
    assert talk.session.coalesce_s == 0.1
    for said, waits in [
        ({"t": "coalesce", "ms": 0}, 0.0),
        ({"t": "visible", "visible": False}, 0.5),
        ({"t": "coalesce", "ms": None}, 0.5),
        ({"t": "visible", "visible": True}, None),
        ({"t": "coalesce", "ms": 500}, 0.5),
    ]:
        talk.say(said)
        assert talk.session.coalesce_s == waits, said
    talk.session.beat()
    assert talk.session.coalesce_s is None  # and so does the feed
    talk.hear()
    talk.channel.give(snapshot(2))
    assert talk.session.coalesce_s is None
    talk.hear()
    assert talk.session.coalesce_s == 0.5
    talk.say({"t": "attach", "job": "j1", "attempt": 0, "n": 0})
    assert talk.session.coalesce_s == 0.0  # the answer to an attach waits for nothing
    talk.hear()
    assert talk.session.coalesce_s == 0.0  # nothing has come yet
    talk.channel.give(output("x"))
    talk.hear()
    assert talk.session.coalesce_s == 0.5


@pytest.mark.clause("O5")
def test_what_waits_is_called_due_again_when_the_window_changes() -> None:
    talk = opened()
    for longer, shorter in [
        ({"t": "coalesce", "ms": 500}, {"t": "coalesce", "ms": 0}),
        ({"t": "visible", "visible": False}, {"t": "visible", "visible": True}),
    ]:
        talk.say(longer)
        before = talk.due
        talk.say(shorter)
        assert talk.due == before + 1, "the next look for more, of which nobody tells, waits no longer either"
        talk.say(longer)
        talk.channel.give(output("x"))
        before = talk.due
        talk.say(shorter)
        assert talk.due == before + 1, shorter
        talk.hear()


def test_a_window_that_is_not_legal_is_answered_and_changes_nothing() -> None:
    talk = opened()
    talk.say({"t": "coalesce", "ms": 100}, {"t": "coalesce", "ms": 50})
    [fault] = talk.hear()
    assert fault["message"] == "coalesce: ms is 50; legal are 0, 100, 500, null"
    assert talk.session.coalesce_s == 0.1


@pytest.mark.clause("O4", "O5")
def test_a_message_is_no_larger_than_what_the_peer_takes_in_a_second() -> None:
    talk = opened()
    assert talk.channel.taken == [ENTRY_BYTES]
    sent = 0
    for seconds, limit in [(1.0, 40_000), (0.001, 256 * 1024), (100.0, ENTRY_BYTES)]:
        sent += 40_000
        talk.channel.give(output("x" * 40_000, sent=sent))
        talk.hear()
        talk.now += seconds
        talk.say({"t": "ack", "sent": sent})
        talk.hear()
        assert talk.channel.taken[-1] == limit
        talk.now += 1000  # silence says nothing of the rate


@pytest.mark.clause("O5")
def test_output_that_waited_for_an_ack_goes_at_once_and_what_follows_in_its_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = opened()
    said: list[float | None] = []

    def there_is_room(sent: int, feed: int) -> None:
        talk.channel.give(output("it had filled the window"))
        said.append(talk.session.coalesce_s)

    with monkeypatch.context() as patch:
        patch.setattr(talk.channel, "ack", there_is_room)
        talk.say({"t": "ack", "sent": 0})
    assert said == [0.0]
    assert talk.session.coalesce_s == 0.0
    assert talk.tags() == ["output"]
    assert talk.session.coalesce_s is None


@pytest.mark.clause("O5")
def test_an_ack_of_a_session_that_holds_everything_hastens_nothing() -> None:
    talk = opened()
    talk.say({"t": "ack", "sent": 0})
    talk.channel.give(output("new"))
    assert talk.session.coalesce_s is None


@pytest.mark.clause("O5")
def test_output_that_waited_for_the_store_goes_at_once_and_a_reply_in_its_tick() -> None:
    talk = opened()
    talk.channel.awaits_page = True
    assert talk.session.coalesce_s == 0.0
    talk.session.beat()
    assert talk.session.coalesce_s is None
    talk.hear()
    talk.channel.awaits_page = False
    assert talk.session.coalesce_s is None
