"""The client's protocol state, item by item."""

from __future__ import annotations

from typing import Any

import pytest

from tests.transport import client_wire as wire
from tests.transport.client_wire import CLOCK, connected, kinds, make_core, watching
from trouper.transport.client_core import ClientCore
from trouper.transport.client_errors import CommandFailed
from trouper.transport.client_events import Broken, FeedChanged, ItemRefused, Replied
from trouper.transport.client_options import ClientOptions

# --- the connection ---------------------------------------------------------------------------


def test_the_first_items_are_a_hello_the_outputs_at_their_cursors_and_the_unanswered_commands() -> None:
    core = ClientCore(options=ClientOptions(), uniform=lambda low, high: high, clock=CLOCK, token="secret")
    core.open_output("j1", 0, 0)
    core.command("job", {"job": "j1"})
    assert core.take() == []  # no connection yet
    core.opened()
    assert core.take() == [
        {"t": "hello", "visible": True, "feed": None, "token": "secret"},
        {"t": "attach", "job": "j1", "attempt": 0, "n": 0},
        {"t": "job", "id": "c1", "job": "j1"},
    ]
    assert core.take() == []


def test_after_a_reconnect_the_cursors_held_are_told_and_unanswered_commands_sent_again() -> None:
    core, _ = watching()
    answered, unanswered = core.command("job", {"job": "a"}), core.command("job", {"job": "b"})
    core.take()
    core.received([{"t": "reply", "id": answered, "ok": {}}, wire.feed(0, 3)])
    core.received([wire.output(1, 0, 5, ["hello"], 5)])
    core.closed(1006)
    core.opened()
    assert core.take() == [
        {"t": "hello", "visible": True, "feed": {"epoch": "e1", "seq": 3}},
        {"t": "attach", "job": "j1", "attempt": 1, "n": 5},
        {"t": "job", "id": unanswered, "job": "b"},
    ]


def test_a_command_that_nobody_waits_for_is_not_sent_again_and_its_late_reply_is_passed_over() -> None:
    core = connected()
    sent, unsent = core.command("jobs", {}), core.command("jobs", {})
    core.abandon(unsent)
    assert [item["id"] for item in core.take()] == [sent]
    core.abandon(sent)
    assert core.received([{"t": "reply", "id": sent, "ok": {}}]) == []
    core.closed(None)
    core.opened()
    assert kinds(core.take()) == ["hello"]


def test_no_more_commands_are_pending_at_the_server_than_it_allows() -> None:
    core = connected(max_pending_commands=2)
    first = core.command("job", {"job": "a"})
    for name in "bcd":
        core.command("job", {"job": name})
    assert [item["job"] for item in core.take()] == ["a", "b"]
    assert not core.pending
    core.abandon(first)  # the server still works on it
    assert core.take() == []
    core.received([{"t": "reply", "id": first, "ok": {}}])
    assert [item["job"] for item in core.take()] == ["c"]


def test_a_reply_is_an_ok_or_an_error_with_its_code() -> None:
    core = connected()
    one, two = core.command("job", {"job": "a"}), core.command("job", {"job": "b"})
    core.take()
    error = {"code": "unknown", "message": "no such job", "retryable": False}
    events = core.received(
        [{"t": "reply", "id": two, "error": error}, {"t": "reply", "id": one, "ok": {"x": 1}}]
    )
    assert [event.id for event in events if isinstance(event, Replied)] == [two, one]
    failed, ok = events
    assert isinstance(failed, Replied)
    assert isinstance(failed.error, CommandFailed)
    assert (failed.error.code, failed.error.retryable) == ("unknown", False)
    assert isinstance(ok, Replied)
    assert ok.ok == {"x": 1}
    assert core.received([{"t": "reply", "id": one, "ok": {}}]) == []  # a second answer


@pytest.mark.parametrize("code", [None, 1000, 1006, 1011, 4001, 4002, 4008, 4009])
def test_the_client_comes_back_after(code: int | None) -> None:
    core = connected()
    assert core.closed(code) == 0.5


@pytest.mark.parametrize("code", [4501, 4503, 4504, 4599])
def test_the_client_stays_away_after(code: int) -> None:
    core = connected()
    assert core.closed(code) is None


def test_the_back_off_doubles_with_each_failure_up_to_its_maximum() -> None:
    core = make_core()
    delays = [core.closed(None) for _ in range(40)]
    assert delays[:8] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert delays[-1] == 30


