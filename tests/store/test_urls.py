"""A database URL to its engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trouper.store.errors import StoreRefused
from trouper.store.memory import MemoryStore
from trouper.store.seams import Seams
from trouper.store.sqlite import SqliteStore
from trouper.store.urls import create_store


def test_the_legal_forms_name_an_engine_and_a_path() -> None:
    assert isinstance(create_store("memory:", Seams()), MemoryStore)
    relative, absolute = (
        create_store("sqlite:///chat.db", Seams()),
        create_store("sqlite:////tmp/x.db", Seams()),
    )
    assert isinstance(relative, SqliteStore)
    assert isinstance(absolute, SqliteStore)
    assert (relative._path, absolute._path) == (Path("chat.db"), Path("/tmp/x.db"))


@pytest.mark.parametrize(
    "url",
    [
        *("", "memory", ":memory:", "sqlite:///", "sqlite:///:memory:", "sqlite:///memory:"),
        *("sqlite:chat.db", "sqlite://chat.db", "sqlite:///x.db?mode=ro", "redis://x/1"),
    ],
)
def test_any_other_url_is_refused_naming_the_legal_forms(url: str) -> None:
    with pytest.raises(StoreRefused, match=r"memory: \| sqlite:///relative"):
        create_store(url, Seams())


def test_an_engine_is_imported_only_when_it_is_chosen() -> None:
    script = (
        "import sys, trouper.store.urls as urls\n"
        "from trouper.store.seams import Seams\n"
        "urls.create_store('memory:', Seams())\n"
        "sys.exit('sqlite3' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
