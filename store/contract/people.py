"""The contract of every engine: cancels, notifications, marks, feeds and lists."""

from __future__ import annotations

import pytest

from trouper.store.contract.world import World, clause, notice_of, options, sha256
from trouper.store.errors import DataRefused
from trouper.store.protocol import (
    CancelAnswer,
    CancelResult,
    Changes,
    EndingKind,
    Notified,
    RefusalReason,
    Refused,
    Snapshot,
)
from trouper.store.records import Counts, JobState


@clause("J2")
async def test_cancelling_a_queued_job_ends_it_and_does_not_notify_by_default(world: World) -> None:
    await world.admit("j1")
    answer = await world.store.cancel("j1", "ada")
    assert answer.answer is CancelAnswer.ACCEPTED
    assert answer.job == await world.row("j1")
    job = answer.job
    assert job is not None
    assert (job.state, job.reason, job.sha256) == (JobState.CANCELLED, "user", sha256([]))
    assert await world.store.notifications("ada") == ()
    assert (await world.store.claim(9)).started == ()


@clause("J2")
async def test_a_cancelled_job_that_waits_for_another_attempt_keeps_its_log(world: World) -> None:
    job = await world.start("j1", options=options(attempts=2, notify_on=("cancelled",)))
    await world.write(job, "a")
    await world.end(job, EndingKind.CRASHED)
    answer = await world.store.cancel("j1", None)
    assert answer.job is not None
    assert (answer.job.entries, answer.job.sha256, answer.job.attempt) == (1, sha256(["a"]), 1)
    assert [row.title for row in await world.store.notifications("ada")] == ["report cancelled"]


@clause("J2")
async def test_cancelling_a_running_job_records_the_intent_once(world: World) -> None:
    await world.start("j1")
    answer = await world.store.cancel("j1", "ada")
    assert answer.job is not None
    assert (answer.answer, answer.job.cancel_requested) == (CancelAnswer.ACCEPTED, True)
    assert answer.job.state is JobState.RUNNING
    assert await world.store.cancel("j1", "ada") == answer


@clause("J2")
async def test_a_cancel_of_what_ended_or_is_unknown_says_so(world: World) -> None:
    await world.end(await world.start("j1"))
    assert await world.store.cancel("j1", "ada") == CancelResult(
        CancelAnswer.ALREADY_ENDED, await world.row("j1")
    )
    assert await world.store.cancel("nobody", "ada") == CancelResult(CancelAnswer.UNKNOWN)
    await world.admit("j2", user="bob")
    assert await world.store.cancel("j2", "ada") == CancelResult(CancelAnswer.UNKNOWN)


# --- notifications and marks --------------------------------------------------------------------


@clause("N1")
async def test_a_notification_by_the_job_is_unique_on_its_key_over_attempts(world: World) -> None:
    job = await world.start("j1", options=options(attempts=2), thread="t")
    first = await world.store.notify(notice_of(job, "half"))
    assert isinstance(first, Notified)
    assert (first.created, first.notification.thread) == (True, "t")
    await world.restart()
    (again,) = (await world.store.claim(1)).started
    repeated = await world.store.notify(notice_of(again, "half", id="other", title="other"))
    assert repeated == Notified(first.notification, created=False)
    assert isinstance(await world.store.notify(notice_of(again, "")), Notified)
    assert [row.key for row in await world.store.notifications("ada")] == ["", "half"]
    late = await world.store.notify(notice_of(job, "late"))
    assert isinstance(late, Refused)
    assert late.reason is RefusalReason.FENCED


async def _three_notifications(world: World) -> None:
    job = await world.start("j1")
    await world.store.notify(notice_of(job, "a", id="na"))
    await world.store.notify(notice_of(job, "b", id="nb"))
    await world.end(job)


@clause("N5")
async def test_marks_are_apart_and_read_and_archived_imply_seen(world: World) -> None:
    await _three_notifications(world)
    assert (await world.store.snapshot("ada", 0)).counts == Counts(unseen=3, unread=3)
    assert await world.store.mark("ada", "seen", ids=("na",)) == Counts(unseen=2, unread=3)
    assert await world.store.mark("ada", "read", ids=("na", "nb")) == Counts(unseen=1, unread=1)
    assert await world.store.mark("ada", "archived", ids=("nb",)) == Counts(unseen=1, unread=1)
    assert [row.id for row in await world.store.notifications("ada")][1:] == ["na"]
    assert await world.store.mark("ada", "archived", job_id="j1") == Counts()
    assert await world.store.notifications("ada") == ()