def test_the_back_off_starts_again_once_a_connection_has_lasted_not_with_its_welcome() -> None:
    core = make_core(stable_s=10)
    delays = []
    for _ in range(4):
        connected(core)
        delays.append(core.closed(4002, 9.9))
    assert delays == [0.5, 1, 2, 4]
    connected(core)
    assert [core.closed(4002, 10), core.closed(4002)] == [0.5, 1]


def test_the_delay_is_a_uniform_draw_from_zero_to_the_ceiling() -> None:
    asked = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return 0.25

    core = ClientCore(options=ClientOptions(), uniform=uniform, clock=CLOCK)
    assert core.closed(None) == 0.25
    assert asked == [(0, 0.5)]


def test_each_beat_is_answered() -> None:
    core = connected()
    core.received([{"t": "beat"}])
    assert core.take() == [{"t": "beat"}]
    assert core.take() == []


def test_visibility_is_told_in_the_hello_and_whenever_it_changes() -> None:
    core = connected()
    core.set_visible(True)
    assert core.take() == []
    core.set_visible(False)
    assert core.take() == [{"t": "visible", "visible": False}]
    core.closed(None)
    core.opened()
    assert core.take()[0]["visible"] is False


@pytest.mark.parametrize(
    ("items", "named"),
    [
        ({"t": "beat"}, "array"),
        ([["beat"]], "object"),
        ([{"type": "beat"}], "'t'"),
        ([wire.welcome()], "second welcome"),
        ([{**wire.output(1, 0, 1, ["a"], 1), "from": 0.0}], "'from'"),
        ([{**wire.output(1, 0, 1, ["a"], 1), "sent": True}], "'sent'"),
        ([wire.output(1, 3, 3, ["a"], 1)], "above 'from'"),
        ([wire.output(1, 0, 1, [7], 1)], "part"),
        ([wire.output(1, 0, 1, [["source", "{"]], 1)], "JSON"),
        ([wire.output(1, 0, 1, ["a"], 9), wire.output(1, 1, 2, ["a"], 8)], "went back"),
        ([wire.feed(0, 1, jobs=({**wire.job(), "attempt": "1"},))], "'attempt'"),
        ([{"t": "reply", "id": "c1"}], "'ok'"),
        ([{"t": "progress", "job": "j1", "attempt": 1, "done": "3"}], "'done'"),
    ],
)
def test_what_breaks_the_protocol_drops_the_connection_and_is_named(items: Any, named: str) -> None:
    core = connected()
    core.command("jobs", {})
    core.take()
    last = core.received(items)[-1]
    assert isinstance(last, Broken)
    assert named in last.reason


def test_nothing_is_taken_before_the_welcome() -> None:
    core = make_core()
    core.opened()
    assert isinstance(core.received([wire.snapshot(5)])[-1], Broken)
    assert core.feed.epoch is None


def test_what_came_before_a_fault_in_a_message_counts() -> None:
    core = connected()
    events = core.received([wire.feed(0, 1, jobs=(wire.job(),)), 7])
    assert isinstance(events[0], FeedChanged)
    assert "j1" in core.feed.jobs


def test_unknown_item_types_and_unknown_fields_are_passed_over() -> None:
    core = connected()
    assert core.received([{"t": "confetti", "amount": 3}, {"t": "beat", "of": "drums"}]) == []
    assert kinds(core.take()) == ["beat"]


def test_a_refused_item_is_told_and_the_connection_goes_on() -> None:
    core = connected()
    (event,) = core.received([{"t": "error", "code": "bad_request", "message": "too many attached"}])
    assert event == ItemRefused("bad_request", "too many attached")


# --- acks -------------------------------------------------------------------------------------


@pytest.mark.clause("O4")
def test_an_ack_is_due_when_half_a_window_is_unacknowledged() -> None:
    core = make_core()
    core.opened()
    core.received([wire.welcome(window=100), wire.snapshot(7)])
    core.open_output("j1", 1, 0)
    core.take()
    core.received([wire.output(1, 0, 1, ["x" * 49], 49)])
    assert core.take() == []
    core.received([wire.output(1, 1, 2, ["x"], 50)])
    assert core.take() == [{"t": "ack", "sent": 50, "feed": 7}]
    core.received([wire.output(1, 2, 3, ["x" * 49], 99)])
    assert core.take() == []


