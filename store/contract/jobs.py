"""The contract of every engine: admission, claims, and how attempts end."""

from __future__ import annotations

import pytest

from trouper.store.contract.world import Source, World, admission, clause, options, sha256
from trouper.store.errors import DataRefused, StoreUnavailable
from trouper.store.leases import Begun
from trouper.store.protocol import (
    Admitted,
    Conflict,
    EndingKind,
    Finished,
    QueueFull,
    RefusalReason,
    Refused,
    Saved,
    ThreadBusy,
)
from trouper.store.records import JobState


async def test_a_store_works_only_while_it_runs(world: World) -> None:
    assert world.store.boot == 1
    assert world.store.epoch
    await world.close()
    with pytest.raises(StoreUnavailable):
        await world.store.job("j1")
    with pytest.raises(StoreUnavailable):
        await world.store.admit(admission("j1"))


async def test_rows_epoch_and_order_outlive_a_restart_and_the_boot_rises(world: World) -> None:
    await world.admit("j1", thread="t", arguments='{"a":1}', options=options(attempts=3, timeout_s=1.5))
    before, epoch, boot = await world.row("j1"), world.store.epoch, world.store.boot
    await world.restart()
    assert (world.store.boot > boot, world.store.epoch) == (True, epoch)
    assert await world.row("j1") == before


# --- admission ----------------------------------------------------------------------------------


async def test_an_admitted_job_is_queued_and_due(world: World) -> None:
    job = await world.admit("j1", thread="t")
    assert (job.state, job.attempt, job.entries, job.created_at) == (JobState.QUEUED, 0, 0, 1000.0)
    assert job == await world.row("j1")


@clause("J3")
async def test_the_same_key_gives_the_same_job_ended_or_not_and_other_content_a_conflict(
    world: World,
) -> None:
    first = await world.admit("j1", idempotency_key="k")
    assert await world.store.admit(admission("j2", idempotency_key="k")) == Admitted(first, created=False)
    await world.end((await world.store.claim(1)).started[0])
    again = await world.store.admit(admission("j3", idempotency_key="k"))
    assert again == Admitted(await world.row("j1"), created=False)
    other = admission("j4", idempotency_key="k", fingerprint="other")
    assert await world.store.admit(other) == Conflict("j1")
    assert await world.store.job("j4") is None


@clause("J3")
async def test_a_key_belongs_to_its_user(world: World) -> None:
    await world.admit("j1", idempotency_key="k")
    assert (await world.admit("j2", idempotency_key="k", user="bob")).user == "bob"


async def test_an_admission_repeated_after_an_unknown_outcome_is_recognised_by_its_id(world: World) -> None:
    job = await world.admit("j1")
    assert await world.store.admit(admission("j1")) == Admitted(job, created=True)
    assert await world.store.admit(admission("j1", fingerprint="other")) == Conflict("j1")
    assert (await world.store.active_counts())[JobState.QUEUED] == 1


async def test_reject_refuses_a_busy_thread_of_that_user_only(world: World) -> None:
    await world.admit("j1", thread="t")
    assert await world.store.admit(admission("j2", thread="t", on_busy="reject")) == ThreadBusy("j1")
    await world.admit("j3", thread="t", on_busy="reject", user="bob")
    await world.admit("j4", thread="u", on_busy="reject")
    await world.admit("j5", on_busy="reject")
    await world.store.cancel("j1", "ada")
    await world.admit("j6", thread="t", on_busy="reject")


async def test_the_queue_has_a_bound(world: World) -> None:
    await world.admit("j1", max_queued=1)
    assert await world.store.admit(admission("j2", max_queued=1)) == QueueFull(1)
    await world.store.claim(1)
    await world.admit("j2", max_queued=1)


@clause("E1")
async def test_an_admission_that_cannot_be_stored_is_refused_naming_the_field(world: World) -> None:
    with pytest.raises(DataRefused, match="thread holds a lone surrogate"):
        await world.store.admit(admission("j1", thread="a\ud800"))
    assert await world.store.job("j1") is None


