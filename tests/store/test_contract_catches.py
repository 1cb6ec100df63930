"""The contract can fail: each engine here breaks one promise in one line, and random histories tell."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.store.shared_memory import SharedMemory, SharedMemoryStore, SharedTables
from tests.store.support import maker
from trouper.store import contract, memory_queue, rules, transactions
from trouper.store.completions import MemoryCompletions
from trouper.store.contract import check_against_model
from trouper.store.contract.suite import SHORT_LEASE
from trouper.store.lifecycle import JobEvent
from trouper.store.memory import MemoryStore
from trouper.store.memory_tables import MemoryTables
from trouper.store.nodes import MemoryNodes
from trouper.store.options import StoreOptions
from trouper.store.protocol import Store
from trouper.store.records import Counts
from trouper.store.seams import Seams
from trouper.store.tables import Candidate, Head, Turn
from trouper.store.views import Snapshot

pytestmark = pytest.mark.slow

HISTORIES = 300


def compare(folder: Path, histories: int = HISTORIES) -> None:
    check_against_model(
        lambda _: maker("memory", folder / "unused"), folder, histories=histories, shrink=False
    )


def _as_if_without_threads(self: MemoryTables, *where: Any) -> tuple[Candidate, Turn] | None:
    free = [attrs.evolve(each, job=attrs.evolve(each.job, thread=None)) for each in self._candidates()]
    found = memory_queue.next_due(free, self._turns(), *where)
    return found and (attrs.evolve(found[0], job=self._jobs[found[0].job.id]), found[1])


BROKEN: dict[str, tuple[Any, str, Any]] = {
    "an old fence may write": (rules, "refuse_write", lambda job, fence, boot: None),
    "a claim cuts nothing": (
        MemoryTables,
        "begin_log",
        lambda self, job: self._heads.update(
            {job.id: Head(job.id, job.attempt, job.fence, len(self._logs[job.id]), job.used_ms)}
        ),
    ),
    "a notification is doubled": (
        MemoryTables,
        "notification",
        lambda self, user, job, kind, key: None,
    ),
    "a finish that is repeated is refused": (rules, "finished_before", lambda job, finish: False),
    "an end notifies nobody": (rules, "ended_notification", lambda job, *, id, now: None),
    "read ones are counted as unread": (
        MemoryTables,
        "counts",
        lambda self, user: (
            Counts(*[sum(row.seen_at is None for row in self._users[user].notifications.values())] * 2)
            if user in self._users
            else Counts()
        ),
    ),
    "the feed stands still": (MemoryTables, "set_feed_seq", lambda self, user, seq: None),
    "changed notifications are left out of a resume": (
        MemoryTables,
        "changed_notifications",
        lambda self, user, seq, limit: [],
    ),
    "a removal leaves cursors as they are": (MemoryTables, "set_floor_seq", lambda self, user, seq: None),
    "who was served is served again": (MemoryTables, "served", lambda self, user: None),
    "what a dead boot ran is left": (MemoryTables, "next_orphan", lambda self, boot, after: None),
    "a dead boot writes on": (MemoryTables, "new_boot", lambda self, boot: setattr(self, "_boot", boot)),
    "a cancel that came first is forgotten": (MemoryTables, "tombstone", lambda self, user, key: None),
    "tombstones have no bound": (
        MemoryTables,
        "put_tombstone",
        lambda self, user, key, expires_at, *, now, most: self._tombstones.update({(user, key): expires_at}),
    ),
    "a key is everybody's": (
        MemoryTables,
        "job_by_key",
        lambda self, user, key: next(
            (job for job in self._jobs.values() if job.idempotency_key == key is not None), None
        ),
    ),
    "a thread is never busy": (MemoryTables, "next_due", _as_if_without_threads),
    "an interrupt ends nothing": (MemoryTables, "active_in", lambda self, user, thread, now: []),
    "an unsafe step is repeated": (
        rules,
        "judge_claim",
        lambda job, now, *, known=True: rules.Run(job.attempts_used + (job.boot is not None)),
    ),
    "an ended job comes back": (
        rules,
        "_ending_event",
        lambda job, finish, used: (JobEvent.RETRY, "crash"),
    ),
    "a gap is accepted": (transactions, "_repeats", lambda tables, head, request, known: True),
    "listeners hear of nothing": (MemoryStore, "_tell", lambda self, notice: None),
    "a restart is no boot": (MemoryStore, "boot", property(lambda self: 1)),
    "a rollback keeps the output": (rules, "rolled_back", lambda job: False),
    "a snapshot is empty": (Snapshot, "jobs", property(lambda self: (), lambda self, value: None)),
}


@pytest.mark.clause("J1", "J6", "N1", "N3", "N5")
@pytest.mark.parametrize("promise", BROKEN)
def test_an_engine_that_breaks_one_promise_is_caught(
    promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, name, broken = BROKEN[promise]
    monkeypatch.setattr(where, name, broken)
    with pytest.raises(AssertionError):
        compare(tmp_path)


def test_an_engine_that_breaks_none_is_not(tmp_path: Path) -> None:
    compare(tmp_path, 100)


def _told_of(tmp_path: Path) -> str:
    """What is said of a difference, when a shorter history was looked for."""
    with pytest.raises((AssertionError, TypeError)) as failed:
        check_against_model(lambda _: maker("memory", tmp_path / "unused"), tmp_path, histories=HISTORIES)
    return "\n".join([f"{failed.value!r}", *failed.value.__notes__])


def test_a_difference_is_told_by_what_it_is_about_and_a_history_of_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryStore, "jobs", lambda self, *where, **how: MemoryStore.running(self))
    told = _told_of(tmp_path)
    assert "the jobs of ada, newest first" in told
    assert told.count("('admit', ") == 1
    assert told.count("\n") < 20


def test_an_engine_that_raises_is_told_as_it_did_with_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryStore, "mark", lambda self, user, mark: None)
    told = _told_of(tmp_path)
    assert told.startswith("TypeError(")
    assert "unexpected keyword argument 'ids'" in told
    assert told.count("('mark', ") == 1
    assert told.count("\n") < 20


def test_the_contract_runs_in_a_project_that_has_set_nothing(tmp_path: Path) -> None:
    tmp_path.joinpath("pytest.ini").write_text("[pytest]\n")
    tmp_path.joinpath("test_mine.py").write_text(
        "from trouper.store.contract import StoreContract\n"
        "from trouper.store.memory import MemoryStore\n\n\n"
        "class TestMine(StoreContract):\n"
        "    def make_store(self, folder, seams, options):\n"
        "        return MemoryStore(seams, options)\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-k",
        "nothing_to_renew or asks_nothing",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "2 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("missing", ["pytest", "hypothesis", "pytest_trio"])
def test_what_needs_the_extra_says_so(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("trouper.store.contract.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=rf"needs {missing}.*pip install 'trouper\[test\]'"):
        _ = contract.StoreContract


BROKEN_OF_TWO: dict[str, tuple[Any, str, Any]] = {
    "what another node runs is an orphan": (SharedTables, "live", MemoryTables.live),
    "a boot that was let go lives on": (SharedMemory, "live", lambda self, boot: boot is not None),
    "a node knows its own names only": (MemoryNodes, "known", lambda self: frozenset({"report"})),
    "a lease is longer than was told": (
        SharedMemory,
        "live",
        lambda self, boot: self.clock() < self.live_until.get(boot, 0.0) + 2.0,
    ),
    "output of a node whose lease ran out is taken": (SharedTables, "bury_the_dead", lambda self: None),
    "ends of a node whose lease ran out are taken": (SharedMemoryStore, "_begin", MemoryStore._begin),
    "hooks of a node whose lease ran out are nobody's": (
        MemoryCompletions,
        "unclaim",
        lambda self, gone: None,
    ),
}


@pytest.mark.clause("J6")
@pytest.mark.parametrize("promise", BROKEN_OF_TWO)
def test_random_histories_of_two_nodes_catch_an_engine_that_mixes_them_up(
    promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(_: Path) -> Callable[[Seams, StoreOptions], Store]:
        shared: list[SharedMemory] = []

        def node(seams: Seams, options: StoreOptions) -> Store:
            if not shared:
                shared.append(SharedMemory(clock=seams.now, lease=SHORT_LEASE))
            return shared[0].node(seams, options)

        return node

    check_against_model(make, tmp_path, histories=5, shrink=False, nodes=2)
    monkeypatch.setattr(*BROKEN_OF_TWO[promise])
    broken = tmp_path / "broken"
    broken.mkdir()
    with pytest.raises(AssertionError):
        check_against_model(make, broken, histories=HISTORIES, shrink=False, nodes=2)
