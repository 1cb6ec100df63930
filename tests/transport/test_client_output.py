"""The client's copy of an output: frames, gaps, rewinds, ends, bounds."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.transport import client_wire as wire
from tests.transport.client_wire import connected, drain, kinds, watching
from trouper.actors.output_pieces import End, Event, Progress, Rewind, Text
from trouper.transport.client_errors import AttachRefused, OutputCorrupt, OutputGone
from trouper.transport.hashing import LogHash


@pytest.mark.clause("O1")
def test_frames_are_applied_at_the_cursor_and_the_end_is_verified() -> None:
    core, state = watching()
    event = ("source", '{"path": "a.py"}')
    core.received([wire.output(1, 0, 4, ["grüße", list(event), "more"], 30)])
    core.received([wire.output(1, 4, 5, ["!"], 31)])
    core.received([wire.end(1, 5, wire.sha256("grüße", event, "more", "!"), 95)])
    *items, last = drain(core, state)
    assert items == [Text("grüße"), Event("source", {"path": "a.py"}), Text("more"), Text("!")]
    assert last == End(5, wire.sha256("grüße", event, "more!"), verified=True)
    assert state.ended
    core.open_output("j1", 0, 0)  # the same may be opened again


def test_the_hash_is_of_the_texts_and_of_events_between_nuls() -> None:
    digest = LogHash()
    for part in ("ab", "c", ("source", "{}"), "d"):
        digest.update(part)
    assert digest.hexdigest() == hashlib.sha256(b"abc\0source\0{}\0d").hexdigest()


@pytest.mark.clause("O1")
def test_duplicates_and_frames_of_other_attempts_are_passed_over() -> None:
    core, state = watching(attempt=2, n=10)
    core.received([wire.output(2, 10, 12, ["ab"], 2)])
    core.received([wire.output(2, 10, 12, ["ab"], 4), wire.output(1, 12, 13, ["x"], 5)])
    core.received([wire.output(3, 12, 13, ["y"], 6), wire.output(2, 0, 5, ["zzzzz"], 11)])
    assert drain(core, state) == [Text("ab")]
    assert core.take() == []


@pytest.mark.parametrize(("start", "stop"), [(3, 4), (1, 4)])
def test_a_gap_or_an_overlap_has_the_output_attached_again_at_the_cursor_once(start: int, stop: int) -> None:
    core, state = watching()
    core.received([wire.output(1, 0, 2, ["ab"], 2)])
    core.received([wire.output(1, start, stop, ["d"], 3)])
    assert core.take() == [{"t": "attach", "job": "j1", "attempt": 1, "n": 2}]
    core.received([wire.output(1, 4, 5, ["e"], 4)])  # was under way
    assert core.take() == []
    core.received([wire.output(1, 2, 5, ["cde"], 7)])
    assert "".join(item.text for item in drain(core, state) if isinstance(item, Text)) == "abcde"
    assert core.statistics()["reattached"] == 1


def test_an_end_that_does_not_fit_the_cursor_is_a_gap() -> None:
    core, state = watching()
    core.received([wire.output(1, 0, 2, ["ab"], 2), wire.end(1, 3, wire.sha256("abc"), 66)])
    assert not state.ended
    assert {"t": "attach", "job": "j1", "attempt": 1, "n": 2} in core.take()
    core.received([wire.output(1, 2, 3, ["c"], 67), wire.end(1, 3, wire.sha256("abc"), 131)])
    assert state.ended
    assert state.failure is None


def test_an_attach_that_is_answered_by_what_does_not_fit_is_repeated_at_the_next_beat() -> None:
    core, _ = watching()
    core.received([wire.output(1, 5, 6, ["f"], 1)])
    assert core.take() == []  # may have been under way
    core.received([{"t": "beat"}])
    assert kinds(core.take()) == ["beat", "attach"]
    core.received([{"t": "beat"}])
    assert kinds(core.take()) == ["beat"]


@pytest.mark.clause("O3")
def test_a_rewind_goes_back_to_the_last_frame_bound_within_keep_and_tells_what_remains() -> None:
    core, state = watching()
    core.received([wire.output(1, 0, 3, ["abc"], 3), wire.output(1, 3, 5, [["e", "1"], "d"], 6)])
    core.received([wire.output(1, 5, 8, ["efg"], 9)])
    drain(core, state)
    core.received([wire.rewind(2, 6)])
    assert core.take() == [{"t": "attach", "job": "j1", "attempt": 2, "n": 5}]
    assert drain(core, state) == [Rewind(2, keep=5, text_kept=4, events_kept=1)]
    core.received([wire.output(2, 5, 6, ["E"], 10)])
    core.received([wire.end(2, 6, wire.sha256("abc", ("e", "1"), "dE"), 74)])
    assert drain(core, state)[-1] == End(6, wire.sha256("abc", ("e", "1"), "dE"), verified=True)


@pytest.mark.clause("O3")
def test_a_rewind_of_an_older_attempt_is_passed_over_once_the_attach_was_answered() -> None:
    core, state = watching(attempt=3, n=4)
    core.received([wire.output(3, 4, 5, ["e"], 1), wire.rewind(2, 0)])
    assert (core.take(), state.entries) == ([], 5)


@pytest.mark.clause("O3")
def test_a_rewind_of_an_older_attempt_that_answers_an_attach_is_obeyed_and_nothing_stays() -> None:
    core, state = watching(attempt=8, n=0)
    core.received([wire.output(8, 0, 3, ["abc"], 3), wire.rewind(9, 3)])
    core.received([wire.output(9, 3, 5, ["de"], 5)])
    core.closed(None)
    core.opened()
    core.take()
    core.received([wire.welcome(), wire.snapshot(), wire.rewind(1, 2)])  # it is a backup's log now
    assert core.take() == [{"t": "attach", "job": "j1", "attempt": 1, "n": 0}]
    core.received([wire.output(1, 0, 2, ["xy"], 2), wire.end(1, 2, wire.sha256("xy"), 66)])
    assert drain(core, state) == [
        *(Text("abc"), Rewind(9, 3, 3, 0), Text("de"), Rewind(1, 0, 0, 0), Text("xy")),
        End(2, wire.sha256("xy"), verified=True),
    ]


def test_the_first_attempt_of_a_queued_job_takes_nothing_back() -> None:
    core, state = watching(attempt=0)
    core.received([wire.rewind(1, 0)])
    assert core.take() == [{"t": "attach", "job": "j1", "attempt": 1, "n": 0}]
    assert drain(core, state) == []


def test_a_rewind_below_where_the_caller_began_starts_from_nothing_and_is_verified() -> None:
    core, state = watching(attempt=1, n=100)
    core.received([wire.output(1, 100, 101, ["x"], 1), wire.rewind(2, 60)])
    assert core.take() == [{"t": "attach", "job": "j1", "attempt": 2, "n": 0}]
    core.received([wire.output(2, 0, 1, ["y"], 2), wire.end(2, 1, wire.sha256("y"), 66)])
    end = End(1, wire.sha256("y"), verified=True)
    assert drain(core, state) == [Text("x"), Rewind(2, 0, 0, 0), Text("y"), end]


def test_who_began_beyond_the_first_entry_does_not_verify() -> None:
    core, state = watching(attempt=1, n=2)
    core.received([wire.output(1, 2, 3, ["c"], 1), wire.end(1, 3, "no hash of ours", 65)])
    assert drain(core, state) == [Text("c"), End(3, "no hash of ours", verified=False)]


@pytest.mark.clause("O6")
def test_a_wrong_hash_has_all_of_it_fetched_again_once_and_is_then_reported() -> None:
    core, state = watching()
    wrong = wire.sha256("abC")
    core.received([wire.output(1, 0, 3, ["abc"], 3), wire.end(1, 3, wrong, 67)])
    assert core.take()[-1] == {"t": "attach", "job": "j1", "attempt": 0, "n": 0}
    assert drain(core, state) == [Text("abc"), Rewind(1, 0, 0, 0)]
    core.received([wire.rewind(1, 0)])
    assert core.take() == [{"t": "attach", "job": "j1", "attempt": 1, "n": 0}]
    core.received([wire.output(1, 0, 3, ["abc"], 70), wire.end(1, 3, wrong, 134)])
    assert drain(core, state) == [Text("abc")]
    assert isinstance(state.failure, OutputCorrupt)
    assert state.failure.found == wire.sha256("abc")


@pytest.mark.clause("O6")
def test_a_wrong_hash_that_is_right_the_second_time_ends_well() -> None:
    core, state = watching()
    core.received([wire.output(1, 0, 3, ["abc"], 3), wire.end(1, 3, wire.sha256("abC"), 67)])
    core.received(
        [wire.rewind(1, 0), wire.output(1, 0, 3, ["abC"], 70), wire.end(1, 3, wire.sha256("abC"), 134)]
    )
    assert drain(core, state)[-1] == End(3, wire.sha256("abC"), verified=True)


def test_another_epoch_voids_every_cursor() -> None:
    core, state = watching()
    core.received([wire.feed(0, 4), wire.output(1, 0, 3, ["abc"], 3)])
    core.closed(None)
    core.opened()
    core.take()
    core.received([wire.welcome("e2"), wire.snapshot(1, epoch="e2"), wire.output(1, 3, 4, ["d"], 1)])
    assert core.take() == [{"t": "attach", "job": "j1", "attempt": 0, "n": 0}]
    assert drain(core, state) == [Text("abc"), Rewind(0, 0, 0, 0)]
    assert (core.feed.epoch, core.feed.seq) == ("e2", 1)


def test_an_output_that_is_gone_fails_after_what_was_received() -> None:
    core, state = watching()
    core.received([wire.output(1, 0, 1, ["a"], 1), {"t": "gone", "job": "j1", "reason": "unknown"}])
    assert drain(core, state) == [Text("a")]
    assert isinstance(state.failure, OutputGone)
    core.open_output("j1", 0, 0)


def test_only_the_latest_progress_is_kept_and_none_of_an_attempt_that_is_over() -> None:
    core, state = watching(attempt=2)
    for done in (1, 2, 3):
        core.received([{"t": "progress", "job": "j1", "attempt": 2, "done": done, "total": 9, "note": None}])
    core.received([{"t": "progress", "job": "j1", "attempt": 1, "done": 8, "total": None, "note": "late"}])
    assert drain(core, state) == [Progress(2, 3, 9, None)]
    core.received([{"t": "progress", "job": "j1", "attempt": 2, "done": 4, "total": 9, "note": None}])
    core.received([wire.rewind(3, 0)])
    assert drain(core, state) == [Rewind(3, 0, 0, 0)]


@pytest.mark.clause("E2")
def test_an_output_whose_consumer_lags_is_detached_and_attached_again_when_half_was_taken() -> None:
    core, state = watching(output_buffer_bytes=1000)
    pieces = ["x" * 300, "y" * 300, "z" * 300]
    for n, piece in enumerate(pieces):
        core.received([wire.output(1, n, n + 1, [piece], 300 * (n + 1))])
    assert core.take() == [{"t": "detach", "job": "j1"}]
    core.received([wire.output(1, 3, 4, ["was under way"], 913)])
    assert core.read(state) == Text(pieces[0])
    assert core.take() == []
    assert core.read(state) == Text(pieces[1])
    assert core.take() == [{"t": "attach", "job": "j1", "attempt": 1, "n": 3}]
    core.received([wire.output(1, 3, 4, ["after"], 918)])
    assert drain(core, state) == [Text(pieces[2]), Text("after")]
    assert state.buffered_bytes == 0


def test_a_detached_output_is_not_attached_by_a_reconnect_nor_after_it_was_closed() -> None:
    core, state = watching(output_buffer_bytes=1000)
    core.received([wire.output(1, 0, 1, ["x" * 2000], 2000)])
    core.closed(None)
    core.opened()
    assert kinds(core.take()) == ["hello"]
    core.close_output(state)
    core.read(state)
    assert core.take() == []


@pytest.mark.clause("E2")
@pytest.mark.parametrize("keep", [4990, 4000, 2500, 100])
def test_the_bounds_remembered_are_thinned_the_further_back_the_more(keep: int) -> None:
    core, state = watching(max_bounds=64)
    for n in range(5000):
        core.received([wire.output(1, n, n + 1, ["x"], n + 1)])
        core.read(state)
        assert len(state.bounds) <= 64
    assert state.bounds[0] == 0
    core.received([wire.rewind(2, keep)])
    kept = state.entries
    assert 0 <= keep - kept <= (5000 - keep) / 5
    core.received([wire.output(2, kept, keep + 1, ["x" * (keep - kept) + "y"], 5100)])
    digest = wire.sha256("x" * keep + "y")
    core.received([wire.end(2, keep + 1, digest, 5164)])
    assert drain(core, state)[-1] == End(keep + 1, digest, verified=True)


def test_a_job_s_output_is_open_once_at_a_time_and_only_so_many_are() -> None:
    core = connected(max_outputs=2)
    one = core.open_output("j1", 0, 0)
    with pytest.raises(AttachRefused, match="open already"):
        core.open_output("j1", 0, 0)
    core.open_output("j2", 0, 0)
    with pytest.raises(AttachRefused, match="2 outputs"):
        core.open_output("j3", 0, 0)
    core.close_output(one)
    core.open_output("j3", 0, 0)
    assert [(item["t"], item["job"]) for item in core.take()] == [("attach", "j2"), ("attach", "j3")]


@pytest.mark.parametrize("cursor", [(0, 5), (-1, 0), (1, -1), (1.5, 0), (1, "0"), (True, 0), (2**53, 0)])
def test_an_impossible_cursor_is_refused(cursor: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="a cursor is"):
        connected().open_output("j1", *cursor)


def test_the_end_tells_how_the_job_ended_if_the_feed_has() -> None:
    core, state = watching()
    core.received([wire.feed(0, 1, jobs=(wire.job(state="completed"),)), wire.end(1, 0, wire.sha256(), 64)])
    assert drain(core, state) == [End(0, wire.sha256(), verified=True, state="completed")]