@clause("N5")
async def test_a_mark_is_set_once_and_moves_the_feed_only_if_it_changed_something(world: World) -> None:
    await _three_notifications(world)
    world.wall.now = 2000.0
    await world.store.mark("ada", "read", ids=("na",))
    before = await world.store.snapshot("ada", 50)
    world.wall.now = 3000.0
    counts = await world.store.mark("ada", "read", ids=("na", "unknown"))
    await world.store.mark("bob", "read", ids=("nb",))
    await world.store.mark("ada", "seen")
    assert await world.store.snapshot("ada", 50) == before
    assert counts == before.counts
    (row,) = [row for row in before.notifications if row.id == "na"]
    assert (row.seen_at, row.read_at) == (2000.0, 2000.0)


@clause("N5")
async def test_everything_up_to_a_feed_seq_can_be_marked(world: World) -> None:
    await _three_notifications(world)
    newest, *_ = await world.store.notifications("ada")
    assert await world.store.mark("ada", "seen", upto_seq=newest.feed_seq - 1) == Counts(unseen=1, unread=3)
    assert await world.store.mark("ada", "seen", upto_seq=newest.feed_seq) == Counts(unseen=0, unread=3)


async def test_an_unknown_mark_is_refused(world: World) -> None:
    with pytest.raises(DataRefused, match="legal: seen, read, archived"):
        await world.store.mark("ada", "liked", ids=("na",))  # type: ignore[arg-type]


# --- the feed -----------------------------------------------------------------------------------


@clause("N3")
async def test_every_change_of_a_row_moves_the_feed_of_its_user_by_one(world: World) -> None:
    seqs = []

    async def seq() -> None:
        seqs.append((await world.store.snapshot("ada", 0)).seq)

    await seq()
    job = await world.start("j1", options=options(attempts=2))
    await seq()
    await world.savepoint(job, 0, "1")
    await seq()
    await world.store.unsafe("j1", job.fence, "step")
    await world.store.unsafe("j1", job.fence, None)
    await seq()
    await world.store.notify(notice_of(job, "k"))
    await seq()
    await world.store.cancel("j1", "ada")
    await seq()
    await world.end(job)
    await seq()
    await world.store.mark("ada", "seen", job_id="j1")
    await seq()
    assert seqs == [0, 2, 3, 5, 6, 7, 8, 9]
    assert (await world.store.snapshot("bob", 0)).seq == 0


@clause("N3")
async def test_changes_are_the_latest_state_of_the_rows_stamped_since(world: World) -> None:
    for id in ("j1", "j2"):
        await world.admit(id)
    await world.admit("other", user="bob")
    changes = await world.store.changes_since("ada", 1, 50)
    assert changes == Changes(1, 2, (await world.row("j2"),), (), Counts())
    (job, _, _) = (await world.store.claim(9)).started
    await world.end(job)
    changes = await world.store.changes_since("ada", 1, 50)
    assert changes is not None
    assert [row.id for row in changes.jobs] == ["j2", "j1"]
    assert [row.job for row in changes.notifications] == ["j1"]
    assert (changes.prev, changes.seq, changes.counts) == (1, 4, Counts(1, 1))
    assert await world.store.changes_since("ada", 4, 50) == Changes(4, 4, (), (), Counts(1, 1))


@clause("N3")
async def test_a_cursor_that_is_ahead_too_old_or_too_far_behind_gets_a_snapshot_instead(
    world: World,
) -> None:
    await _three_notifications(world)
    seq = (await world.store.snapshot("ada", 0)).seq
    assert await world.store.changes_since("ada", seq + 1, 50) is None
    assert await world.store.changes_since("ada", -1, 50) is None
    assert await world.store.changes_since("ada", 0, 3) is None
    assert await world.store.changes_since("ada", 0, 4) is not None
    assert await world.store.changes_since("nobody", 0, 4) == Changes(0, 0, (), (), Counts())


