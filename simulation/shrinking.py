"""The smallest plan that still fails: delta debugging.

``ddmin`` of Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE Transactions on
Software Engineering 28(2), 2002. It works on plans because each fault names its place by itself: what is
taken out does not move the others.
"""

from __future__ import annotations

from typing import Final

from trouper.simulation.errors import SimulationFailed
from trouper.simulation.faults import Plan
from trouper.simulation.report import same_kind
from trouper.simulation.run import Scenario, simulate
from trouper.simulation.schedules import Kind

RUNS_MAX: Final = 500
"""Runs that shrinking may take unless it is told otherwise."""


def shrink(scenario: Scenario, failure: SimulationFailed, *, runs_max: int = RUNS_MAX) -> SimulationFailed:
    """The failure of the smallest plan found that fails as ``failure`` did: of the same exceptions.

    No fault of that plan can be left out alone, unless ``runs_max`` runs were not enough to find out.

    Raises: ``ValueError`` if the failure was of a recorded schedule: another plan is another schedule.
    """
    kind = failure.report.kind
    if kind is None:
        raise ValueError("a failure of a recorded schedule cannot be shrunk: give one of a seed")
    search = _Search(scenario, failure, kind, runs_max)
    search.minimise()
    return search.best


class _Search:
    def __init__(self, scenario: Scenario, failure: SimulationFailed, kind: Kind, runs_max: int) -> None:
        self._scenario = scenario
        self._kind: Kind = kind
        self._runs_left = runs_max
        self._cause = failure.__cause__ or failure
        self._seen: set[Plan] = set()
        self.best = failure

    def minimise(self) -> None:
        pieces = 2
        while len(plan := self.best.report.plan) >= 1 and self._runs_left > 0:
            pieces = min(pieces, len(plan))
            size = -(-len(plan) // pieces)
            cuts = [(plan[at : at + size], plan[:at] + plan[at + size :]) for at in range(0, len(plan), size)]
            if any(self._fails(part) for part, _ in cuts):
                pieces = 2
            elif any(self._fails(rest) for _, rest in cuts):
                pieces = max(pieces - 1, 2)
            elif pieces == len(plan):
                return
            else:
                pieces *= 2

    def _fails(self, plan: Plan) -> bool:
        if plan in self._seen or len(plan) >= len(self.best.report.plan) or self._runs_left <= 0:
            return False
        self._seen.add(plan)
        self._runs_left -= 1
        try:
            simulate(self._scenario, seed=self.best.report.seed, plan=plan, schedule=self._kind)
        except SimulationFailed as failure:
            if same_kind(failure.__cause__ or failure, self._cause):
                self.best = failure
                return True
        return False
