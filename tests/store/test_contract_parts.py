"""The contract can fail, part by part: an engine breaks one promise, and the test named beside it tells."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.store.shared_memory import SharedMemory, SharedMemoryStore, SharedTables
from tests.store.support import PROMPT_OPTIONS, maker
from trouper.store import asking, completing, queries, rules, signalling, transactions
from trouper.store.completions import MemoryCompletions
from trouper.store.contract.leases import LEASE, Nodes
from trouper.store.contract.suite import PARTS, SMALL_BOUNDS
from trouper.store.contract.world import World
from trouper.store.engine import EngineStore
from trouper.store.leases import Renewed
from trouper.store.memory import MemoryStore
from trouper.store.memory_tables import MemoryTables
from trouper.store.questions import AnswerOutcome
from trouper.store.signals import MemorySignals, SignalAnswer
from trouper.store.transaction import Transaction
from trouper.store.usage import usage_of

ADMITTED, ANSWER, SAVEPOINT = rules.admitted_row, asking.answer, transactions.savepoint
UNCLAIM = MemoryCompletions.unclaim
HOOKS_CLAIM = completing.claim


def _answered_again(tx: Any, request: Any) -> AnswerOutcome:
    """Takes whatever came last."""
    row = tx.tables.questions.get(request.job_id, request.key)
    if row is not None and row.answer is not None:
        tx.tables.questions.put(attrs.evolve(row, answer=request.value, answered_by=request.user))
        return AnswerOutcome.ACCEPTED
    return ANSWER(tx, request)


async def _renewed_though_dead(self: SharedMemoryStore, *, anew: bool = False) -> Renewed:
    self.shared.prolong(self._boot)
    return Renewed(self._boot, anew=False)


def _live_for_ever(self: SharedMemoryStore) -> Any:
    return Transaction(self.shared.tables, self._boot, self.shared.clock(), self._seams.new_id)


def _by_the_wall(self: EngineStore, wanted: Any, *, per_user: int = 20, users: int = 1000) -> Any:
    now = self._seams.wall()
    return self._query(
        lambda tables: queries.queue_places(tables, now, wanted, per_user=per_user, users=users)
    )


Break = tuple[Any, str, Any, str]
"""Where, what, by what, and the test (``part.name``) that finds it."""

ONE_OWNER: dict[str, Break] = {
    "it does not wait for its time": (
        rules,
        "admitted_row",
        lambda admission, now: ADMITTED(attrs.evolve(admission, at=None), now),
        "timing.test_a_job_that_is_put_off_is_not_claimed_before_its_time",
    ),
    "it waits in the queue for ever": (
        MemoryTables,
        "next_expired",
        lambda self, now: None,
        "timing.test_a_job_that_waited_too_long_ends_timed_out_whatever_kept_it_waiting",
    ),
    "a clock that is set ends what waits": (
        MemoryTables,
        "clock_jumped",
        lambda self, by_s, now: None,
        "clocks.test_what_a_jump_moved_is_moved_over_a_restart_too",
    ),
    "a name that nobody knows is not told": (
        transactions,
        "_mark_unknown",
        lambda tx, anywhere: None,
        "names.test_a_job_that_nobody_knows_waits_and_says_so_on_the_feed",
    ),
    "a place is told to nobody": (
        MemoryTables,
        "starts_of",
        lambda self, user, now, limit: [],
        "places.test_so_many_users_and_jobs_of_each_are_looked_at",
    ),
    "of a user only what runs is shown": (
        MemoryTables,
        "usage",
        lambda self, now, users: usage_of(
            (each.job for each in self.running(1)), (), users, self.questions.count
        ),
        "usage.test_the_users_with_the_most_active_jobs_are_told_the_largest_first",
    ),
    "a read position is lost": (
        transactions,
        "savepoint",
        lambda tx, request: SAVEPOINT(tx, attrs.evolve(request, heard=0)),
        "signals.test_the_read_position_is_saved_with_the_savepoint_and_outlives_the_attempt",
    ),
    "messages have no bound": (
        signalling,
        "SignalsFull",
        lambda most: SignalAnswer.ACCEPTED,
        "signals.test_so_many_may_be_pending_and_reading_makes_room",
    ),
    "a message that is sent twice is two": (
        MemorySignals,
        "get",
        lambda self, job_id, id: None,
        "signals.test_one_that_is_sent_twice_is_one_message_and_other_content_is_a_clash",
    ),
    "a question is answered twice": (
        asking,
        "answer",
        _answered_again,
        "questions.test_only_the_first_answer_counts_and_the_same_again_is_accepted",
    ),
    "a question is in no inbox": (
        asking,
        "asked",
        lambda tx, job, request: None,
        "questions.test_the_question_is_in_the_feed_and_in_the_inbox",
    ),
    "what was claimed unheard runs for ever": (
        transactions,
        "_give_back",
        lambda tx, begun: None,
        "jobs.test_what_was_claimed_without_an_answer_runs_again_and_used_no_attempt",
    ),
    "a try that was claimed unheard counts": (
        completing,
        "_released",
        lambda row: attrs.evolve(row, claimed_at=None, claimed_by=None, run_at=0.0),
        "completions.test_a_try_that_was_claimed_without_an_answer_is_claimed_anew_and_not_counted",
    ),
    "an end leaves no completion": (
        MemoryCompletions,
        "put",
        lambda self, row: None,
        "completions.test_those_that_end_without_running_leave_one_too",
    ),
    "a try that its process left is forgotten": (
        MemoryCompletions,
        "unclaim",
        lambda self, gone: None,
        "completions.test_what_was_claimed_by_one_that_is_gone_is_claimed_anew_and_counted",
    ),
    "a node takes the hooks of jobs that only others have": (
        completing,
        "claim",
        lambda tx, limit, names, begun: HOOKS_CLAIM(tx, limit, None, begun),
        "completions.test_those_of_a_job_that_another_live_node_has_are_left_to_it",
    ),
    "a dead completion runs by itself": (
        completing,
        "retry",
        lambda tx, job_id: True,
        "completions.test_one_that_is_given_up_is_shown_and_runs_again_only_when_asked_for",
    ),
}

SHARED: dict[str, Break] = {
    "a lease that has run out is prolonged": (
        SharedMemoryStore,
        "renew",
        _renewed_though_dead,
        "leases.test_a_lease_that_has_run_out_is_not_prolonged_but_another_boot_begins",
    ),
    "a late write is accepted": (
        SharedTables,
        "bury_the_dead",
        lambda self: None,
        "leases.test_a_late_write_is_refused_before_anybody_has_claimed_the_attempt",
    ),
    "a late end is accepted": (
        SharedMemoryStore,
        "_begin",
        _live_for_ever,
        "leases.test_a_late_write_is_refused_before_anybody_has_claimed_the_attempt",
    ),
    "a lease never runs out": (
        SharedMemory,
        "live",
        lambda self, boot: boot is not None,
        "leases.test_what_a_dead_node_ran_is_the_next_attempt_of_another_one",
    ),
    "what another node runs is an orphan": (
        SharedTables,
        "live",
        MemoryTables.live,
        "leases.test_what_a_live_node_runs_is_nobody_elses",
    ),
    "a node that starts takes the hooks of all others": (
        MemoryCompletions,
        "unclaim",
        lambda self, gone: UNCLAIM(self, lambda boot: True),
        "leases.test_a_node_that_starts_leaves_the_hooks_that_a_live_one_runs",
    ),
    "a node hears of its own commits only": (
        SharedMemoryStore,
        "_hear",
        lambda self, notice: None,
        "leases.test_every_node_hears_of_every_commit_in_order",
    ),
    "an append moves what waits by a nodes own clock": (
        SharedMemoryStore,
        "_moment",
        MemoryStore._moment,
        "leases.test_a_nodes_own_clock_decides_nothing",
    ),
    "places go by a nodes own clock": (
        EngineStore,
        "queue_places",
        _by_the_wall,
        "leases.test_a_nodes_own_clock_decides_nothing",
    ),
}


def cases_of(test: Callable[..., Any]) -> list[dict[str, Any]]:
    """The arguments with which pytest would call it, but for its fixture."""
    cases: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            name, values = mark.args
            cases = [{**case, name: value} for case in cases for value in values]
    return cases


async def run_on(test: Callable[..., Any], folder: Path, case: dict[str, Any], leased: bool) -> None:
    failed: AssertionError | ValueError | None = None
    async with trio.open_nursery() as nursery:
        fixture: Any
        if leased:
            shared: list[SharedMemory] = []

            def make(seams: Any, options: Any) -> SharedMemoryStore:
                if not shared:
                    shared.append(SharedMemory(clock=seams.now, lease=LEASE))
                return shared[0].node(seams, options)

            fixture = Nodes(World(make, nursery, name="a"), World(make, nursery, name="b"))
            worlds, name = [*fixture], "nodes"
        else:
            name = "small" if "small" in test.__annotations__ else "world"
            bounds = SMALL_BOUNDS if name == "small" else PROMPT_OPTIONS
            fixture = World(maker("memory", folder / "unused"), nursery, options=bounds)
            worlds = [fixture]
        for world in worlds:
            await world.open()
        try:
            await test(**{name: fixture}, **case)
        except (AssertionError, ValueError) as found:
            failed = found
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed


def run_part(name: str, folder: Path, *, leased: bool) -> None:
    part, _, test_name = name.partition(".")
    assert leased or part in (*PARTS, "clocks")
    test = getattr(import_module(f"trouper.store.contract.{part}"), test_name)
    for case in cases_of(test):
        trio.run(partial(run_on, test, folder, case, leased))


@pytest.mark.clause("E2", "J5", "J6", "J7", "J8", "N1")
@pytest.mark.parametrize("promise", [*ONE_OWNER, *SHARED])
def test_an_engine_that_breaks_one_promise_is_caught_by_the_test_of_it(
    promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, what, broken, name = {**ONE_OWNER, **SHARED}[promise]
    run_part(name, tmp_path, leased=promise in SHARED)
    monkeypatch.setattr(where, what, broken)
    with pytest.raises((AssertionError, ValueError)):
        run_part(name, tmp_path, leased=promise in SHARED)
