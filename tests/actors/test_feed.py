"""The feed window against a plain dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trouper.actors.feed import FeedWindow
from trouper.store.protocol import Changes
from trouper.store.records import Counts, Job


def job_at(seq: int, id: str = "j") -> Job:
    return Job(id=id, user="ada", name="reply", feed_seq=seq)


@pytest.mark.clause("N3")
@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 40))
def test_a_window_gives_the_latest_state_of_each_row_after_a_cursor(rows: list[int], cursor: int) -> None:
    window = FeedWindow(4)
    window.start(0, Counts())
    latest: dict[str, int] = {}
    for seq, row in enumerate(rows, start=1):
        window.merge(Changes(seq - 1, seq, (job_at(seq, str(row)),), (), Counts()))
        latest[str(row)] = seq
    changes = window.since(cursor)
    if changes is None:
        assert cursor > len(rows) or cursor < window.floor
        return
    assert {job.id: job.feed_seq for job in changes.jobs} == {
        id: seq for id, seq in latest.items() if seq > cursor
    }


def test_changes_that_do_not_follow_are_refused_naming_both_places() -> None:
    window = FeedWindow(4)
    window.start(3, Counts())
    with pytest.raises(ValueError, match="changes after 5, but the window is at 3"):
        window.merge(Changes(5, 6, (job_at(6),), (), Counts()))