@clause("N2")
async def test_a_snapshot_holds_active_jobs_the_newest_notifications_and_counts(world: World) -> None:
    assert await world.store.snapshot("ada", 50) == Snapshot(0, (), (), Counts())
    await _three_notifications(world)
    await world.admit("j2")
    await world.admit("j3")
    await world.store.mark("ada", "archived", ids=("nb",))
    snapshot = await world.store.snapshot("ada", 1)
    assert [job.id for job in snapshot.jobs] == ["j2", "j3"]
    assert [row.title for row in snapshot.notifications] == ["report completed"]
    assert snapshot.counts == Counts(2, 2)


async def test_the_feed_counts_on_after_a_restart(world: World) -> None:
    await _three_notifications(world)
    before = await world.store.snapshot("ada", 50)
    await world.restart()
    assert await world.store.snapshot("ada", 50) == before
    assert (await world.admit("j2")).feed_seq == before.seq + 1


@clause("N3")
async def test_a_commit_tells_its_rows_its_feeds_and_whether_something_may_be_claimed(world: World) -> None:
    job = await world.admit("j1")
    notice = world.notices[-1]
    assert (notice.jobs, notice.feeds, notice.due, notice.outputs) == ((job,), {"ada": 1}, True, {})
    (job,) = (await world.store.claim(1)).started
    assert (world.notices[-1].jobs, world.notices[-1].due) == ((job,), False)
    job = await world.end(job)
    assert (world.notices[-1].jobs, world.notices[-1].due) == ((job,), True)
    await world.store.mark("ada", "read", job_id="j1")
    assert (world.notices[-1].jobs, world.notices[-1].feeds) == ((), {"ada": 4})
    told = len(world.notices)
    await world.store.cancel("j1", "ada")
    await world.store.claim(5)
    assert len(world.notices) == told, "what changed nothing is not told"


# --- lists --------------------------------------------------------------------------------------


async def test_jobs_are_listed_newest_first_page_by_page(world: World) -> None:
    for place in range(5):
        await world.admit(f"j{place}", thread="t" if place % 2 else None)
    await world.admit("other", user="bob", thread="t")

    async def ids(**query: object) -> list[str]:
        return [job.id for job in await world.store.jobs("ada", **query)]  # type: ignore[arg-type]

    assert await ids() == ["j4", "j3", "j2", "j1", "j0"]
    assert await ids(limit=2) == ["j4", "j3"]
    assert await ids(before="j3", limit=2) == ["j2", "j1"]
    assert await ids(thread="t") == ["j3", "j1"]
    assert await ids(thread="t", before="j3") == ["j1"]
    for nothing in ({"before": "other"}, {"before": "unknown"}, {"limit": 0}, {"limit": -1}, {"thread": "u"}):
        assert await ids(**nothing) == []


async def test_threads_are_listed_by_their_newest_job(world: World) -> None:
    for id, thread in (("j1", "a"), ("j2", "b"), ("j3", "a"), ("j4", None), ("j5", "c")):
        await world.admit(id, thread=thread)
    await world.store.cancel("j1", "ada")
    summaries = await world.store.threads("ada")
    shown = [(row.thread, row.jobs, row.active, row.first.id, row.last.id) for row in summaries]
    assert shown == [("c", 1, 1, "j5", "j5"), ("a", 2, 1, "j1", "j3"), ("b", 1, 1, "j2", "j2")]
    assert await world.store.threads("ada", limit=1) == summaries[:1]
    assert await world.store.threads("ada", before="c", limit=1) == summaries[1:2]
    assert await world.store.threads("ada", before="b") == ()
    assert await world.store.threads("ada", before="unknown") == ()
    assert await world.store.threads("bob") == ()


async def test_notifications_are_listed_newest_first_without_the_archived(world: World) -> None:
    await _three_notifications(world)
    newest, second, third = await world.store.notifications("ada")
    assert [second.id, third.id] == ["nb", "na"]
    assert await world.store.notifications("ada", limit=1) == (newest,)
    assert await world.store.notifications("ada", before="nb") == (third,)
    await world.store.mark("ada", "archived", ids=("nb",))
    assert await world.store.notifications("ada", before="nb") == (third,), "a cursor outlives its row"
    assert await world.store.notifications("ada", before="unknown") == ()
    assert await world.store.notifications("bob", before="nb") == ()


async def test_statistics_are_named_counters(world: World) -> None:
    await _three_notifications(world)
    statistics = world.store.statistics()
    assert statistics["commits"] > 0
    assert all(isinstance(value, int) for value in statistics.values())
