"""The feed window against a plain dictionary, and what a channel tells of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.actors.channel_world import Owner, World
from trouper.actors.channel import SubscriberChannel
from trouper.actors.channel_items import FeedChanges, FeedSnapshot
from trouper.actors.feed import FeedWindow
from trouper.store.protocol import Changes, Snapshot
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


# --- what a channel makes of it ---


def feed_channel(cursor: tuple[str, int] | None) -> tuple[SubscriberChannel, Owner]:
    world = World()
    return world.channel(wants_feed=True, cursor=cursor), world.owner


@pytest.mark.clause("N3")
def test_a_session_gets_its_snapshot_and_then_each_change_from_its_cursor() -> None:
    """Whatever has changed since the snapshot was read comes behind it, and what is in it does not."""
    channel, _ = feed_channel(None)
    window = FeedWindow(10)
    window.start(3, Counts())
    window.merge(Changes(3, 5, (job_at(5, "a"),), (), Counts()))
    channel.feed_opened(window, FeedSnapshot("e", Snapshot(5, (), (), Counts())), None)
    window.merge(Changes(5, 6, (job_at(6, "b"),), (), Counts(1, 1)))
    assert channel.take(1) == [
        FeedSnapshot("e", Snapshot(5, (), (), Counts())),
        FeedChanges("e", Changes(5, 6, (job_at(6, "b"),), (), Counts(1, 1))),
    ]
    window.merge(Changes(6, 7, (job_at(7, "c"),), (), Counts(2, 2)))
    window.merge(Changes(7, 9, (job_at(8, "d"), job_at(9, "b")), (), Counts(3, 3)))
    channel.feed_changed()
    rows = (job_at(7, "c"), job_at(8, "d"), job_at(9, "b"))
    assert channel.take(1) == [FeedChanges("e", Changes(6, 9, rows, (), Counts(3, 3)))]
    assert channel.take(1) == []


@pytest.mark.clause("N3")
def test_a_session_further_behind_than_the_window_asks_the_store() -> None:
    channel, owner = feed_channel(("e", 0))
    window = FeedWindow(2)
    window.start(0, Counts())
    channel.feed_opened(window, None, ("e", 0))
    for seq in range(1, 5):
        window.merge(Changes(seq - 1, seq, (job_at(seq, f"j{seq}"),), (), Counts()))
    assert channel.take(1) == []
    assert owner.feeds_wanted == 1


@pytest.mark.clause("N3")
def test_an_answer_for_a_cursor_that_was_given_up_meanwhile_is_asked_for_again() -> None:
    channel, owner = feed_channel(("e", 3))
    window = FeedWindow(10)
    window.start(7, Counts())
    channel.feed_opened(window, None, ("e", 3))
    channel.resync(("e", 5))
    channel.feed_opened(window, FeedChanges("e", Changes(3, 7, (), (), Counts())), ("e", 3))
    assert channel.take(1) == []
    assert owner.feeds_wanted == 2
