"""Running programs on trio so that nothing is left to chance, and making things go wrong at every place.

    from trouper.simulation import Crash, simulate, sweep

    report = simulate(scenario, seed=7, plan=[Crash("top/parser#1", 3)])
    sweep(scenario)

``docs/simulation.md`` says how to use it. The files, in reading order:

* ``errors``          what a simulation raises
* ``faults``          what can be made to go wrong, as data
* ``schedules``       in which order tasks run (no ``await``)
* ``world``           what a scenario is given: seams and dice made of the seed
* ``network``         connections in memory, and what networks do to them
* ``trio_internals``  all that is touched of trio's private parts
* ``roster``          the tasks of a run by number and name, and where each waits
* ``instruments``     the trace of a run, its faults, its bounds
* ``report``          what a run tells
* ``run``             one run
* ``sweeping``        each await of a scenario, with each fault
* ``shrinking``       the smallest plan that still fails

The public names are loaded when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trouper.simulation.errors import BadPlan as BadPlan
    from trouper.simulation.errors import BadTrio as BadTrio
    from trouper.simulation.errors import Deadlock as Deadlock
    from trouper.simulation.errors import InstrumentLost as InstrumentLost
    from trouper.simulation.errors import NotSimulated as NotSimulated
    from trouper.simulation.errors import ReplayDiverged as ReplayDiverged
    from trouper.simulation.errors import SimulatedCrash as SimulatedCrash
    from trouper.simulation.errors import SimulationFailed as SimulationFailed
    from trouper.simulation.errors import StepLimit as StepLimit
    from trouper.simulation.faults import Cancel as Cancel
    from trouper.simulation.faults import CancelAll as CancelAll
    from trouper.simulation.faults import Crash as Crash
    from trouper.simulation.faults import FailAt as FailAt
    from trouper.simulation.faults import Fault as Fault
    from trouper.simulation.faults import Hang as Hang
    from trouper.simulation.faults import dump_plan as dump_plan
    from trouper.simulation.faults import load_plan as load_plan
    from trouper.simulation.network import Line as Line
    from trouper.simulation.network import Network as Network
    from trouper.simulation.report import Report as Report
    from trouper.simulation.run import simulate as simulate
    from trouper.simulation.schedules import Recorded as Recorded
    from trouper.simulation.shrinking import shrink as shrink
    from trouper.simulation.sweeping import Swept as Swept
    from trouper.simulation.sweeping import sweep as sweep
    from trouper.simulation.world import World as World

_HOMES = {
    "errors": (
        "BadPlan",
        "BadTrio",
        "Deadlock",
        "InstrumentLost",
        "NotSimulated",
        "ReplayDiverged",
        "SimulatedCrash",
        "SimulationFailed",
        "StepLimit",
    ),
    "faults": ("Cancel", "CancelAll", "Crash", "FailAt", "Fault", "Hang", "dump_plan", "load_plan"),
    "network": ("Line", "Network"),
    "report": ("Report",),
    "run": ("simulate",),
    "schedules": ("Recorded",),
    "shrinking": ("shrink",),
    "sweeping": ("Swept", "sweep"),
    "world": ("World",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BadPlan",
    "BadTrio",
    "Cancel",
    "CancelAll",
    "Crash",
    "Deadlock",
    "FailAt",
    "Fault",
    "Hang",
    "InstrumentLost",
    "Line",
    "Network",
    "NotSimulated",
    "Recorded",
    "ReplayDiverged",
    "Report",
    "SimulatedCrash",
    "SimulationFailed",
    "StepLimit",
    "Swept",
    "World",
    "dump_plan",
    "load_plan",
    "shrink",
    "simulate",
    "sweep",
]


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
