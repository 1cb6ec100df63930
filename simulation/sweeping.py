"""Each await of a scenario, with each fault: one run for each pair.

As SQLite tests what it does when memory or disk fail at the n-th call, for every n that there is: exhaustive
where random plans would need luck. The awaits are counted in a run without faults first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from trouper.simulation.errors import BadPlan, SimulationFailed
from trouper.simulation.faults import Cancel, Crash, Fault, Plan
from trouper.simulation.report import Report
from trouper.simulation.run import STEPS_MAX, Scenario, simulate
from trouper.simulation.schedules import Kind

RUNS_MAX: Final = 10_000
"""Runs of one sweep unless it is told otherwise."""

OfAwait = Callable[[str, int], Fault]
"""Makes a fault of a site and an occurrence: the classes of faults do."""


@attrs.frozen(kw_only=True)
class Swept:
    """What a sweep did. Every run of it went well."""

    points: Mapping[str, int]
    """How many awaits of each task there are, of those that were swept."""
    fired: int
    """Runs in which the fault happened."""
    missed: Plan
    """The faults that did not: the await refused to be ended."""
    escaped: Plan
    """The faults after which the scenario did not come to its end."""

    @property
    def runs(self) -> int:
        """How many runs with a fault."""
        return self.fired + len(self.missed)


def supervised(site: str) -> bool:
    """Whether the task is one that a supervisor runs: ``top/parser#1``."""
    return "#" in site


def sweep(
    scenario: Scenario,
    *,
    faults: Sequence[OfAwait] = (Crash, Cancel),
    sites: Callable[[str], bool] = supervised,
    check: Callable[[Report], object] | None = None,
    seed: object = 0,
    schedule: Kind = "uniform",
    steps_max: int = STEPS_MAX,
    runs_max: int = RUNS_MAX,
) -> Swept:
    """Run ``scenario`` once without faults, then once for each of its awaits and each of ``faults``.

    ``faults``: ``Crash``, ``Cancel``, ``CancelAll``, ``Hang``, or a function of a site and an occurrence.
    ``sites``: the tasks that are swept, by default those that supervisors run: what the end of another task
    means is the scenario's own affair. (``lambda site: True`` sweeps all.)
    ``check``: called with the report of each run, and raises if that is not as it must be; it is also given
    the one without faults. The other arguments are those of ``simulate``.

    Raises: ``SimulationFailed`` for the first run that goes wrong, with how to have that one again;
    ``BadPlan`` if that are more than ``runs_max`` runs, or none.
    """

    def run(plan: Plan) -> Report:
        report = simulate(scenario, seed=seed, plan=plan, schedule=schedule, steps_max=steps_max)
        if check is not None:
            try:
                check(report)
            except Exception as error:
                name = getattr(scenario, "__qualname__", repr(scenario))
                text = f"the check failed: {type(error).__name__}: {error}\nagain: {report.command(name)}"
                raise SimulationFailed(text, report) from error
        return report

    clean = run(())
    points = {site: count for site, count in sorted(clean.awaits.items()) if sites(site)}
    if not points:
        raise BadPlan(
            f"nothing to sweep: sites= takes none of {', '.join(sorted(clean.awaits)) or 'no tasks'}"
        )
    if (needed := sum(points.values()) * len(faults)) > runs_max:
        raise BadPlan(f"{needed} runs for {points}: more than runs_max={runs_max}; narrow it with sites=")
    fired, missed, escaped = 0, [], []
    for site, count in points.items():
        for nth in range(1, count + 1):
            for make in faults:
                fault = make(site, nth)
                report = run((fault,))
                fired += bool(report.fired)
                if not report.fired:
                    missed.append(fault)
                elif report.escaped:
                    escaped.append(fault)
    return Swept(points=points, fired=fired, missed=tuple(missed), escaped=tuple(escaped))