# --- claims -------------------------------------------------------------------------------------


async def test_a_claim_starts_the_oldest_due_rows_up_to_its_limit(world: World) -> None:
    for id in ("j1", "j2", "j3"):
        await world.admit(id)
    claims = await world.store.claim(2)
    assert [job.id for job in claims.started] == ["j1", "j2"]
    first = claims.started[0]
    assert (first.state, first.attempt, first.fence, first.boot) == (JobState.RUNNING, 1, 1, 1)
    assert (first.keeps, first.started_at) == ((0,), 1000.0)
    assert await world.store.running() == claims.started
    assert await world.store.active_counts() == {JobState.QUEUED: 1, JobState.RUNNING: 2}
    assert (await world.store.claim(0)).started == ()


async def test_one_job_of_a_thread_runs_at_a_time(world: World) -> None:
    for id, thread in (("j1", "t"), ("j2", "t"), ("j3", None), ("j4", "u")):
        await world.admit(id, thread=thread)
    await world.admit("j5", thread="t", user="bob")
    started = (await world.store.claim(9)).started
    assert [job.id for job in started] == ["j1", "j5", "j3", "j4"]
    await world.end(started[0])
    assert [job.id for job in (await world.store.claim(9)).started] == ["j2"]


@clause("J5")
async def test_a_thread_stays_held_while_its_job_waits_for_the_next_attempt(world: World) -> None:
    job = await world.start("j1", thread="t", options=options(attempts=2))
    await world.admit("j2", thread="t")
    await world.end(job, EndingKind.CRASHED, retry_after_s=10.0)
    claims = await world.store.claim(9)
    assert (claims.started, claims.next_due_at) == ((), 1010.0)
    world.wall.now = 1010.0
    again = (await world.store.claim(9)).started
    assert [(job.id, job.attempt, job.fence, job.attempts_used) for job in again] == [("j1", 2, 2, 1)]


@clause("J6")
async def test_orphans_of_another_boot_come_first_and_are_claimed_anew(world: World) -> None:
    await world.admit("j0", user="bob")
    await world.store.claim(1)
    await world.start("j1", options=options(attempts=2))
    await world.admit("j2")
    await world.restart()
    assert await world.store.running() == ()
    claims = await world.store.claim(1)
    assert [(job.id, job.state, job.reason) for job in claims.ended] == [("j0", JobState.LOST, "attempts")]
    (job,) = claims.started
    assert (job.id, job.attempt, job.fence, job.attempts_used) == ("j1", 2, 2, 1)
    assert job.boot == world.store.boot


@clause("E1", "J5")
@pytest.mark.parametrize("restarts", [False, True])
async def test_what_was_claimed_without_an_answer_runs_again_and_used_no_attempt(
    world: World, restarts: bool
) -> None:
    job = await world.start("begun")
    await world.write(job, "its own")
    await world.start("unheard")
    boots = [world.store.boot]
    if restarts:
        await world.restart()
        boots.append(world.store.boot)
    claims = await world.store.claim(9, begun=Begun(boots, [("begun", 1)]))
    assert [(each.id, each.attempt, each.attempts_used) for each in claims.started] == [("unheard", 2, 0)]
    ends = [("begun", JobState.LOST)] if restarts else []
    assert [(each.id, each.state) for each in claims.ended] == ends
    assert (await world.store.claim(9, begun=Begun(boots, [("begun", 1), ("unheard", 2)]))).started == ()
    assert await world.log("begun") == ("its own",)


@clause("J2")
async def test_what_was_claimed_without_an_answer_and_cancelled_since_ends_without_running(
    world: World,
) -> None:
    job = await world.start("j1", thread="t")
    await world.store.cancel("j1", None)
    claims = await world.store.claim(0, begun=Begun([world.store.boot], []))
    row = await world.row("j1")
    assert (claims.started, row.state, row.reason) == ((), JobState.QUEUED, "released")
    assert isinstance(await world.store.finish(await world.finish_of(job)), Finished), "by that very attempt"
    assert [each.id for each in (await world.store.claim(1)).ended] == ["j1"]
    assert (await world.row("j1")).state is JobState.CANCELLED


