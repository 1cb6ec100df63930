"""The parts of supervision that only compute: strategies, intensity, backoff, budgets, specs, trees."""

from __future__ import annotations

import json
import math
from random import Random

import pytest

from trouper.supervisor.backoff import Backoff
from trouper.supervisor.budget import RestartBudget
from trouper.supervisor.child_spec import ChildContext, ChildSpec
from trouper.supervisor.errors import BadSpec
from trouper.supervisor.intensity import Intensity, RestartWindow
from trouper.supervisor.lane import Timers
from trouper.supervisor.strategy import ExitReason, Restart, Strategy, affected, calls_for_restart
from trouper.supervisor.supervisor import Supervisor
from trouper.supervisor.tree import TreeNode


async def do_nothing(_context: ChildContext) -> None:
    pass


@pytest.mark.clause("S1")
@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [
        (Strategy.ONE_FOR_ONE, ["b"]),
        (Strategy.REST_FOR_ONE, ["b", "c"]),
        (Strategy.ONE_FOR_ALL, ["a", "b", "c"]),
    ],
)
def test_a_strategy_says_who_is_restarted_with_whom(strategy: Strategy, restarted: list[str]) -> None:
    assert list(affected(strategy, ("a", "b", "c"), "b")) == restarted


@pytest.mark.clause("S1")
def test_the_restart_type_says_which_end_is_a_failure() -> None:
    table = {
        kind: [calls_for_restart(kind, exit) for exit in (ExitReason.CRASHED, ExitReason.RETURNED)]
        for kind in Restart
    }
    assert table == {
        Restart.PERMANENT: [True, True],
        Restart.TRANSIENT: [True, False],
        Restart.TEMPORARY: [False, False],
    }


@pytest.mark.clause("S1")
def test_the_window_admits_so_many_restarts_in_a_period_and_forgets_older_ones() -> None:
    window = RestartWindow(Intensity(2, 10))
    assert [window.admit(now) for now in (0, 5, 9.9, 10, 14, 15)] == [True, True, False, True, False, True]


def test_no_restart_at_all_is_an_intensity() -> None:
    assert not RestartWindow(Intensity(0, 1)).admit(0)


def test_backoff_grows_to_its_bound_and_never_overflows() -> None:
    backoff = Backoff(base_s=1, factor=2, max_s=10, jitter=0)
    assert [backoff.delay_s(n, Random(1)) for n in (1, 2, 3, 4, 5, 100_000)] == [1, 2, 4, 8, 10, 10]


def test_jitter_only_ever_shortens() -> None:
    backoff, dice = Backoff(base_s=8, max_s=8, jitter=0.25), Random(1)
    delays = [backoff.delay_s(1, dice) for _ in range(200)]
    assert 6 <= min(delays) < 6.5 < 7.5 < max(delays) <= 8


def test_a_long_life_ends_the_row_of_failures() -> None:
    budget = RestartBudget(None, Backoff(base_s=1, factor=2, max_s=100, jitter=0, reset_after_s=60))
    assert [budget.delay_s(lived_s, Random(1)) for lived_s in (0, 59, 5, 60, 0)] == [1, 2, 4, 1, 2]
    budget.forgive()
    assert budget.delay_s(0, Random(1)) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Intensity(-1, 1),
        lambda: Intensity(1, 0),
        lambda: Intensity(1, math.inf),
        lambda: Backoff(base_s=-1),
        lambda: Backoff(base_s=2, max_s=1),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(jitter=2),
        lambda: ChildSpec("", do_nothing),
        lambda: ChildSpec("a", do_nothing, shutdown_s=-1),
        lambda: ChildSpec("a", do_nothing, shutdown_s=math.nan),
        lambda: ChildSpec("a", do_nothing, start_timeout_s=0),
        lambda: Supervisor("a/b", []),
        lambda: Supervisor("a", [], shutdown_total_s=math.inf),
        lambda: Supervisor("a", [ChildSpec("b", do_nothing), ChildSpec("b", do_nothing)]),
    ],
)
def test_what_is_not_legal_is_refused_where_it_is_declared(make: object) -> None:
    with pytest.raises(BadSpec):
        make()  # type: ignore[operator]  # every case is a lambda


def test_a_tree_is_text_for_people_and_json_for_machines() -> None:
    tree = TreeNode(
        "runtime",
        "supervisor",
        "running",
        note="rest_for_one",
        children=(
            TreeNode("store", "child", "running", 2, 1),
            TreeNode(
                "core", "keyed", "running", 1, children=(TreeNode("ada", "actor", "running", 1),), hidden=7
            ),
        ),
    )
    assert tree.text().splitlines() == [
        "runtime: supervisor, running (rest_for_one)",
        "├── store #2: child, running, 1 restart",
        "└── core #1: keyed, running",
        "    ├── ada #1: actor, running",
        "    └── … and 7 more",
    ]
    assert json.loads(tree.to_json())["children"][1]["children"][0]["name"] == "ada"


def test_timers_keep_one_call_for_each_key_and_no_dead_ones() -> None:
    timers, rang = Timers(), list[str]()
    timers.set("a", 5, lambda: rang.append("a5"))
    timers.set("a", 2, lambda: rang.append("a2"))
    timers.set("b", 1, lambda: rang.append("b1"))
    timers.set("c", 1, lambda: rang.append("c1"))
    timers.clear("c")
    timers.set("never", math.inf, lambda: rang.append("never"))
    assert timers.next_at() == 1
    timers.fire(2)
    assert rang == ["b1", "a2"]
    assert timers.next_at() == math.inf
    for number in range(10_000):
        timers.set("busy", number, lambda: None)
    assert len(timers) == 1
    assert len(timers._heap) < 100
