"""A large piece of the feed comes in parts, each of which can be gone on from."""

from __future__ import annotations

import pytest

from trouper.actors.channel_items import FeedChanges, FeedSnapshot
from trouper.actors.feed_pages import first_part, row_bytes
from trouper.store.protocol import Changes, Snapshot
from trouper.store.records import Counts, Job, Notification

pytestmark = pytest.mark.clause("N3", "E2")

COUNTS = Counts(3, 4)


def jobs(*seqs: int) -> tuple[Job, ...]:
    return tuple(
        Job(id=f"j{seq}-{place}", user="ada", name="echo", feed_seq=seq) for place, seq in enumerate(seqs)
    )


def note(seq: int) -> Notification:
    return Notification(id=f"n{seq}", user="ada", job="j", kind="ended", title="t" * 700, feed_seq=seq)


def rows(part: Snapshot | Changes) -> list[Job | Notification]:
    return [*part.jobs, *part.notifications]


def parts(item: FeedSnapshot | FeedChanges, max_bytes: int) -> list[Snapshot | Changes]:
    found: list[Snapshot | Changes] = []
    rest: FeedSnapshot | FeedChanges | None = item
    while rest is not None:
        part, rest = first_part(rest, max_bytes)
        found.append(part.snapshot if isinstance(part, FeedSnapshot) else part.changes)
    return found


def test_what_fits_is_given_as_it_is() -> None:
    item = FeedSnapshot("e", Snapshot(9, jobs(3, 1, 2), (), COUNTS))
    assert first_part(item, 10_000) == (item, None)


@pytest.mark.parametrize("max_bytes", [1, 900, 1300, 5000])
def test_the_parts_follow_each_other_and_each_holds_all_up_to_its_seq(max_bytes: int) -> None:
    whole = Snapshot(10, jobs(7, 1, 5, 3, 9, 2), (note(4), note(8)), COUNTS)
    found = parts(FeedSnapshot("e", whole), max_bytes)
    assert isinstance(found[0], Snapshot)
    held: set[str] = set()
    before = None
    for part in found:
        assert part.counts == COUNTS
        if isinstance(part, Changes):
            assert part.prev == before
        before = part.seq
        held |= {row.id for row in rows(part)}
        due = {row.id for row in rows(whole) if row.feed_seq <= part.seq}
        assert held == due
        assert sum(map(row_bytes, rows(part))) <= max(max_bytes, 1200)
    assert before == 10


def test_what_one_transaction_changed_is_not_divided() -> None:
    changes = Changes(1, 4, jobs(2, 3, 3, 3, 4), (), COUNTS)
    found = parts(FeedChanges("e", changes), 500)
    assert [(part.seq, len(part.jobs)) for part in found] == [(2, 1), (3, 3), (4, 1)]


def test_a_job_s_open_question_counts_as_a_part_of_its_row() -> None:
    asking = tuple(
        Job(id=f"j{seq}", user="ada", name="echo", asking="q" * 9_000, feed_seq=seq) for seq in range(1, 5)
    )
    assert len(parts(FeedSnapshot("e", Snapshot(4, asking, (), COUNTS)), 20_000)) == 2
