"""The same statements in the same batches, in a plain loop: what SQLite itself needs for them."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from benchmarks.store import opened
from benchmarks.store.writers import Work


def replay(work: Work, times: int) -> float:
    """Have ``work`` done once to learn its statements, then carry them out again on a new file.

    Only the part that is measured is timed; what sets the stage comes first. The seconds are for
    ``times``, though every writer does a whole number of them.
    """
    with opened.recorded() as recording:
        work.take(times, recording)
    with opened.folder() as path, closing(_connect(path)) as connection:
        opened.execute(connection, recording.statements[: recording.begun])
        measured = recording.statements[recording.begun : recording.ended]
        began = time.perf_counter()
        opened.execute(connection, measured)
        return time.perf_counter() - began


def _connect(path: object) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path}/{opened.FILE}", isolation_level=None, cached_statements=256)
    connection.text_factory = lambda raw: str(raw, "utf-8", "replace")
    return connection
