"""The contract of every engine: jobs that are put off, time in the queue, what uses an attempt (J5)."""

from __future__ import annotations

from typing import Any

import pytest

from trouper.store.contract.world import World, admission, clause, notice_of, options
from trouper.store.leases import Begun
from trouper.store.protocol import CancelAnswer, EndingKind, ThreadBusy
from trouper.store.questions import Ask, GiveAnswer
from trouper.store.records import Job, JobState

CLAUSES = ("J5",)

HOUR = 3600.0


async def started(world: World, limit: int = 9, **fields: Any) -> list[str]:
    return [job.id for job in (await world.store.claim(limit, **fields)).started]


# --- put off ---


@pytest.mark.parametrize("put_off", [{"at": 1060.0}, {"delay_s": 60.0}])
async def test_a_job_that_is_put_off_is_not_claimed_before_its_time(
    world: World, put_off: dict[str, float]
) -> None:
    await world.admit("j1", **put_off)
    claims = await world.store.claim(9)
    assert (claims.started, claims.next_due_at, claims.queued) == ((), 1060.0, 1)
    await world.restart()
    world.wall.now = 1059.9
    assert await started(world) == []
    world.wall.now = 1060.0
    assert await started(world) == ["j1"]


async def test_a_time_that_has_passed_is_due_at_once(world: World) -> None:
    await world.admit("j1", at=5.0)
    assert await started(world) == ["j1"]


async def test_a_job_that_is_put_off_does_not_hold_its_thread(world: World) -> None:
    await world.admit("later", thread="t", delay_s=60.0)
    await world.admit("now", thread="t")
    assert await started(world) == ["now"]


async def test_a_job_that_is_put_off_does_not_make_its_thread_busy(world: World) -> None:
    await world.admit("later", thread="t", at=1060.0)
    await world.admit("now", thread="t", on_busy="reject")
    assert await world.store.admit(admission("no", thread="t", on_busy="reject")) == ThreadBusy("now")
    await world.admit("instead", thread="t", on_busy="interrupt")
    states = [(await world.row(id)).state for id in ("later", "now", "instead")]
    assert states == [JobState.QUEUED, JobState.CANCELLED, JobState.QUEUED]
    world.wall.now = 1060.0
    await world.admit("last", thread="t", on_busy="rollback")
    assert (await world.row("later")).state is JobState.CANCELLED, "it is due, so it waits in the thread"


async def test_a_job_that_is_put_off_takes_a_place_in_the_queue(world: World) -> None:
    await world.admit("later", delay_s=60.0)
    refused = await world.store.admit(admission("j2", max_queued_per_user=1))
    assert type(refused).__name__ == "QueueFull"


async def test_a_job_that_is_put_off_can_be_cancelled(world: World) -> None:
    await world.admit("later", delay_s=60.0)
    assert (await world.store.cancel("later", "ada")).answer is CancelAnswer.ACCEPTED
    assert (await world.store.claim(9)).next_due_at is None


# --- time in the queue ---

SHORT = options(queue_timeout_s=10.0, attempts=3, backoff_base_s=100.0, backoff_max_s=100.0)


async def test_a_job_that_waited_too_long_ends_timed_out_whatever_kept_it_waiting(world: World) -> None:
    await world.start("busy", thread="t")
    await world.admit("held", thread="t", options=SHORT)
    await world.admit("no-room", options=SHORT)
    assert (await world.store.claim(0)).next_due_at == 1010.0
    world.wall.now = 1009.9
    assert (await world.store.claim(0)).ended == ()
    world.wall.now = 1010.0
    claims = await world.store.claim(0)
    assert [(job.id, job.state, job.reason, job.attempts_used) for job in claims.ended] == [
        ("held", JobState.TIMED_OUT, "queue_timeout", 0),
        ("no-room", JobState.TIMED_OUT, "queue_timeout", 0),
    ]
    assert (claims.next_due_at, claims.queued) == (None, 0)
    assert [row.title for row in await world.store.notifications("ada")] == ["report timed out"] * 2


async def test_the_time_in_the_queue_goes_on_over_a_restart(world: World) -> None:
    await world.admit("j1", options=SHORT)
    await world.restart(away_s=10.0)
    claims = await world.store.claim(9)
    assert (claims.started, [job.reason for job in claims.ended]) == ((), ["queue_timeout"])


async def test_the_time_for_which_it_was_put_off_is_none_in_the_queue(world: World) -> None:
    await world.admit("j1", options=SHORT, delay_s=60.0)
    assert (await world.row("j1")).expires_at == 1070.0
    world.wall.now = 1069.0
    assert await started(world) == ["j1"]


