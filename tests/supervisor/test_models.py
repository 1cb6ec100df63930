"""Restart windows, back-off and strategies against models that are too simple to be wrong."""

from __future__ import annotations

import math
from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.supervisor.helpers import Stage, running
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.budget import RestartBudget
from trouper.supervisor.intensity import Intensity, RestartWindow
from trouper.supervisor.strategy import Restart, Strategy, affected
from trouper.supervisor.supervisor import Supervisor

settle = trio.testing.wait_all_tasks_blocked

# Quarters of a second, so that sums are exact and the ends of periods are met.
QUARTERS = st.integers(0, 40).map(lambda quarters: quarters / 4)


@pytest.mark.clause("S1")
@given(st.integers(0, 5), st.integers(1, 40).map(lambda quarters: quarters / 4), st.lists(QUARTERS))
def test_the_window_admits_what_a_list_of_all_restarts_admits(
    restarts: int, period_s: float, gaps: list[float]
) -> None:
    window, admitted, now = RestartWindow(Intensity(restarts, period_s)), list[float](), 0.0
    for gap in gaps:
        now += gap
        fits = len([time for time in admitted if now - time < period_s]) < restarts
        assert window.admit(now) is fits
        if fits:
            admitted.append(now)
        assert len(window._times or ()) <= restarts, "it is bounded"


@pytest.mark.clause("S1")
@given(st.lists(QUARTERS, min_size=1), st.integers(1, 4), st.integers(1, 20))
def test_never_are_there_more_restarts_in_a_period_than_the_intensity_says(
    gaps: list[float], restarts: int, period_s: int
) -> None:
    window, admitted, now = RestartWindow(Intensity(restarts, period_s)), list[float](), 0.0
    for gap in gaps:
        now += gap
        if window.admit(now):
            admitted.append(now)
    for start in admitted:
        assert len([time for time in admitted if start <= time < start + period_s]) <= restarts


@given(st.integers(1, 200), st.floats(0, 1), st.floats(1, 10), st.integers(0, 2**32))
def test_a_backoff_is_between_its_whole_less_the_jitter_and_its_whole(
    failures: int, jitter: float, factor: float, seed: int
) -> None:
    backoff = Backoff(base_s=0.5, factor=factor, max_s=60, jitter=jitter)
    whole = min(60.0, math.exp(min(700.0, math.log(0.5) + (failures - 1) * math.log(factor))))
    delay_s = backoff.delay_s(failures, Random(seed))
    assert whole * (1 - jitter) * 0.999 <= delay_s <= whole * 1.001


def test_full_jitter_is_the_default_and_spreads_over_the_whole_wait() -> None:
    dice, backoff = Random(1), Backoff(base_s=8, max_s=8)
    delays = sorted(backoff.delay_s(1, dice) for _ in range(1000))
    assert delays[0] < 0.1
    assert delays[-1] > 7.9
    assert 3.6 < delays[500] < 4.4


@given(st.lists(st.one_of(QUARTERS, st.just("healthy"), st.just("forgive"))))
def test_the_row_of_failures_is_ended_by_age_by_saying_so_and_by_hand(steps: list[float | str]) -> None:
    budget = RestartBudget(None, Backoff(base_s=1, factor=2, max_s=2**20, jitter=0, reset_after_s=5))
    row = 0
    for step in steps:
        if step == "healthy":
            budget.mark_healthy()
            row = 0
        elif step == "forgive":
            budget.forgive()
            row = 0
        else:
            assert isinstance(step, float)
            row = 1 if step >= 5 else row + 1
            assert budget.delay_s(step, Random(0)) == min(2**20, 2 ** (row - 1))


@pytest.mark.clause("S1")
@given(st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_the_affected_are_one_the_rest_or_all_in_the_order_of_their_start(case: tuple[int, int]) -> None:
    count, failed = case
    names = [f"c{number}" for number in range(count)]
    group = {strategy: list(affected(strategy, names, names[failed])) for strategy in Strategy}
    assert group[Strategy.ONE_FOR_ONE] == [names[failed]]
    assert group[Strategy.REST_FOR_ONE] == [name for name in names if name >= names[failed]]
    assert group[Strategy.ONE_FOR_ALL] == names


class Model:
    """What a supervisor does, for children that stop at once and restarts without back-off."""

    def __init__(self, strategy: Strategy, types: dict[str, Restart]) -> None:
        self.strategy, self.types = strategy, types
        self.running = dict.fromkeys(types, True)
        self.log = [f"{name}+" for name in types]

    def end(self, name: str, *, crashed: bool) -> None:
        self.running[name] = False
        self.log.append(f"{name}-")
        kind = self.types[name]
        if kind is Restart.TEMPORARY or (kind is Restart.TRANSIENT and not crashed):
            return
        group = [
            other
            for other in self.types
            if other == name
            or self.strategy is Strategy.ONE_FOR_ALL
            or (self.strategy is Strategy.REST_FOR_ONE and other > name)
        ]
        back = [other for other in group if other == name or self.running[other]]
        for other in reversed(group):
            if self.running[other]:
                self.running[other] = False
                self.log.append(f"{other}-")
        for other in back:
            if self.types[other] is not Restart.TEMPORARY:
                self.running[other] = True
                self.log.append(f"{other}+")


@pytest.mark.clause("S1")
@given(
    strategy=st.sampled_from(Strategy),
    types=st.lists(st.sampled_from(Restart), min_size=1, max_size=5),
    ends=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12),
)
async def test_a_supervisor_does_what_the_model_of_its_strategy_does(
    strategy: Strategy, types: list[Restart], ends: list[tuple[int, bool]]
) -> None:
    stage = Stage()
    names = {f"c{number}": kind for number, kind in enumerate(types)}
    model = Model(strategy, names)
    specs = [stage.child(name, restart=kind) for name, kind in names.items()]
    top = Supervisor("top", specs, strategy=strategy, intensity=Intensity(1000, 1), reporter=stage.report)
    async with running(top):
        for number, crashed in ends:
            name = f"c{number % len(names)}"
            if model.running[name]:
                model.end(name, crashed=crashed)
                stage.fail(name, ValueError("boom") if crashed else None)
                await settle()
        assert stage.log == model.log
        assert {node.name: node.state == "running" for node in top.tree().children} == model.running
