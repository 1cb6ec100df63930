"""What cannot be written as JSON, whatever it is and wherever it comes from, ends no session."""

from __future__ import annotations

from typing import Any

import pytest

from tests.transport.fakes import output
from tests.transport.talk import opened
from trouper.actors.channel_items import FeedChanges, FeedSnapshot, GoneItem, OutputItem, ProgressItem
from trouper.store.protocol import Changes, Snapshot
from trouper.store.records import Counts, Job, Notification
from trouper.transport.messages import Reply
from trouper.transport.session_state import SessionState

LONE = "\ud800"


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.clause("E1")
@pytest.mark.parametrize(
    "bad",
    [
        ProgressItem("j1", 1, 1.0, 2.0, LONE),
        ProgressItem("j1", 1, 2**70, None, None),
        ProgressItem("j1", 1, "some", None, None),  # type: ignore[arg-type]
        object(),
    ],
)
def test_an_item_that_cannot_be_written_is_left_out_and_reported_once_and_the_rest_goes(bad: Any) -> None:
    talk = opened()
    talk.channel.give(GoneItem("j0", "unknown"), bad, output("hi"))
    talk.session.beat()
    assert talk.tags() == ["beat", "gone", "output"]
    talk.channel.give(bad, bad, output("more", 1))
    assert talk.tags() == ["output"]
    assert talk.session.state is SessionState.OPEN
    [(what, _)] = talk.faults
    assert type(bad).__name__ in what


@pytest.mark.clause("E1", "N3")
def test_a_row_that_cannot_be_written_takes_no_other_row_and_no_seq_from_the_feed() -> None:
    talk = opened()
    jobs = (Job(id="j1", user="ada", name="echo", error=LONE), Job(id="j2", user="ada", name="echo"))
    mail = (Notification(id="n1", user="ada", job="j1", kind="ended", title=LONE),)
    talk.channel.give(
        FeedSnapshot("e1", Snapshot(3, jobs, mail, Counts(1, 1))),
        FeedChanges("e1", Changes(3, 4, jobs, mail, Counts(1, 1))),
    )
    snapshot, feed = talk.hear()
    assert (snapshot["seq"], feed["prev"], feed["seq"]) == (3, 3, 4)
    for item in (snapshot, feed):
        assert [row["id"] for row in item["jobs"]] == ["j2"]
        assert item["notifications"] == []
        assert item["counts"] == {"unseen": 1, "unread": 1}
    assert len(talk.faults) == 2  # once of each type


@pytest.mark.clause("E1", "O2")
def test_an_output_that_cannot_be_written_is_gone_and_leaves_no_gap() -> None:
    talk = opened()
    talk.channel.give(
        output("good"), output(LONE, 1), output("behind it", 2), OutputItem("j2", 1, 0, 1, ["another"], 7)
    )
    first, gone, other = talk.hear()
    assert (first["t"], first["to"]) == ("output", 1)
    assert gone == {"t": "gone", "job": "j1", "reason": "internal"}
    assert (other["t"], other["job"]) == ("output", "j2")
    assert talk.channel.calls == [("detach", "j1")]
    assert len(talk.faults) == 1


@pytest.mark.clause("E1")
@pytest.mark.parametrize("bad", [nested(300), LONE, 2**70, {7: "a key that is no string"}, object()])
def test_a_reply_that_cannot_be_written_is_internal_for_that_id_alone(bad: Any) -> None:
    talk = opened()
    talk.say({"t": "job", "id": "c1", "job": "j"}, {"t": "job", "id": "c2", "job": "j"})
    talk.session.replied(Reply("c1", ok={"job": {"arguments": bad}}))
    talk.session.replied(Reply("c2", ok={"job": None}))
    first, second = talk.hear()
    assert (first["id"], first["error"]["code"], first["error"]["retryable"]) == ("c1", "internal", False)
    assert (second["id"], second["ok"]) == ("c2", {"job": None})
    assert talk.session.state is SessionState.OPEN
    assert [what for what, _ in talk.faults] == ["a command's reply"]