@clause("J2")
async def test_recovery_ends_a_job_with_a_committed_cancel_without_running_it(world: World) -> None:
    job = await world.start("j1", options=options(attempts=5))
    await world.write(job, "a", "b")
    await world.savepoint(job, 2)
    await world.write(job, "c")
    await world.store.cancel("j1", "ada")
    await world.restart()
    (ended,) = (await world.store.claim(5)).ended
    assert (ended.state, ended.reason, ended.attempt) == (JobState.CANCELLED, "user", 2)
    # A claim made only to end a job cuts nothing.
    assert (ended.keeps, ended.entries, ended.sha256) == ((0, 3), 3, sha256(["a", "b", "c"]))
    assert await world.log("j1") == ("a", "b", "c")


@clause("J6")
async def test_an_unsafe_step_that_was_under_way_is_not_repeated(world: World) -> None:
    job = await world.start("j1", options=options(attempts=5))
    assert isinstance(await world.store.unsafe("j1", job.fence, "charge card"), Saved)
    await world.restart()
    (ended,) = (await world.store.claim(5)).ended
    assert (ended.state, ended.reason) == (JobState.LOST, "unsafe:charge card")
    (notification,) = await world.store.notifications("ada")
    assert (notification.title, notification.job) == ("report lost", "j1")


@clause("J6")
async def test_an_unsafe_step_that_ended_does_not_keep_a_job_from_running_again(world: World) -> None:
    job = await world.start("j1", options=options(attempts=5))
    await world.store.unsafe("j1", job.fence, "charge card")
    await world.store.unsafe("j1", job.fence, None)
    await world.restart()
    assert [job.id for job in (await world.store.claim(5)).started] == ["j1"]


@clause("O3")
async def test_a_claim_cuts_the_log_to_the_savepoint_and_records_what_it_kept(world: World) -> None:
    job = await world.start("j1", options=options(attempts=5))
    await world.write(job, "a", ("event", "1"))
    await world.savepoint(job, 2, '{"at":2}')
    await world.write(job, "c", "d")
    await world.end(job, EndingKind.CRASHED, retry_after_s=0.0)
    assert len(await world.log("j1")) == 4, "until the claim nothing is cut"
    (again,) = (await world.store.claim(1)).started
    assert (again.entries, again.keeps, again.saved) == (2, (0, 2), '{"at":2}')
    assert await world.log("j1") == ("a", ("event", "1"))
    await world.write(again, "C")
    assert await world.log("j1") == ("a", ("event", "1"), "C")


@clause("O3")
async def test_a_claim_without_a_savepoint_keeps_nothing(world: World) -> None:
    job = await world.start("j1", options=options(attempts=5))
    await world.write(job, "a")
    await world.restart()
    (again,) = (await world.store.claim(1)).started
    assert (again.keeps, again.entries) == ((0, 0), 0)
    assert await world.log("j1") == ()


# --- ending -------------------------------------------------------------------------------------


@clause("N1")
async def test_a_finish_ends_the_job_with_its_output_and_its_notification(world: World) -> None:
    job = await world.start("j1", thread="t")
    source = Source(world.store, job)
    source.write("a", "b")
    finish = await world.finish_of(job, result='"r"', entries=2, sha256=sha256(["a", "b"]))
    world.wall.now = 1007.0
    answer = await world.store.finish(finish)
    assert isinstance(answer, Finished)
    assert (answer.job.state, answer.job.result, answer.job.ended_at) == (JobState.COMPLETED, '"r"', 1007.0)
    assert (answer.job.entries, answer.job.sha256, answer.job.used_ms) == (2, sha256(["a", "b"]), 10)
    notification = answer.notification
    assert notification is not None
    assert (notification.title, notification.thread) == ("report completed", "t")
    assert notification.feed_seq == answer.job.feed_seq == (await world.store.snapshot("ada", 50)).seq


