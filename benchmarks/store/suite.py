"""The measures, who takes part, and what ours is to reach."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from functools import partial

from benchmarks.measuring import OURS, Contender, Measure, Suite, Target
from benchmarks.store import disk, statements, ticks, writers
from benchmarks.store.writers import PER_COMMIT, Prepare, Work

STATEMENTS = "the same statements, without trio"
FDATASYNC = "bare fdatasync, one for all writers"
SIZES = {1: 300, 20: 2_000, 200: 4_000}
"""Writers → how often in each round."""
OUTPUT_SHARE = 400
"""Of output so many times as much: it is cheaper by that, and a round is to be longer than some ticks."""
SYNCS = 1_000
"""Of the bare disk, in each round."""


def _measures(
    name: str, unit: str, prepare: Prepare, note: str, *, share: int = 1, each_waits: bool = True
) -> Iterator[Measure]:
    for count, times in SIZES.items():
        work = Work(prepare, count)
        contenders = [Contender(OURS, work.take), Contender(STATEMENTS, partial(statements.replay, work))]
        if each_waits:  # else the disk bounds nothing: one sync carries as much as there is
            contenders.append(Contender(FDATASYNC, partial(disk.sync, count), SYNCS * count / times))
        target = Target("at least half of the same statements", 0.5, versus=STATEMENTS)
        yield Measure(
            f"{name}, {count} writer{'s' if count > 1 else ''}",
            f"{unit}/s",
            times * share,
            contenders,
            [target] if count == 20 else [],
            note,
            waits=True,
            alike=(PER_COMMIT,),
        )


def _versions() -> Mapping[str, str]:
    kind = disk.file_system()
    return {"SQLite": sqlite3.sqlite_version, **({} if kind is None else {"file system": kind})}


SUITE = Suite(
    "store",
    [
        *_measures("admissions", "jobs", writers.admissions, "each waits for its own"),
        *_measures("finishes", "jobs", writers.finishes, "each waits for its own, and is notified of"),
        *_measures(
            "output",
            "entries",
            writers.output,
            "as fast as the store takes them: of a job, 256 KiB at a time. The statements are spared"
            " appending, hashing and telling",
            share=OUTPUT_SHARE,
            each_waits=False,
        ),
        Measure(
            "commits of 1,250 jobs, one entry each per 25 ms",
            "% of a core",
            ticks.TURN,
            [Contender(OURS, ticks.share_of_a_core)],
            [Target("at most 15 % of a core", at_most=15)],
            "processor time of the store's thread and of its part in the loop, over a turn of the journal",
            of_costs=True,
            rounds_at_most=3,  # of a quarter of a minute
        ),
    ],
    peers=("trio", "attrs", "orjson"),
    other_versions=_versions,
)
