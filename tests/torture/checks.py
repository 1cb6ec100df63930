"""What must be true of the file, of what the clients were told and of what they hold."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from tests.torture.database import Database, Row
from tests.torture.jobs import JOBS
from tests.torture.journal import OPTIONS, Copy, Journal
from tests.torture.lives import lines_of
from trouper.transport.client_feed import FeedState


def check_copies(database: Database, copies: list[Copy]) -> None:
    """Each copy is a prefix of the log, after its rewinds (O2, O3): nothing that is not committed was ever
    shown. It holds at any moment, so it is checked after each death, too."""
    jobs = database.jobs()
    logs: dict[str, list[str]] = {}
    for copy in copies:
        numbers = [line.partition(":")[2] for line in copy.lines]
        assert numbers == [f"{number}\n" for number in range(len(numbers))], f"{copy.job}: a gap in {numbers}"
        job = jobs[copy.job]
        log = logs.setdefault(copy.job, database.log(job))
        keep = min([len(copy.lines), *job.keeps[copy.attempt :]])
        assert copy.lines[:keep] == log[:keep], (
            f"{copy.job}: held {copy.lines[:keep]}, committed {log[:keep]}"
        )


def check_late_writes(folder: Path) -> int:
    """Writes of an attempt that is over were all refused (J6). How many there were."""
    late = lines_of(folder / "late.jsonl")
    taken = [write for write in late if not write["refused"]]
    assert not taken, f"writes with an old fence were taken: {taken[:3]}"
    return len(late)


def check_ends(database: Database, journal: Journal) -> None:
    """Every job that was acknowledged ended, once, as it had to; and no other job is there (J1, J2, J3)."""
    jobs = database.jobs()
    assert set(jobs) == {told.job for told in journal.submitted.values()}, "acknowledged jobs, and no others"
    assert database.rows("PRAGMA integrity_check") == [("ok",)]
    for told in journal.submitted.values():
        job = jobs[told.job]
        assert (job.user, job.name) == (told.user, told.name)
        assert job.terminal, f"{job.id} is {job.state}"
        assert job.state in _legal_ends(job), f"{job.name} {job.id} ended {job.state} ({job.reason})"
    for id in journal.cancelled:
        assert jobs[id].state == "cancelled", f"{id} was cancelled and is {jobs[id].state}"
    for key in journal.revoked:
        born = jobs[journal.submitted[key].job]
        assert (born.state, born.attempt) == ("cancelled", 0), "cancelled before it came, and never run"


def check_messages(database: Database, journal: Journal) -> None:
    """A job got each message that was accepted, once and in order. (The numbers of any log have no gap.)"""
    jobs = database.jobs()
    for id, count in journal.steered.items():
        assert len(database.log(jobs[id])) == count, (
            f"{id} was told {count} and wrote {database.log(jobs[id])}"
        )


def check_answers(database: Database, journal: Journal) -> None:
    """A job got the answer that was accepted to each of its questions, and no other (J8)."""
    told = {id: json.loads(result) for id, result in database.rows(_ANSWERS)}
    assert told == journal.answered


_ANSWERS = "SELECT id, result FROM jobs WHERE name = 'asks'"


def check_kept(database: Database, journal: Journal) -> None:
    """What was acknowledged is in the file from then on, whatever the next life makes of it."""
    jobs = database.jobs()
    for told in journal.submitted.values():
        assert told.job in jobs, f"{told.name} {told.job} was acknowledged and is gone"
    for id in journal.cancelled:
        assert jobs[id].cancel_requested, f"the accepted cancel of {id} is gone"
    marked = {id for (id,) in database.rows("SELECT id FROM notifications WHERE read_at IS NOT NULL")}
    assert marked >= journal.read, "a mark that was acknowledged is gone"
    answers = {(job, key): json.loads(value) for job, key, value in database.rows(_GIVEN)}
    for id, given in journal.answered.items():
        kept = [answers.get((id, str(number))) for number in range(len(given))]
        assert kept == given, f"{id} was answered {given}, and has {kept}"


_GIVEN = "SELECT job, key, answer FROM questions WHERE answer IS NOT NULL"


def check_ends_stay(database: Database, journal: Journal) -> None:
    """A job that has ended stays, and as it ended (J1)."""
    jobs = database.jobs()
    for job in jobs.values():
        if job.terminal:
            end = (job.state, job.reason, job.attempt, job.stuck)
            first = journal.ends.setdefault(job.id, end)
            assert first == end, f"{job.id} had ended {first} and has now {end}"
    for id in journal.ends:
        assert id in jobs, f"{id} had ended and is gone"
        assert jobs[id].terminal, f"{id} had ended {journal.ends[id]} and is {jobs[id].state}"


def check_hooks(database: Database, folder: Path) -> None:
    """The hook of every ended job has run, with the state that it ended in."""
    ran = {(line["job"], line["state"]) for line in lines_of(folder / "ended.jsonl")}
    assert ran == {(job.id, job.state) for job in database.jobs().values()}


def hooks_left(database: Database) -> int:
    """How many are still to be run."""
    (row,) = database.rows("SELECT COUNT(*) FROM completions")
    return int(row[0])


def _legal_ends(job: Row) -> tuple[str, ...]:
    match job.name:
        case "tale":
            return ("cancelled",) if job.attempt == 0 else ("completed",)
        case "fails":
            return ("failed",)
        case "charge" | "once":
            return ("completed", "lost")
        case "sleeper" | "stubborn":
            return ("cancelled",)
        case _:
            return ("completed",)


def check_notifications(database: Database, journal: Journal) -> None:
    """One notification for each end that its declaration wants told, for each that a job made, and for each
    question that it asked (N1)."""
    notified = Counter((job, kind, key) for job, kind, key in database.rows(_NOTIFICATIONS))
    wanted: Counter[tuple[str, str, str]] = Counter()
    for job in database.jobs().values():
        if job.state in _TOLD[job.name]:
            wanted[job.id, "ended", ""] += 1
        wanted += Counter((job.id, "question", str(number)) for number in range(_questions(journal, job)))
        if job.name == "tale" and job.state == "completed":
            wanted[job.id, "message", "half"] += 1
    assert notified == wanted, f"missing {wanted - notified}, too many {notified - wanted}"


def _questions(journal: Journal, job: Row) -> int:
    return len(journal.answered.get(job.id, ()))


_NOTIFICATIONS = "SELECT job, kind, key FROM notifications"
_TOLD = {spec.name: spec.notify_on for spec in JOBS}
"""The ends that each declaration wants told."""


def check_unsafe(database: Database, folder: Path) -> None:
    """A step that must not be repeated was carried out once at most, and once if the job is done (J6)."""
    charges = Counter(str(charge["job"]) for charge in lines_of(folder / "charges.jsonl"))
    for job in database.jobs().values():
        if job.name == "charge":
            most, least = 1, int(job.state == "completed")
            assert least <= charges[job.id] <= most, f"{job.id} ({job.state}) charged {charges[job.id]} times"
            if job.state == "lost":
                assert job.reason == "unsafe:charge"


def check_verified(database: Database, journal: Journal) -> int:
    """Whoever saw the end of an output holds all of it, and its hash was right (O6). How many did."""
    jobs = database.jobs()
    ended = [copy for copy in journal.copies if copy.end is not None]
    for copy in ended:
        assert copy.end is not None
        assert copy.end.verified
        assert copy.lines == database.log(jobs[copy.job])
        assert copy.end.entries == len(copy.lines)
        assert copy.end.state in (None, jobs[copy.job].state), "and it was told how the job ended"
    assert {copy.job for copy in ended} >= set(jobs), "somebody has seen the end of each"
    return len(ended)


def check_feed(database: Database, user: str, feed: FeedState) -> bool:
    """Whether a client holds what the rows have (N3, N5): its jobs, its notifications, its counts. A row
    that it holds and that the file does not have is an error at any time."""
    jobs = database.jobs()
    inbox = {
        id: (bool(seen), bool(read))
        for id, seen, read in database.rows(
            "SELECT id, seen_at, read_at FROM notifications WHERE user = ?", user
        )
    }
    held = {row.id: (row.seen, row.read) for row in feed.notifications}
    assert set(held) <= set(inbox), f"{user} was told of {set(held) - set(inbox)}, which is not there"
    assert all(jobs[id].user == user for id in feed.jobs), f"{user} was told of a job of somebody else"
    return (
        all(row.state == jobs[id].state for id, row in feed.jobs.items())
        and all(inbox[id] == marks for id, marks in held.items())
        and (feed.counts.unseen, feed.counts.unread) == counts_of(database, user)
        and len(held) == min(len(inbox), OPTIONS.feed_notifications)
    )


def counts_of(database: Database, user: str) -> tuple[int, int]:
    """(unseen, unread) notifications of a user."""
    (row,) = database.rows(
        "SELECT COUNT(*) FILTER (WHERE seen_at IS NULL), COUNT(*) FILTER (WHERE read_at IS NULL)"
        " FROM notifications WHERE user = ? AND archived_at IS NULL",
        user,
    )
    unseen, unread = row
    return unseen, unread
