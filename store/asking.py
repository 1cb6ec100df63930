"""The transactions on questions, written once over the ``Tables`` of any engine."""

from __future__ import annotations

import attrs

from trouper.store.protocol import Finish
from trouper.store.questions import AnswerOutcome, GiveAnswer, Question, dated, open_question
from trouper.store.records import Job, JobState, Notification
from trouper.store.transaction import Transaction, check_text
from trouper.store.waiting import AT_A_TIME, answered_row

TITLE_CHARS_MAX = 300
"""How much of a question its notification shows, in characters."""


def asked(tx: Transaction, job: Job, request: Finish) -> Notification | None:
    """The job has been put back into the queue to wait: its question, and the notification of it."""
    ask = request.question
    if ask is None or job.asking is None:
        return None
    if tx.tables.questions.get(job.id, ask.key) is None:
        tx.tables.questions.put(Question(job=job.id, key=ask.key))
    if tx.tables.notification(job.user, job.id, "question", ask.key) is not None:
        return None
    return tx.insert_notification(
        Notification(
            id=tx.new_id(),
            user=job.user,
            job=job.id,
            thread=job.thread,
            kind="question",
            key=ask.key,
            title=ask.question[:TITLE_CHARS_MAX],
            created_at=tx.now,
        )
    )


def answer(tx: Transaction, request: GiveAnswer) -> AnswerOutcome:
    """Accepted once."""
    check_text(key=request.key, value=request.value, user=request.user)
    job = tx.tables.job(request.job_id)
    if job is None or (request.user is not None and job.user != request.user):
        return AnswerOutcome.UNKNOWN
    row = tx.tables.questions.get(job.id, request.key)
    if row is not None and row.answer is not None:
        same = (row.answer, row.answered_by) == (request.value, request.user)
        return AnswerOutcome.ACCEPTED if same else AnswerOutcome.ALREADY_ANSWERED
    if job.state.terminal:
        return AnswerOutcome.ALREADY_ENDED
    is_open = job.state is JobState.QUEUED and open_question(job.asking).get("key") == request.key
    if row is None or not is_open or not request.checked:
        return AnswerOutcome.NOT_ASKED
    tx.tables.questions.put(
        attrs.evolve(row, answer=request.value, answered_by=request.user, answered_at=tx.now)
    )
    tx.close_question(job)
    tx.update_job(answered_row(job, tx.now))
    return AnswerOutcome.ACCEPTED


def clock_jumped(tx: Transaction, by_s: float) -> None:
    """The wall clock has jumped by ``by_s``: what waits moves along, and whoever was shown a question's
    time-out is told of the new one."""
    tx.tables.clock_jumped(by_s, tx.now)
    tell_moved(tx)


def tell_moved(tx: Transaction) -> None:
    """See that a question shows the time at which its job is due without an answer. Each is a change of the
    feed, so one commit does so many; what is left over is the next claim's, which is due by these."""
    for candidate in tx.tables.misdated(AT_A_TIME):
        tx.alone(candidate, _dated_anew)


def _dated_anew(tx: Transaction, job: Job) -> Job:
    return tx.update_job(attrs.evolve(job, asking=dated(job.asking or "", job.run_at)))