@clause("N1")
async def test_a_finish_repeated_after_an_unknown_outcome_gives_the_same_and_one_notification(
    world: World,
) -> None:
    job = await world.start("j1")
    finish = await world.finish_of(job)
    first = await world.store.finish(finish)
    assert isinstance(first, Finished)
    assert await world.store.finish(finish) == first
    assert await world.store.notifications("ada") == (first.notification,)


async def test_a_retry_repeated_after_an_unknown_outcome_changes_nothing(world: World) -> None:
    job = await world.start("j1", options=options(attempts=3))
    finish = await world.finish_of(job, EndingKind.CRASHED, retry_after_s=5.0)
    first = await world.store.finish(finish)
    world.wall.now += 1
    assert await world.store.finish(finish) == first


@clause("J2")
async def test_a_stuck_finish_repeats_and_late_writes_are_refused(world: World) -> None:
    job = await world.start("j1")
    finish = await world.finish_of(job, EndingKind.CANCELLED, stuck=True)
    first = await world.store.finish(finish)
    assert isinstance(first, Finished)
    assert (first.job.stuck, first.job.fence) == (True, job.fence + 1)
    assert await world.store.finish(finish) == first
    late = await Source(world.store, job).commit("late")
    assert isinstance(late, Refused)
    assert late.reason is RefusalReason.FENCED


async def test_a_finish_that_expects_another_length_of_the_log_is_refused_with_the_length(
    world: World,
) -> None:
    job = await world.start("j1")
    await world.write(job, "a")
    answer = await world.store.finish(await world.finish_of(job, entries=7))
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.entries) == (RefusalReason.GAP, 1)
    assert (await world.row("j1")).state is JobState.RUNNING


@clause("J5")
async def test_a_released_attempt_is_claimed_again_by_the_next_boot_without_using_an_attempt(
    world: World,
) -> None:
    job = await world.start("j1")
    released = await world.end(job, EndingKind.RELEASED)
    assert (released.state, released.reason, released.boot) == (JobState.QUEUED, "released", None)
    await world.restart()
    (again,) = (await world.store.claim(1)).started
    assert (again.attempt, again.attempts_used) == (2, 0)


@clause("J6")
async def test_every_write_with_an_old_fence_is_refused_and_changes_nothing(world: World) -> None:
    old = await world.start("j1", options=options(attempts=5))
    await world.end(old, EndingKind.CRASHED, retry_after_s=0.0)
    await world.store.claim(1)
    row = await world.row("j1")
    answers = [
        await Source(world.store, old).commit("late"),
        await world.savepoint(old, 0, "late"),
        await world.store.unsafe("j1", old.fence, "late"),
        await world.store.finish(await world.finish_of(old)),
    ]
    assert [answer.reason for answer in answers if isinstance(answer, Refused)] == [RefusalReason.FENCED] * 4
    assert await world.row("j1") == row


async def test_writes_into_a_job_that_never_was_are_refused(world: World) -> None:
    job = await world.start("j1")
    finish = await world.finish_of(job, job_id="nobody")
    answer = await world.store.finish(finish)
    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.FENCED


@clause("E1")
async def test_a_savepoint_whose_state_cannot_be_stored_is_refused_alone(world: World) -> None:
    job = await world.start("j1")
    answer = await world.savepoint(job, 0, "\ud800")
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.detail[:5]) == (RefusalReason.POISONED, "saved")
    assert (await world.row("j1")).saved is None


async def test_a_savepoint_stands_at_an_entry_that_the_log_has(world: World) -> None:
    job = await world.start("j1")
    await world.write(job, "a", "b")
    answer = await world.savepoint(job, 3)
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.entries) == (RefusalReason.GAP, 2)
    earlier = await world.savepoint(job, 1, "0")
    assert isinstance(earlier, Saved), "another task of the job wrote on meanwhile"
    saved = await world.savepoint(job, 2, "1")
    assert isinstance(saved, Saved)
    assert (saved.job.savepoint, saved.job.saved) == (2, "1")
    assert await world.savepoint(job, 2, "1") == saved, "repeated, it changes nothing"
