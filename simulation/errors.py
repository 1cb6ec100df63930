"""What a simulation raises.

AssertionError
└── SimulationFailed    the run went wrong; its text says how to have it again
TrouperError
├── SimulatedCrash      what an injected crash raises inside the program under test
├── BadPlan             a plan, or a recorded schedule, that is none
├── BadTrio             the installed trio lacks a private name that the simulation needs
├── Deadlock            nothing can run and nothing is waited for that will come by itself
├── NotSimulated        a task waits for a socket, a process or a thread, or a thread came in
├── StepLimit           more steps than the run was given: as a rule a livelock
├── ReplayDiverged      the program did something else than when the schedule was recorded
└── InstrumentLost      what watches the run is not there any more, so nothing was checked
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trouper.store.errors import TrouperError

if TYPE_CHECKING:
    from trouper.simulation.report import Report


class SimulatedCrash(TrouperError):
    """Raised on purpose, where a plan says so."""


class BadPlan(TrouperError):
    """Says what is wrong with the plan and what is legal."""


class BadTrio(TrouperError):
    """Names what the installed trio does not have."""


class Deadlock(TrouperError):
    """The text has the tree of the tasks and where each waits."""


class NotSimulated(TrouperError):
    """The text has the task, what it waits for, and where; or the thread."""


class StepLimit(TrouperError):
    """The text has the tree of the tasks."""


class ReplayDiverged(TrouperError):
    """The code, Python or trio differ from those with which the schedule was recorded. If the run failed
    otherwise, that is its cause."""


class InstrumentLost(TrouperError):
    """trio takes out an instrument that raised; a run without it must not count as checked."""


class SimulationFailed(AssertionError):
    """A run went wrong. Its ``__cause__`` is what came out of it."""

    def __init__(self, text: str, report: Report) -> None:
        super().__init__(text)
        self.report = report
        """What was seen until then."""
