"""One commit, on the store's thread: appends and operations in one transaction.

Each operation runs in a savepoint of its own, so that a poisoned one fails alone. What fails the
database as a whole (full, locked, an I/O error) fails the batch: nothing of it is committed, and
everybody in it is told that the store is unavailable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import outcome
import trio

from trouper.store.asking import clock_jumped
from trouper.store.errors import DataRefused, StoreCorrupt, StoreUnavailable, TrouperError
from trouper.store.options import StoreOptions
from trouper.store.protocol import Append, Appended, AppendFailed, OutputSource, RefusalReason, Refused
from trouper.store.seams import Seams
from trouper.store.sqlite_log import SqliteLog
from trouper.store.sqlite_open import is_damage, is_outage, open_database
from trouper.store.sqlite_tables import SqliteTables
from trouper.store.transaction import Changed, Transaction
from trouper.store.transactions import append


@attrs.define(eq=False)
class Operation:
    """A transaction or a read that somebody waits for. ``argument`` is a ``Transaction`` for the
    one, the ``Tables`` for the other."""

    call: Callable[[Any], Any]
    task: trio.lowlevel.Task
    site: str = ""
    """The name of its fault points, if it has some."""
    handed_over: bool = False
    """In a batch: from now on its waiter cannot be cancelled."""
    result: outcome.Outcome[Any] | None = None
    raise_cancel: Callable[[], Any] | None = None
    """Its waiter was cancelled after that."""
    let_go: bool = False
    """Its waiter was told that the outcome is not known, and waits no more."""


@attrs.define(eq=False)
class Batch:
    """What goes to the thread in one call. The results are put into it there."""

    now: float
    jumped_s: float = 0.0
    """How far the wall clock has jumped, to ``now``, since the last commit."""
    sources: list[OutputSource] = attrs.field(factory=list)
    appends: list[Append] = attrs.field(factory=list)
    """What each of ``sources`` gave."""
    operations: list[Operation] = attrs.field(factory=list)
    reads: list[Operation] = attrs.field(factory=list)
    settled: Sequence[Appended | Refused | AppendFailed] = ()
    """One for each of ``appends``."""
    changed: Changed = attrs.field(factory=Changed)
    committed: bool = False
    """The commit went through, whatever is raised after it."""
    failure: str | None = None
    """Why the database as a whole refused the commit."""

    def told(self) -> str:
        """What it is, for people."""
        what = [f"{len(self.operations)} operations"] if self.operations else []
        what += [f"the output of {len(self.appends)} jobs"] if self.appends else []
        return f"a commit of {' and '.join(what)}" if what else f"{len(self.reads)} reads"


class SqliteEngine:
    """The open database, on its thread."""

    def __init__(self, path: Path, seams: Seams, options: StoreOptions) -> None:
        opened = open_database(path, options, seams.new_id)
        self.boot = opened.boot
        self.epoch = opened.epoch
        self._db = opened.connection
        self._seams = seams
        self._job_names_max = options.job_names_max
        self._log = SqliteLog(self._db, options)
        self._tables = SqliteTables(self._db, self._log, self.boot)
        self.counters = dict.fromkeys(
            ("commits", "output_commits", "failed_commits", "poisoned", "operations", "appends", "reads"), 0
        )

    def close(self) -> None:
        """Close the connection, which folds the write-ahead log into the file."""
        self._db.close()

    def statistics(self) -> dict[str, int]:
        names = {"job_names": len(self._tables.nodes), "job_names_max": self._job_names_max}
        return {**self.counters, **self._log.statistics(), **names}

    def run(self, batch: Batch) -> None:
        """Commit the appends and operations of ``batch``, then do its reads on what is committed.

        Raises what a fault point raises after the commit: the outcome is unknown to everybody then,
        as it is when a process dies there.
        """
        if batch.appends or batch.operations:
            self._commit(batch)
        for read in batch.reads:
            self.counters["reads"] += 1
            try:
                read.result = outcome.Value(read.call(self._tables))
            except Exception as error:
                read.result = outcome.Error(_told(error))

    def _commit(self, batch: Batch) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            if batch.jumped_s:
                tx = self._begin(batch)
                clock_jumped(tx, batch.jumped_s)
                batch.changed.merge(tx.changed)
            grew = self._append(batch)
            for operation in batch.operations:
                self._operate(operation, batch)
            self._log.flush()
            if grew:
                self._seams.fault("output.appended")
            self._db.execute("COMMIT")
        except Exception as error:
            self._roll_back(batch, error)
            return
        batch.committed = True
        self._log.committed()
        self.counters["commits"] += 1
        if grew:
            self.counters["output_commits"] += 1
            self._seams.fault("output.committed")
        for site in dict.fromkeys(operation.site for operation in batch.operations if operation.site):
            self._seams.fault(f"{site}.committed")

    def _append(self, batch: Batch) -> bool:
        """Judge and gather the appends; whether any was accepted. Their statements are ``flush``'s."""
        outputs = batch.changed.outputs

        def judge(request: Append) -> Appended | Refused:
            try:
                return append(self._tables, request, outputs)
            except Exception as error:
                if self._failed_as_a_whole(error):
                    raise
                # To offer it again would meet the same (its log is damaged): this attempt is over.
                return Refused(RefusalReason.POISONED, detail=f"{type(error).__name__}: {error}")

        batch.settled = self._log.append_all(batch.appends, outputs, judge)
        self.counters["appends"] += len(batch.appends)
        return bool(outputs)

    def _operate(self, operation: Operation, batch: Batch) -> None:
        self.counters["operations"] += 1
        if operation.site:
            self._seams.fault(f"{operation.site}.begun")
        mark = self._log.mark()
        tx = self._begin(batch)
        self._db.execute("SAVEPOINT operation")
        try:
            operation.result = outcome.Value(operation.call(tx))
        except Exception as error:
            if self._failed_as_a_whole(error):
                raise
            self.counters["poisoned"] += 1
            self._db.execute("ROLLBACK TO operation")
            self._log.roll_back(mark)
            operation.result = outcome.Error(_told(error))
        else:
            batch.changed.merge(tx.changed)
        self._db.execute("RELEASE operation")

    def _begin(self, batch: Batch) -> Transaction:
        return Transaction(self._tables, self.boot, batch.now, self._seams.new_id)

    def _failed_as_a_whole(self, error: Exception) -> bool:
        # A full disk or an I/O error may have rolled back the whole transaction already.
        return is_outage(error) or not self._db.in_transaction

    def _roll_back(self, batch: Batch, error: Exception) -> None:
        self.counters["failed_commits"] += 1
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._log.failed()
        batch.failure = f"nothing was committed: {type(error).__name__}: {error}"
        batch.changed = Changed()
        batch.settled = [AppendFailed(batch.failure) for _ in batch.appends]
        for operation in batch.operations:
            operation.result = outcome.Error(unavailable(batch.failure, error))


def unavailable(message: str, cause: BaseException | None = None) -> StoreUnavailable:
    """An error for one waiter: each has its own, since raising writes into it."""
    error = StoreUnavailable(message)
    error.__cause__ = cause
    return error


def _told(error: Exception) -> Exception:
    """What the waiter of one operation is told of ``error``."""
    told: TrouperError
    if is_outage(error):
        told = StoreUnavailable(f"the database cannot be read: {error}")
    elif is_damage(error):
        told = StoreCorrupt(f"the database is damaged: {error}")
    elif isinstance(error, sqlite3.Error | UnicodeError | OverflowError):
        told = DataRefused(f"this operation cannot be stored: {error}")
    else:  # one of ours, or a fault of ours
        return error
    told.__cause__ = error
    return told
