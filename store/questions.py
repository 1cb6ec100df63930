"""Questions of jobs to a person: asked by the end of an attempt, answered once, found by the next attempt.

The job waits in the queue meanwhile, its open question shown by its row (``Job.asking``). The row here stays
for as long as the job, so that every later attempt finds the answer again: if it has none when an attempt
runs, its time was over.
"""

from __future__ import annotations

import enum
from typing import Any, Protocol

import attrs
import orjson


@attrs.frozen(kw_only=True)
class Ask:
    """What an attempt asks as it ends."""

    key: str
    """Unique within its job, over all attempts."""
    question: str
    schema: str
    """JSON: what an answer may be. For whoever shows the question, and whoever checks the answer."""
    timeout_s: float | None = None
    """After this time without an answer the job goes on without one, in seconds."""


@attrs.frozen(kw_only=True)
class Question:
    """One row; unique on (job, key)."""

    job: str
    key: str
    answer: str | None = None
    """JSON; None until there is one."""
    answered_by: str | None = None
    """The user; None: nobody, or a trusted caller."""
    answered_at: float | None = None


@attrs.frozen
class Asked:
    """What a job finds of a question: its row (None: it was never asked), and how many it has asked."""

    question: Question | None
    count: int


class AnswerOutcome(enum.StrEnum):
    """What became of an answer to a job's question."""

    ACCEPTED = "accepted"
    """It is durable, and the job goes on with it. So is the same answer of the same user again."""
    ALREADY_ANSWERED = "already_answered"
    NOT_ASKED = "not_asked"
    """The job has not asked this, or asks it no longer: its time was over."""
    ALREADY_ENDED = "already_ended"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class GiveAnswer:
    job_id: str
    key: str
    value: str
    """JSON, checked against the question's schema."""
    user: str | None = None
    """None: trusted; else a job of another user is unknown."""
    checked: bool = True
    """False: no such question was open to check it by, so one that was asked since is not answered."""


class QuestionStore(Protocol):
    """The part of ``Store`` for questions."""

    async def question_of(self, job_id: str, key: str) -> Asked: ...
    async def answer(self, request: GiveAnswer) -> AnswerOutcome:
        """Answer the open question of a job; it is due then."""
        ...


class QuestionRows(Protocol):
    """The rows inside one transaction."""

    def get(self, job_id: str, key: str) -> Question | None: ...
    def count(self, job_id: str) -> int: ...
    def put(self, row: Question) -> None:
        """Insert or replace."""
        ...


class MemoryQuestions:
    """``QuestionRows`` in dictionaries."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Question]] = {}

    def get(self, job_id: str, key: str) -> Question | None:
        return self._rows.get(job_id, {}).get(key)

    def count(self, job_id: str) -> int:
        return len(self._rows.get(job_id, {}))

    def put(self, row: Question) -> None:
        self._rows.setdefault(row.job, {})[row.key] = row

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))


def shown(ask: Ask, now: float) -> str:
    """``Job.asking``: the open question as JSON."""
    return orjson.dumps(
        {
            "key": ask.key,
            "question": ask.question,
            "schema": orjson.loads(ask.schema),
            "asked_at": now,
            "expires_at": None if ask.timeout_s is None else now + ask.timeout_s,
        }
    ).decode()


def dated(asking: str, expires_at: float) -> str:
    """``Job.asking`` with another time-out: the wall clock has jumped, and the job's time moved along."""
    return orjson.dumps({**open_question(asking), "expires_at": expires_at}).decode()


def misdated(asking: str | None, run_at: float) -> bool:
    """Whether it shows another time-out than ``run_at``, by which the job goes on. (SQLite reads the last
    digits of a number in its own way.)"""
    expires_at = open_question(asking).get("expires_at")
    return isinstance(expires_at, float | int) and abs(expires_at - run_at) > 0.001


def open_question(asking: str | None) -> dict[str, Any]:
    """What ``shown`` made, decoded; empty if there is none, or it is damaged."""
    try:
        loaded = orjson.loads(asking or "{}")
    except orjson.JSONDecodeError:
        return {}
    return loaded if isinstance(loaded, dict) else {}
