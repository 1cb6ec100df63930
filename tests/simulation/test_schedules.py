"""Schedules as they are asked: without trio."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import get_args

import pytest

from trouper.simulation import BadPlan, Recorded, ReplayDiverged
from trouper.simulation.schedules import PASSED_OVER_MAX, Kind, Recorder, Starve

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schedule_runs_some_of_the_tasks_each_once(kind: Kind) -> None:
    recorder = Recorder(kind, seed=1)
    for size in (2, 5, 3, 2) * 20:
        order = recorder.order(range(size))
        assert order
        assert len(set(order)) == len(order)
        assert set(order) <= set(range(size))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_orders_and_another_others(kind: Kind) -> None:
    def orders(seed: object) -> Recorded:
        recorder = Recorder(kind, seed)
        for _ in range(30):
            recorder.order(range(5))
        return recorder.recorded("")

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)


def test_a_victim_is_passed_over_but_not_for_ever() -> None:
    schedule = Starve(random.Random(3))
    waited = dict.fromkeys(range(8), 0)
    longest = 0
    for _ in range(500):
        ran = set(schedule.order(range(8)))
        waited = {task: 0 if task in ran else count + 1 for task, count in waited.items()}
        longest = max(longest, *waited.values())
    assert 2 < longest <= PASSED_OVER_MAX


def test_a_priority_that_was_lost_has_another_task_run_first() -> None:
    recorder = Recorder("priority", seed=1)
    first = [recorder.order(range(4))[0] for _ in range(400)]
    changes = sum(one != other for one, other in pairwise(first))
    assert 1 <= changes < 40


def test_a_recorded_schedule_is_json_and_comes_again() -> None:
    recorder = Recorder("starve", seed=1)
    orders = [recorder.order(range(size)) for size in (2, 3, 4, 5)]
    again = Recorder(Recorded.loads(recorder.recorded("ab12").dumps()), seed=2)
    assert [again.order(range(size)) for size in (2, 3, 4, 5)] == orders
    assert again.diverged("ab12") is None
    assert again.diverged("another") == "the run took other steps than the recorded one, or at other times"
    with pytest.raises(ReplayDiverged, match="the schedule has 4 batches, and the run goes on"):
        again.order(range(2))


def test_a_schedule_that_does_not_fit_the_run_says_where() -> None:
    with pytest.raises(ReplayDiverged, match="batch 0 of the schedule has 3 tasks, but 2 can run"):
        Recorder(Recorded(((3, (2, 1, 0)),), ""), seed=1).order(range(2))


@pytest.mark.parametrize(
    "batches", ["[1]", "[[2]]", "[[2, [2]]]", "[[2, []]]", '[["2", [0]]]', "[[2, [1, 1]]]", "[[2, 7]]", "7"]
)
def test_what_are_no_batches_of_a_schedule_is_refused(batches: str) -> None:
    assert Recorded.loads('{"trace_hash": "a", "batches": []}') == Recorded((), "a")
    with pytest.raises(BadPlan, match="a schedule "):
        Recorded.loads(f'{{"trace_hash": "a", "batches": {batches}}}')


@pytest.mark.parametrize("text", ["", "{}", "[]", "7", '{"batches": []}', '{"trace_hash": 1, "batches": []}'])
def test_what_is_no_schedule_at_all_is_refused(text: str) -> None:
    with pytest.raises(BadPlan, match="a schedule "):
        Recorded.loads(text)


def test_the_legal_kinds_are_named_to_who_gives_another() -> None:
    with pytest.raises(
        BadPlan, match="schedule='random': legal are uniform, priority, starve and a Recorded"
    ):
        Recorder("random", seed=1)  # type: ignore[arg-type]
