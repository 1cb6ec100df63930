"""What one simulated run tells, and the text of one that failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from trouper.simulation.faults import Plan, dump_plan
from trouper.simulation.schedules import Kind, Recorded


@attrs.frozen(kw_only=True)
class Report:
    """What was seen of a run. Two runs with equal ``trace_hash`` took the same steps at the same times."""

    seed: object
    plan: Plan
    kind: Kind | None
    """What ordered the tasks; ``None``: a recorded schedule."""
    schedule: Recorded
    """The order itself: ``simulate(…, schedule=report.schedule)`` has it again."""
    trace_hash: str
    """Over every step of every task: its time, the task's number and name."""
    steps: int
    virtual_s: float
    """How long it took, in seconds of virtual time."""
    awaits: Mapping[str, int]
    """How many awaits each task had, by its name: what can be named in a plan."""
    fired: Plan
    """The faults that happened, in order."""
    result: Any
    """What the scenario returned; ``None`` if it did not."""
    escaped: bool
    """An injected crash came out of the scenario, or it was cancelled: it did not come to its end."""
    left: tuple[str, ...]
    """Tasks that were there when the scenario had ended: of trio's system, since others cannot be."""

    @property
    def missed(self) -> Plan:
        """The faults that did not happen: there was no such await, or it refused."""
        return tuple(fault for fault in self.plan if fault not in self.fired)

    def command(self, scenario: str) -> str:
        """One line that has this run again."""
        plan = f", plan=load_plan({dump_plan(self.plan)!r})" if self.plan else ""
        schedule = "a Recorded schedule" if self.kind is None else repr(self.kind)
        return f"simulate({scenario}, seed={self.seed!r}{plan}, schedule={schedule})"


def failure_text(failure: BaseException, report: Report, scenario: str, tail: tuple[str, ...]) -> str:
    """What failed, what had happened until then, and how to have it again."""
    fired = ", ".join(str(fault) for fault in report.fired) or "none"
    lines = [
        *(f"{type(each).__name__}: {each}" for each in leaves(failure)),
        f"after {report.steps} steps, at {report.virtual_s:g} s; faults that had happened: {fired}",
        "the last steps:",
        *(f"    {line}" for line in tail),
        f"again: {report.command(scenario)}",
    ]
    return "\n".join(lines)


def same_kind(one: BaseException, other: BaseException) -> bool:
    """Whether two failures are of one kind: what a shrunk plan must keep."""
    return [type(each) for each in leaves(one)] == [type(each) for each in leaves(other)]


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group of groups, or the one that it is."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]
