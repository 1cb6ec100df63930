"""The queue over rows in memory: what is due, and whose turn it is; what has waited too long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from trouper.store.records import JobState
from trouper.store.tables import Candidate, Turn


def next_due(
    active: Iterable[Candidate],
    turns: Mapping[str, Turn],
    now: float,
    per_user: int | None,
    turn: Turn,
    passed: Mapping[str, int],
    names: Collection[str] | None,
) -> tuple[Candidate, Turn] | None:
    """See ``Tables.next_due``; ``active`` are all active rows, oldest first."""
    active = list(active)
    running = set()
    waiting = set()
    running_of: Counter[str] = Counter()
    for candidate in active:
        job = candidate.job
        running_of[job.user] += job.state is JobState.RUNNING
        if job.thread is not None:
            if job.state is JobState.RUNNING:
                running.add((job.user, job.thread))
            elif job.attempt > 0:
                waiting.add((job.user, job.thread))
    found: tuple[Candidate, Turn] | None = None
    for candidate in active:
        job = candidate.job
        users_turn = turns[job.user]
        if job.state is not JobState.QUEUED or job.run_at > now or users_turn < turn:
            continue
        if per_user is not None and running_of[job.user] >= per_user:
            continue
        if names is not None and job.name not in names:
            continue
        thread = (job.user, job.thread)
        free = thread not in running and (thread not in waiting or job.attempt > 0)
        if free and candidate.place > passed.get(job.user, 0) and (found is None or users_turn < found[1]):
            found = (candidate, users_turn)
    return found


def _ends(candidate: Candidate) -> list[float]:
    ends = (candidate.job.expires_at, candidate.job.unknown_until)
    return [end for end in ends if end is not None]


def next_time(queued: Iterable[Candidate], now: float) -> float | None:
    """See ``Tables.next_due_at``."""
    times: list[float] = []
    for candidate in queued:
        times += [candidate.job.run_at] if candidate.job.run_at > now else []
        times += _ends(candidate)
    return min(times, default=None)


def next_expired(queued: Iterable[Candidate], now: float) -> Candidate | None:
    """See ``Tables.next_expired``: those of ``expires_at`` first, each by its time."""
    waiting = list(queued)
    for column in ("expires_at", "unknown_until"):
        ends = [(getattr(each.job, column), each.place, each) for each in waiting]
        over = [end for end in ends if end[0] is not None and end[0] <= now]
        if over:
            return min(over, key=lambda end: end[:2])[2]
    return None


def wrongly_marked(queued: Iterable[Candidate], names: Collection[str], *, marked: bool) -> list[Candidate]:
    """See ``Tables.marked`` and ``Tables.unmarked``: by their names, and by age."""
    of = [each for each in queued if (each.job.unknown_until is not None) == marked]
    found = [each for each in of if (each.job.name in names) == marked]
    return sorted(found, key=lambda each: (each.job.name, each.place))


def starts_of(active: Iterable[Candidate], now: float) -> list[str]:
    """See ``Tables.starts_of``; ``active`` are all active rows of one user, oldest first."""
    jobs = [candidate.job for candidate in active]
    due = [job for job in jobs if job.run_at <= now and job.unknown_until is None]
    holds = {job.thread: job.id for job in reversed(due)}
    holds.update({job.thread: job.id for job in jobs if job.attempt > 0})
    free = (job for job in due if job.thread is None or holds[job.thread] == job.id)
    return [job.id for job in free if job.state is JobState.QUEUED]