async def test_each_wait_in_the_queue_is_counted_by_itself_and_running_is_none(world: World) -> None:
    await world.admit("j1", options=SHORT)
    world.wall.now += 9
    (job,) = (await world.store.claim(1)).started
    assert job.expires_at is None
    world.wall.now += HOUR
    assert (await world.store.claim(1)).ended == ()
    await world.end(job, EndingKind.CRASHED, jitter=0.5)
    row = await world.row("j1")
    assert (row.run_at, row.expires_at) == (world.wall.now + 50, world.wall.now + 60)
    world.wall.now += 55
    (job,) = (await world.store.claim(1)).started
    await world.end(job, EndingKind.RELEASED)
    assert (await world.row("j1")).expires_at == world.wall.now + 10


# --- what uses an attempt, and running time ---


async def test_crashes_idle_attempts_and_process_deaths_use_attempts_up_and_releases_do_not(
    world: World,
) -> None:
    job = await world.start("j1", options=options(attempts=9, backoff_base_s=0.0))
    seen: list[tuple[int, int]] = []
    for kind in (EndingKind.CRASHED, EndingKind.RELEASED, EndingKind.IDLE, None, EndingKind.RELEASED):
        if kind is None:
            await world.restart()
        else:
            await world.end(job, kind)
        (job,) = (await world.store.claim(1)).started
        seen.append((job.attempt, job.attempts_used))
    assert seen == [(2, 1), (3, 1), (4, 2), (5, 3), (6, 3)]


@clause("J6", "J8")
async def test_what_an_attempt_goes_on_after_is_told_apart(world: World) -> None:
    """A number of attempts alone says nothing: one that asked four times has five."""
    job = await world.start("j1", options=options(attempts=9))
    told: list[tuple[object, object]] = []

    async def goes_on() -> Job:
        before = (await world.row("j1")).began_after
        (again,) = (await world.store.claim(9)).started
        told.append((before, again.began_after))
        return again

    for kind in (EndingKind.CRASHED, EndingKind.IDLE, EndingKind.RELEASED):
        await world.end(job, kind, retry_after_s=0.0)
        job = await goes_on()
    await world.restart()
    job = await goes_on()
    for key, answered in (("k", True), ("late", False)):
        await world.end(
            job, EndingKind.ASKED, question=Ask(key=key, question="?", schema="{}", timeout_s=5.0)
        )
        if answered:
            await world.store.answer(GiveAnswer(job_id="j1", key=key, value="1"))
        world.wall.now += 9
        job = await goes_on()
    assert told == [
        ("crash", "crash"),
        ("idle_timeout", "idle_timeout"),
        ("released", "released"),
        ("released", "process_death"),
        ("answered", "answered"),
        ("question", "unanswered"),
    ]
    assert (job.attempt, job.attempts_used) == (7, 3)
    ended = await world.end(job)
    assert ended.began_after == "unanswered", "that of its last attempt"


async def test_a_claim_that_never_began_leaves_what_the_attempt_goes_on_after(world: World) -> None:
    async def unheard() -> Job:
        """Claimed without an answer, and claimed again."""
        (again,) = (await world.store.claim(9, begun=Begun([world.store.boot], []))).started
        return again

    await world.start("j1", options=options(attempts=9))
    job = await unheard()
    assert job.began_after == "released", "nothing else has happened to it"
    await world.end(job, EndingKind.CRASHED, retry_after_s=0.0)
    await world.store.claim(9)
    assert (await unheard()).began_after == "crash"


async def test_an_idle_attempt_is_retried_and_the_last_one_ends_timed_out(world: World) -> None:
    job = await world.start("j1", options=options(attempts=2, backoff_base_s=0.0))
    row = await world.end(job, EndingKind.IDLE)
    assert (row.state, row.reason) == (JobState.QUEUED, "idle_timeout")
    (job,) = (await world.store.claim(1)).started
    row = await world.end(job, EndingKind.IDLE)
    assert (row.state, row.reason, row.attempts_used) == (JobState.TIMED_OUT, "idle_timeout", 2)


async def test_an_idle_attempt_in_an_unsafe_step_is_not_repeated(world: World) -> None:
    job = await world.start("j1", options=options(attempts=2))
    await world.store.unsafe("j1", job.fence, "charge")
    row = await world.end(job, EndingKind.IDLE)
    assert (row.state, row.reason) == (JobState.LOST, "unsafe:charge")


async def test_each_commit_of_an_attempt_writes_its_running_time(world: World) -> None:
    job = await world.start("j1")
    used = []
    source = await world.write(job, "a")
    used.append((await world.row("j1")).used_ms)
    await world.store.unsafe("j1", job.fence, "charge", 20)
    used.append((await world.row("j1")).used_ms)
    await world.store.notify(notice_of(job, "k", used_ms=30))
    used.append((await world.row("j1")).used_ms)
    await world.savepoint(job, 1, used_ms=35)
    used.append((await world.row("j1")).used_ms)
    source.used_ms = 40
    await source.commit("b")
    used.append((await world.row("j1")).used_ms)
    await world.restart()
    used.append((await world.row("j1")).used_ms)
    assert used == [1, 20, 30, 35, 40, 40]
