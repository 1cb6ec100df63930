"""The plain loop beside the store does what the store does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.store import opened, writers
from benchmarks.store.writers import Work


def test_the_plain_loop_has_the_settings_of_the_stores_connection(tmp_path: Path) -> None:
    with opened.recorded() as recording:
        Work(writers.admissions, 1).record(1, recording)
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        opened.execute(connection, recording.statements[: recording.begun])
        settings = ("journal_mode", "synchronous", "secure_delete")
        found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in settings]
    assert found == ["wal", 2, 2], "FULL, and fast"
