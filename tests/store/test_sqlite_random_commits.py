"""Random commits, with failures in them and deaths between them: every log is as it was told."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.store.support import admission, options, sha256
from trouper.store import admitting, transactions
from trouper.store.leases import Begun
from trouper.store.options import StoreOptions
from trouper.store.protocol import (
    ANY_NAME,
    APPENDED,
    Append,
    Claims,
    EndingKind,
    Finish,
    RefusalReason,
    Refused,
    Savepoint,
)
from trouper.store.records import Entry, Job, JobState
from trouper.store.seams import Seams
from trouper.store.sqlite_batch import Batch, Operation, SqliteEngine
from trouper.store.transaction import Transaction

MANY_ATTEMPTS = options(attempts=99, backoff_base_s=0.0)


class DiskFailed(Exception):
    """What a fault point raises."""


class Told:
    """A store without trio, and what it has told of its rows and logs."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.draw = random.Random(seed)
        self.path = folder / "store.db"
        self.failing = ""
        ids = iter(range(10**6))
        self.seams = Seams(fault=self.fault, new_id=lambda: f"n{next(ids)}")
        self.options = StoreOptions(
            block_bytes=self.draw.choice([40, 120, 600]), journal_rows_max=self.draw.choice([1, 2, 5, 17, 40])
        )
        self.engine = SqliteEngine(self.path, self.seams, self.options)
        self.rows: dict[str, Job] = {}
        self.logs: dict[str, list[Entry]] = {}

    def fault(self, site: str) -> None:
        if site == self.failing:
            raise DiskFailed(site)

    def die(self) -> None:
        """As by SIGKILL: the files as they are, without what closing does to them. What ran is claimed."""
        copies = [shutil.copy(file, f"{file}.copy") for file in self.path.parent.glob("store.db*")]
        self.engine.close()
        for file in self.path.parent.glob("store.db*"):
            if str(file) not in map(str, copies):
                file.unlink()
        for copy in copies:
            Path(copy).rename(copy.removesuffix(".copy"))
        self.engine = SqliteEngine(self.path, self.seams, self.options)
        self.check()
        batch = Batch(2e6)
        claim = Operation(lambda tx: transactions.claim(tx, 99, None, ANY_NAME), None)  # type: ignore[arg-type]
        batch.operations.append(claim)
        self.engine.run(batch)
        assert claim.result is not None
        self.claimed(claim.result.unwrap())

    def claimed(self, claims: Claims) -> None:
        for job in claims.started:
            del self.logs[job.id][job.savepoint :]
        self.rows |= {job.id: job for job in (*claims.started, *claims.ended)}

    def check(self) -> None:
        tables, draw = self.engine._tables, self.draw
        for id, log in self.logs.items():
            start = draw.randint(0, len(log))
            page = tables.read_log(id, start, draw.choice([1, 50, 10**6]))
            assert page == log[start : start + len(page)]
            assert page or start == len(log)
            assert tables.read_log(id, 0, 10**6) == log
            job, told = tables.job(id), self.rows[id]
            assert job is not None
            assert (job.state, job.attempts_used) == (told.state, told.attempts_used)
            assert (job.entries, job.savepoint) == (len(log), told.savepoint)
            assert not job.state.terminal or job.sha256 == sha256(log)
        assert self.engine.statistics()["journal_rows"] <= 2 * self.options.journal_rows_max + 1

    # --- one commit ---

    def entry(self) -> Entry:
        drawn = self.draw.random()
        if drawn < 0.15:
            return ("e", '{"a":"é"}')
        return "é😀" * self.draw.randint(1, 4) if drawn < 0.4 else "x" * self.draw.randint(1, 30)

    def append(self, job: Job, log: list[Entry]) -> tuple[Append, RefusalReason | None]:
        """One that is accepted, and is in ``log`` then, or one that is refused, and why."""
        new, end = [self.entry() for _ in range(self.draw.randint(1, 4))], len(log)
        match self.draw.randint(0, 20):
            case 0:
                return Append(job.id, job.fence - 1, end, new, 1), RefusalReason.FENCED
            case 1:
                return Append(job.id, job.fence, end, ["a", "\ud800"], 1), RefusalReason.POISONED
            case 2:
                return Append(job.id, job.fence, end + 1, new, 1), RefusalReason.GAP
            case 3:  # told again, since nobody knew what had become of it
                again = log[-2:]
                log += new
                return Append(job.id, job.fence, end - len(again), [*again, *new], 1), None
        log += new
        return Append(job.id, job.fence, end, new, 1), None

    def commit(self, number: int) -> None:
        draw, rows, logs = self.draw, dict(self.rows), {id: list(log) for id, log in self.logs.items()}
        batch = Batch(1e6 + number)
        running = [job for job in rows.values() if job.state is JobState.RUNNING]
        wanted: list[RefusalReason | None] = []
        for job in draw.choices(running, k=draw.randint(0, len(running))):  # some of them twice
            request, refused = self.append(job, logs[job.id])
            batch.appends.append(request)
            wanted.append(refused)
        told: list[Callable[[Any], None]] = []

        def operate(call: Callable[[Transaction], Any], tell: Callable[[Any], None]) -> None:
            batch.operations.append(Operation(call, None, "operation"))  # type: ignore[arg-type]
            told.append(tell)

        def row(result: Any) -> None:
            self.rows[result.job.id] = result.job
            self.logs.setdefault(result.job.id, [])

        if draw.random() < 0.3:
            submitted = admission(f"j{number}", options=MANY_ATTEMPTS)
            operate(lambda tx: admitting.admit(tx, submitted), row)
        for job in draw.sample(running, min(len(running), draw.randint(0, 2))):
            log = logs[job.id]
            if draw.random() < 0.4:
                saved = Savepoint(job.id, job.fence, draw.randint(job.savepoint, len(log)), "1", 1)
                operate(lambda tx, saved=saved: transactions.savepoint(tx, saved), row)  # type: ignore[misc]
            else:
                kind = draw.choice([EndingKind.RETURNED, EndingKind.CRASHED, EndingKind.RELEASED])
                end = Finish(
                    job_id=job.id,
                    fence=job.fence,
                    kind=kind,
                    entries=len(log),
                    sha256=sha256(log),
                    used_ms=1,
                )
                operate(lambda tx, end=end: transactions.finish(tx, end), row)  # type: ignore[misc]
        if draw.random() < 0.4:
            began = frozenset((job.id, job.attempt) for job in running if draw.random() < 0.8)
            begun = Begun((self.engine.boot,), began) if draw.random() < 0.4 else None

            def claimed(claims: Claims) -> None:
                for job in list(self.rows.values()) if begun else ():
                    if job.state is JobState.RUNNING and (job.id, job.attempt) not in began:
                        self.rows[job.id] = attrs.evolve(job, state=JobState.QUEUED)
                self.claimed(claims)

            limit = draw.randint(0, 5)
            operate(lambda tx: transactions.claim(tx, limit, None, ANY_NAME, begun), claimed)
        self.failing = draw.choice(["output.appended", "operation.begun"]) if draw.random() < 0.15 else ""
        self.engine.run(batch)
        if batch.failure is None:
            self.logs = logs
            for settled, refused in zip(batch.settled, wanted, strict=True):
                got = settled.reason if isinstance(settled, Refused) else None
                assert got is refused
                assert refused or settled == APPENDED
            for operation, tell in zip(batch.operations, told, strict=True):
                assert operation.result is not None
                tell(operation.result.unwrap())
        self.failing = ""
        self.check()


@pytest.mark.clause("E1", "J6", "O2")
@pytest.mark.parametrize("seed", range(10))
def test_logs_are_as_they_were_told_after_any_commits_failures_and_deaths(tmp_path: Path, seed: int) -> None:
    told = Told(tmp_path, seed)
    try:
        for number in range(80):
            told.commit(number)
            if told.draw.random() < 0.05:
                told.die()
        assert any(told.logs.values())
    finally:
        told.engine.close()
