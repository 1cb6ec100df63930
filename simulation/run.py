"""One simulated run: an async function under trio, with everything that is left to chance made of a seed."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio
from trio.lowlevel import Task
from trio.testing import MockClock

from trouper.simulation import trio_internals
from trouper.simulation.errors import (
    BadPlan,
    Deadlock,
    InstrumentLost,
    NotSimulated,
    ReplayDiverged,
    SimulatedCrash,
    SimulationFailed,
    StepLimit,
)
from trouper.simulation.faults import SCENARIO, Fault, Plan
from trouper.simulation.instruments import HOLDER, Injector, Trace, Watchdog
from trouper.simulation.report import Report, failure_text
from trouper.simulation.roster import ADDRESS, Roster, is_system
from trouper.simulation.schedules import Kind, Recorded, Recorder
from trouper.simulation.world import World

STEPS_MAX: Final = 1_000_000
"""Steps of all tasks together that a run may take unless it is told otherwise."""

Scenario = Callable[[World], Awaitable[Any]]


def simulate(
    scenario: Scenario,
    *,
    seed: object,
    plan: Iterable[Fault] = (),
    schedule: Kind | Recorded = "uniform",
    steps_max: int = STEPS_MAX,
) -> Report:
    """Run ``scenario(world)`` under trio on virtual time. The same arguments give the same run, step by step.

    ``seed``: anything with a ``repr`` that does not change. ``plan``: what goes wrong. ``schedule``: who runs
    first of those who could run at once, ``uniform``, ``priority``, ``starve`` or ``report.schedule`` of an
    earlier run. ``steps_max``: bound of the steps of all tasks together.

    To be called where no trio runs, one at a time in a process. Nothing of the scenario may wait for what
    is outside: no sockets, no threads but those of ``world.seams``.

    Raises: ``SimulationFailed`` with how to have it again, from what came out of the scenario (an
    ``AssertionError``, a ``Deadlock``, a ``StepLimit`` …); ``BadPlan``; ``BadTrio``. An injected crash that
    comes out of the scenario, and nothing else with it, is no failure: ``report.escaped``.
    """
    return _Run(scenario, seed, plan, schedule, steps_max).go()


class _Run:
    def __init__(
        self,
        scenario: Scenario,
        seed: object,
        plan: Iterable[Fault],
        schedule: Kind | Recorded,
        steps_max: int,
    ) -> None:
        self._scenario = scenario
        self._plan: Plan = tuple(plan)
        for fault in self._plan:
            if not isinstance(fault, Fault):
                raise BadPlan(f"a plan has faults (Crash, Cancel, CancelAll, Hang, FailAt), not {fault!r}")
        if ADDRESS.search(f"{seed!r} {seed}"):
            raise BadPlan(
                f"seed={seed!r}: legal is what has the same repr in each process, without an address"
            )
        if steps_max < 1:
            raise BadPlan(f"steps_max={steps_max!r}: legal is a whole number from 1")
        self._seed = seed
        self._kind: Kind | None = None if isinstance(schedule, Recorded) else schedule
        self._recorder = Recorder(schedule, seed)
        self._root = trio.CancelScope()
        self._roster = Roster()
        self._trace = Trace(self._roster)
        self._world = World(seed, self._call)
        self._injector = Injector(self._roster, self._plan, self._world.fired, self._root)
        self._watchdog = Watchdog(self._roster, self._trace, self._root, steps_max)
        self._result: Any = None
        self._escaped = True
        self._left: tuple[str, ...] = ()
        self._lost: list[str] = []
        self._intruder: NotSimulated | None = None

    def go(self) -> Report:
        if trio.lowlevel.in_trio_run():
            raise RuntimeError("trio runs here already: a simulation is a run of its own, from a plain def")
        with trio_internals.ordered_by(self._order), _no_garbage_collection():
            error = self._run()
        report = self._report()
        error = self._intruder or self._watchdog.verdict or self._lost_instrument() or error
        if (failure := self._diverged(error) or error) is not None:
            name = getattr(self._scenario, "__qualname__", repr(self._scenario))
            text = failure_text(failure, report, name, self._watchdog.tail or self._trace.tail())
            raise SimulationFailed(text, report) from failure
        return report

    def _run(self) -> Exception | None:
        """Gives what came out of the scenario and was not put in."""
        given_up: Exception | None = None
        try:
            trio.run(self._main, clock=MockClock(autojump_threshold=0), instruments=self._instruments())
        except trio.TrioInternalError as gave_up:
            if not isinstance(gave_up.__cause__, Deadlock | NotSimulated | StepLimit | ReplayDiverged):
                raise
            given_up = gave_up.__cause__.with_traceback(None)  # a traceback leads to the tasks
        # No task is here that could be cancelled: what must pass is raised again.
        except BaseException as came_out:  # noqa: ASYNC103
            error = _without_injected(came_out)
            if error is not None and not isinstance(error, Exception):
                raise
            return error  # noqa: ASYNC104
        if given_up is not None:
            self._bury()
        return given_up

    def _bury(self) -> None:
        """Let go of tasks that were given up. Their clean-up fails outside trio; nobody need hear of it."""
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            self._roster.forget()
            self._watchdog.end()
            self._injector.end()
            self._root = trio.CancelScope()
            gc.collect()
        finally:
            sys.unraisablehook = hook

    async def _main(self) -> None:
        task = trio.lowlevel.current_task()
        self._roster.rename(task, SCENARIO)
        self._injector.begin(task)
        self._watchdog.begin(task)
        began = {other for other in self._roster.alive() if is_system(other)}
        try:
            with trio_internals.closed_to_threads(self._from_a_thread), self._root:
                self._result = await self._scenario(self._world)
                self._escaped = False
        finally:
            self._injector.end()
            self._watchdog.end()
            there = [other for other in self._roster.alive() if other not in began and other is not task]
            self._left = tuple(sorted(site for site in map(self._roster.site, there) if site != HOLDER))
            for instrument in self._instruments():
                try:
                    trio.lowlevel.remove_instrument(instrument)
                except KeyError:
                    self._lost.append(type(instrument).__name__)

    def _instruments(self) -> list[trio.abc.Instrument]:
        return [self._roster, self._trace, self._injector, self._watchdog]

    def _order(self, batch: list[Task]) -> list[Task]:
        self._watchdog.end_hard(batch)
        batch = self._injector.withhold(batch)
        if len(batch) < 2:
            return batch
        batch.sort(key=self._roster.number)
        chosen = self._recorder.order([self._roster.number(task) for task in batch])
        if len(chosen) < len(batch):
            trio_internals.put_back(task for index, task in enumerate(batch) if index not in chosen)
        return [batch[index] for index in chosen]

    def _call(self, site: str) -> None:
        self._injector.call(site)

    def _from_a_thread(self) -> NotSimulated:
        """Called in another thread: it comes when it likes, which no seed has again."""
        self._intruder = NotSimulated(
            f"thread {threading.current_thread().name!r} sent something into the run"
        )
        return NotSimulated(*self._intruder.args)

    def _lost_instrument(self) -> InstrumentLost | None:
        if not self._lost:
            return None
        return InstrumentLost(
            f"{', '.join(self._lost)} raised, as the log of trio tells, and watched no more"
        )

    def _diverged(self, error: Exception | None) -> ReplayDiverged | None:
        how = self._recorder.diverged(self._trace.digest())
        if how is None or isinstance(error, ReplayDiverged):
            return None
        diverged = ReplayDiverged(how if error is None else f"{how}; it failed with {error!r}")
        diverged.__cause__ = error
        return diverged

    def _report(self) -> Report:
        return Report(
            seed=self._seed,
            plan=self._plan,
            kind=self._kind,
            schedule=self._recorder.recorded(self._trace.digest()),
            trace_hash=self._trace.digest(),
            steps=self._trace.steps,
            virtual_s=self._trace.at,
            awaits=dict(self._injector.awaits),
            fired=tuple(self._world.fired),
            result=self._result,
            escaped=self._escaped,
            left=self._left,
        )


def _without_injected(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return error.split(SimulatedCrash)[1]
    return None if isinstance(error, SimulatedCrash) else error


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """It comes when it likes, and finalisers may wake tasks. Reference counting is the same each time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
