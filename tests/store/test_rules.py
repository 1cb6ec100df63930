"""The pure decisions on rows."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from trouper.store.lifecycle import JobEvent
from trouper.store.protocol import EndingKind, Finish
from trouper.store.records import Job, JobOptions, JobState
from trouper.store.rules import (
    ERROR_CHARS_MAX,
    EndUnrun,
    Run,
    backoff_s,
    ended_attempt,
    ended_notification,
    judge_claim,
)

RUNNING = Job(
    id="j", user="ada", name="report", state=JobState.RUNNING, attempt=1, fence=1, boot=1, keeps=(0,)
)
QUEUED = Job(id="j", user="ada", name="report")


def ended(job: Job, kind: EndingKind, **fields: Any) -> Job:
    defaults = {"job_id": "j", "fence": 1, "entries": 3, "sha256": "hash", "used_ms": 7}
    return ended_attempt(job, Finish(kind=kind, **{**defaults, **fields}), now=50.0)


@pytest.mark.clause("J6")
@pytest.mark.parametrize(
    ("fields", "options", "verdict"),
    [
        ({}, {"attempts": 2}, Run(1)),
        ({}, {"attempts": 1}, EndUnrun(JobEvent.LOSE, "attempts", 1)),
        ({"attempts_used": 1}, {"attempts": 2}, EndUnrun(JobEvent.LOSE, "attempts", 2)),
        ({}, {"attempts": 9, "on_process_death": "end"}, EndUnrun(JobEvent.LOSE, "process_death", 1)),
        ({"unsafe": "charge"}, {"attempts": 9}, EndUnrun(JobEvent.LOSE, "unsafe:charge", 1)),
        ({"cancel_requested": True}, {"attempts": 9}, EndUnrun(JobEvent.CANCEL, "user", 1)),
        (
            {"cancel_requested": True, "unsafe": "charge"},
            {"attempts": 9},
            EndUnrun(JobEvent.LOSE, "unsafe:charge", 1),
        ),
        ({"used_ms": 3000}, {"attempts": 9, "timeout_s": 3.0}, EndUnrun(JobEvent.TIME_OUT, "timeout", 1)),
        ({"used_ms": 2999}, {"attempts": 9, "timeout_s": 3.0}, Run(1)),
    ],
)
def test_a_running_row_of_a_dead_process_is_run_again_or_ended_for_a_reason(
    fields: dict[str, Any], options: dict[str, Any], verdict: object
) -> None:
    assert judge_claim(attrs.evolve(RUNNING, options=JobOptions(**options), **fields), 50.0) == verdict


def test_a_queued_row_is_run_without_using_an_attempt_up() -> None:
    assert judge_claim(QUEUED, 50.0) == Run(0)
    assert judge_claim(attrs.evolve(QUEUED, attempt=3, attempts_used=2), 50.0) == Run(2)


@pytest.mark.clause("J1")
@pytest.mark.parametrize(
    ("kind", "state", "reason"),
    [
        (EndingKind.RETURNED, JobState.COMPLETED, None),
        (EndingKind.FAILED, JobState.FAILED, "fail"),
        (EndingKind.CRASHED, JobState.FAILED, "crash"),
        (EndingKind.CANCELLED, JobState.CANCELLED, "user"),
        (EndingKind.TIMED_OUT, JobState.TIMED_OUT, "timeout"),
    ],
)
def test_an_ending_without_attempts_left_is_terminal(
    kind: EndingKind, state: JobState, reason: str | None
) -> None:
    job = ended(RUNNING, kind)
    assert (job.state, job.reason, job.ended_at, job.sha256, job.entries) == (state, reason, 50.0, "hash", 3)
    assert job.boot is None


@pytest.mark.clause("J2")
def test_a_job_that_returned_is_completed_even_if_a_cancel_was_requested() -> None:
    job = ended(attrs.evolve(RUNNING, cancel_requested=True), EndingKind.RETURNED, result="1")
    assert (job.state, job.result) == (JobState.COMPLETED, "1")


@pytest.mark.clause("J2")
@pytest.mark.parametrize("kind", [EndingKind.CRASHED, EndingKind.RELEASED])
def test_an_attempt_that_crashed_or_was_released_after_a_cancel_ends_cancelled(kind: EndingKind) -> None:
    job = attrs.evolve(RUNNING, cancel_requested=True, options=JobOptions(attempts=5))
    assert ended(job, kind).state is JobState.CANCELLED


@pytest.mark.clause("J6")
@pytest.mark.parametrize("kind", [EndingKind.CRASHED, EndingKind.RELEASED])
def test_an_attempt_that_stopped_inside_an_unsafe_step_is_not_run_again(kind: EndingKind) -> None:
    job = ended(attrs.evolve(RUNNING, unsafe="charge", options=JobOptions(attempts=5)), kind)
    assert (job.state, job.reason) == (JobState.LOST, "unsafe:charge")


@pytest.mark.clause("J5")
def test_a_crash_with_attempts_left_is_queued_after_a_jittered_delay() -> None:
    job = attrs.evolve(RUNNING, attempts_used=1, options=JobOptions(attempts=3, backoff_base_s=2.0))
    again = ended(job, EndingKind.CRASHED, jitter=0.5, error="boom")
    assert (again.state, again.attempts_used, again.run_at) == (JobState.QUEUED, 2, 50.0 + 0.5 * 4.0)
    assert (again.ended_at, again.sha256, again.error) == (None, None, "boom")


@pytest.mark.clause("J5")
@pytest.mark.parametrize(("asked", "run_at"), [(30.0, 80.0), (0.0, 50.0), (-5.0, 50.0), (float("nan"), 50.0)])
def test_a_retry_that_names_its_delay_is_due_then(asked: float, run_at: float) -> None:
    job = attrs.evolve(RUNNING, options=JobOptions(attempts=3))
    assert ended(job, EndingKind.CRASHED, retry_after_s=asked).run_at == run_at


@pytest.mark.clause("J5")
def test_a_released_attempt_is_due_at_once_and_uses_no_attempt_up() -> None:
    job = ended(RUNNING, EndingKind.RELEASED)
    assert (job.state, job.attempts_used, job.run_at) == (JobState.QUEUED, 0, 0.0)


def test_the_back_off_grows_up_to_its_bound_whatever_the_retry() -> None:
    options = JobOptions(backoff_base_s=1.0, backoff_factor=10.0, backoff_max_s=60.0)
    assert [backoff_s(options, retry, 1.0) for retry in (1, 2, 3, 5000)] == [1.0, 10.0, 60.0, 60.0]
    assert backoff_s(options, 2, 0.0) == 0.0


@pytest.mark.clause("J2")
def test_a_stuck_attempt_loses_its_fence() -> None:
    job = ended(RUNNING, EndingKind.CANCELLED, stuck=True)
    assert (job.stuck, job.fence) == (True, RUNNING.fence + 1)


@pytest.mark.clause("E1")
def test_an_error_that_no_text_column_can_hold_does_not_keep_a_job_from_ending() -> None:
    job = ended(RUNNING, EndingKind.FAILED, error="\ud800" + "x" * 100_000)
    assert job.error is not None
    assert job.error.startswith("\\ud800x")
    assert len(job.error.encode()) <= ERROR_CHARS_MAX + 10


@pytest.mark.clause("N1")
def test_the_declaration_says_which_endings_notify() -> None:
    job = ended(RUNNING, EndingKind.TIMED_OUT, error="e" * 400)
    notification = ended_notification(job, id="n", now=1.0)
    assert notification is not None
    assert (notification.title, notification.body) == ("report timed out", "e" * 300)
    assert (notification.kind, notification.key) == ("ended", "")
    assert ended_notification(ended(RUNNING, EndingKind.CANCELLED), id="n", now=1.0) is None
    silent = attrs.evolve(job, options=JobOptions(notify_on=()))
    assert ended_notification(silent, id="n", now=1.0) is None