def test_output_of_closed_iterators_is_acknowledged_too() -> None:
    core, state = watching()
    core.close_output(state)
    assert core.take() == [{"t": "detach", "job": "j1"}]
    core.received([wire.output(1, 0, 1, ["x" * 200_000], 200_000)])
    assert core.take() == [{"t": "ack", "sent": 200_000, "feed": 0}]


def test_the_end_of_an_output_is_acknowledged_at_once() -> None:
    core, _ = watching()
    core.received([wire.output(1, 0, 1, ["x"], 1)])
    assert core.take() == []
    core.received([wire.end(1, 1, wire.sha256("x"), 65)])
    assert core.take() == [{"t": "ack", "sent": 65, "feed": 0}]


def test_a_notification_is_acknowledged_at_once() -> None:
    core = connected()
    core.received([wire.feed(0, 1, jobs=(wire.job(),))])
    assert core.take() == []
    core.received([wire.feed(1, 2, notes=(wire.notification(),))])
    assert core.take() == [{"t": "ack", "sent": 0, "feed": 2}]


def test_what_was_sent_is_counted_anew_on_each_connection() -> None:
    core, _ = watching()
    core.received([wire.output(1, 0, 1, ["x" * 300], 300)])
    core.closed(None)
    core.opened()
    core.take()
    core.received([wire.welcome(), wire.feed(0, 1), wire.output(1, 1, 2, ["y"], 1)])
    core.received([wire.end(1, 2, wire.sha256("x" * 300, "y"), 65)])
    assert core.take() == [{"t": "ack", "sent": 65, "feed": 1}]


# --- the feed ---------------------------------------------------------------------------------


@pytest.mark.clause("N3")
def test_changes_are_applied_only_if_they_follow_the_cursor() -> None:
    core = connected(None, wire.snapshot(5))
    core.received([wire.feed(5, 7, jobs=(wire.job(seq=7),))])
    assert (core.feed.seq, set(core.feed.jobs)) == (7, {"j1"})
    assert core.received([wire.feed(8, 9, jobs=(wire.job("j2", seq=9),))]) == []
    assert (core.feed.seq, set(core.feed.jobs)) == (7, {"j1"})
    assert core.take() == [{"t": "resync", "feed": {"epoch": "e1", "seq": 7}}]


@pytest.mark.clause("N3")
def test_a_resync_is_asked_for_once_and_ends_with_a_feed_from_the_cursor_or_a_snapshot() -> None:
    core = connected(None, wire.snapshot(5))
    core.received([wire.feed(6, 7), wire.feed(7, 8)])
    assert kinds(core.take()) == ["resync"]
    core.received([wire.feed(8, 9)])
    assert core.take() == []
    core.received([wire.feed(5, 9), wire.feed(9, 10)])
    assert core.feed.seq == 10
    core.received([wire.feed(11, 12)])
    assert kinds(core.take()) == ["resync"]
    core.received([wire.snapshot(12), wire.feed(12, 13)])
    assert core.feed.seq == 13


@pytest.mark.clause("N3")
def test_a_resync_of_a_client_that_holds_nothing_has_no_cursor() -> None:
    core = make_core()
    core.opened()
    core.take()
    core.received([wire.welcome(), wire.feed(3, 4), wire.feed(4, 5)])
    assert core.take() == [{"t": "resync", "feed": None}]
    core.received([wire.snapshot(5), wire.feed(5, 6)])
    assert core.feed.cursor == {"epoch": "e1", "seq": 6}


def test_a_feed_of_another_epoch_is_not_applied() -> None:
    core = connected(None, wire.snapshot(5))
    core.received([wire.feed(5, 6, epoch="e2", jobs=(wire.job(),))])
    assert (core.feed.seq, core.feed.epoch, dict(core.feed.jobs)) == (5, "e1", {})
    assert kinds(core.take()) == ["resync"]


def test_a_snapshot_replaces_everything() -> None:
    core = connected(None, wire.snapshot(5, jobs=(wire.job("old"),), notes=(wire.notification("n-old"),)))
    core.received([wire.snapshot(9, jobs=(wire.job("new"),))])
    assert (set(core.feed.jobs), core.feed.notifications, core.feed.counts.unread) == ({"new"}, (), 0)


def test_a_reader_of_changes_gets_the_latest_of_each_row_that_changed_since() -> None:
    core = connected(None, wire.snapshot(1, jobs=(wire.job("a", seq=1), wire.job("b", seq=1))))
    first = core.feed.changes_since(-1, -1)
    assert first is not None
    assert (first.replaced, len(first.jobs), first.seq) == (True, 2, 1)
    seen = core.feed.snapshots
    assert core.feed.changes_since(1, seen) is None
    core.received([wire.feed(1, 2, jobs=(wire.job("a", seq=2),))])
    core.received([wire.feed(2, 3, jobs=(wire.job("a", seq=3, state="completed"),))])
    change = core.feed.changes_since(1, seen)
    assert change is not None
    assert [(job.id, job.state) for job in change.jobs] == [("a", "completed")]
    assert not change.replaced


def test_an_archived_notification_is_told_as_a_change_and_shown_no_more() -> None:
    core = connected(None, wire.snapshot(1, notes=(wire.notification("n1", seq=1),)))
    core.received([wire.feed(1, 2, notes=(wire.notification("n1", seq=2, archived=True),))])
    change = core.feed.changes_since(1, core.feed.snapshots)
    assert change is not None
    assert [row.archived for row in change.notifications] == [True]
    assert core.feed.notifications == ()


@pytest.mark.clause("E2")
def test_of_ended_jobs_and_notifications_only_the_latest_are_remembered() -> None:
    core = connected(feed_ended_jobs=3, feed_notifications=2)
    for n in range(1, 20):
        row = wire.job(f"j{n}", seq=n, state="completed" if n > 5 else "running")
        core.received([wire.feed(n - 1, n, jobs=(row,), notes=(wire.notification(f"n{n}", seq=n),))])
    assert sorted(core.feed.jobs) == sorted(["j1", "j2", "j3", "j4", "j5", "j17", "j18", "j19"])
    assert {row.id for row in core.feed.notifications} == {"n18", "n19"}


def test_without_rows_the_feed_keeps_its_cursor_and_counts() -> None:
    core = ClientCore(options=ClientOptions(), uniform=lambda low, high: high, clock=CLOCK, feed_rows=False)
    connected(core, wire.snapshot(4, jobs=(wire.job(),), notes=(wire.notification(),)))
    assert (core.feed.seq, dict(core.feed.jobs), core.feed.counts.unread) == (4, {}, 1)


def test_how_long_output_may_be_gathered_is_said_in_the_hello_and_when_it_changes() -> None:
    core = ClientCore(options=ClientOptions(), uniform=lambda low, high: high, clock=CLOCK, coalesce_ms=100)
    core.opened()
    assert core.take()[0]["coalesce_ms"] == 100
    core.set_coalesce(100)
    assert core.take() == []
    core.set_coalesce(None)
    assert core.take() == [{"t": "coalesce", "ms": None}]
    core.closed(None)
    core.set_coalesce(0)
    core.opened()
    assert core.take() == [{"t": "hello", "visible": True, "feed": None, "coalesce_ms": 0}]


@pytest.mark.parametrize("wrong", [50, -1, 500.0, "0", True])
def test_a_window_that_the_server_would_refuse_is_refused_at_the_call(wrong: Any) -> None:
    core = wire.make_core()
    with pytest.raises(ValueError, match="legal are None"):
        core.set_coalesce(wrong)
    core.opened()
    assert "coalesce_ms" not in core.take()[0]


@pytest.mark.clause("J4")
def test_places_in_the_queue_are_replaced_and_told_as_a_change_and_end_with_the_connection() -> None:
    core = connected(None, wire.snapshot(1, jobs=(wire.job("a", state="queued", seq=1),)))
    seen = core.feed.snapshots, core.feed.places
    assert core.received([{"t": "queue", "places": [{"job": "a", "place": 3}, {"job": "b", "place": 9}]}])
    assert dict(core.feed.places) == {"a": 3, "b": 9}
    change = core.feed.changes_since(1, *seen)
    assert change is not None
    assert (change.jobs, dict(change.places)) == ((), {"a": 3, "b": 9})
    assert core.feed.changes_since(1, seen[0], change.places) is None
    core.received([{"t": "queue", "places": [{"job": "a", "place": 1}]}])
    assert dict(core.feed.places) == {"a": 1}
    core.closed(1006)
    core.opened()
    assert dict(core.feed.places) == {}


@pytest.mark.parametrize("places", [None, {}, [7], [{"job": 7, "place": 1}], [{"job": "a", "place": "1"}]])
def test_places_that_are_none_break_the_connection(places: object) -> None:
    core = connected(None, wire.snapshot(1))
    (broken,) = core.received([{"t": "queue", "places": places}])
    assert isinstance(broken, Broken)
