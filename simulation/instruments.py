"""What watches a run from inside trio: its trace, its faults, its bounds.

trio takes out an instrument that raises, and only logs that; so these catch what they raise, and a run asks
at its end whether each was still there: a check that switched itself off must not look like a check.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import trio
from trio.lowlevel import Task

from trouper.simulation import trio_internals
from trouper.simulation.errors import Deadlock, NotSimulated, SimulatedCrash, StepLimit
from trouper.simulation.faults import Cancel, CancelAll, Crash, FailAt, Fault, Hang, Plan
from trouper.simulation.roster import Roster, is_system

HOLDER: Final = "simulation: holds a task"
"""The name of the system task that lets go of a hanging one."""
TAIL: Final = 30
"""How many of the last steps are told when a run fails."""
STILL_MAX: Final = 3
"""So often trio may look for something to do in vain; waiting for idleness takes one."""
STEPS_TO_END: Final = 10_000
"""Steps that the tasks have to end in, each time they are told to in a harder way."""


class Trace(trio.abc.Instrument):
    """A hash over all steps."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._hash = hashlib.blake2b(digest_size=16)
        self._tail: deque[str] = deque(maxlen=TAIL)
        self.steps = 0
        self.at = 0.0

    def before_task_step(self, task: Task) -> None:
        """Called by trio."""
        self.steps += 1
        self.at = trio.current_time()
        line = f"{self.at:g} {self._roster.number(task)} {self._roster.site(task)}"
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self._tail.append(line)

    def digest(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()

    def tail(self) -> tuple[str, ...]:
        """The last steps: time, number, name."""
        return tuple(self._tail)


class Injector(trio.abc.Instrument):
    """Counts the awaits of each task, and has the faults of a plan happen."""

    def __init__(self, roster: Roster, plan: Plan, fired: list[Fault], root: trio.CancelScope) -> None:
        self._roster = roster
        self._plan: dict[tuple[str, int], list[Fault]] = {}
        self._calls: dict[tuple[str, int], list[Fault]] = {}
        for fault in plan:
            wanted = self._calls if isinstance(fault, FailAt) else self._plan
            wanted.setdefault((fault.site, fault.nth), []).append(fault)
        self._fired = fired
        self._root = root
        self._main: Task | None = None
        self._any_incarnation: Counter[str] = Counter()
        self._called: Counter[str] = Counter()
        self._held: dict[Task, float] = {}
        """The tasks that hang, and until when."""
        self._parked: list[Task] = []
        self.awaits: Counter[str] = Counter()
        """By the names of the tasks."""

    def begin(self, main: Task) -> None:
        """The scenario begins, in this task."""
        self._main = main

    def end(self) -> None:
        """It has ended: nothing is made to happen any more, and no task is held on to."""
        self._main = None
        self._root = trio.CancelScope()
        self._held.clear()

    def after_task_step(self, task: Task) -> None:
        """Called by trio."""
        if self._main is None or not trio_internals.waits(task):
            return
        if task is not self._main and is_system(task):
            return
        site = self._roster.site(task)
        self.awaits[site] += 1
        names = [(site, self.awaits[site])]
        path, number, _ = site.rpartition("#")
        if number:
            self._any_incarnation[path] += 1
            names.append((path, self._any_incarnation[path]))
        for name in names:
            for fault in self._plan.get(name, ()):
                if trio_internals.waits(task):  # one fault may have ended the wait for the next
                    self._inflict(fault, task)

    def call(self, site: str) -> None:
        """The seams' ``fault``."""
        self._called[site] += 1
        for fault in self._calls.get((site, self._called[site]), ()):
            self._fired.append(fault)
            raise SimulatedCrash(f"on purpose: {fault}")

    def withhold(self, batch: list[Task]) -> list[Task]:
        """The tasks of a batch that are not hanging. Those that are stay here until their time is over."""
        if not self._held:
            return batch
        self._parked += [task for task in batch if task in self._held]
        return [task for task in batch if task not in self._held]

    def _inflict(self, fault: Fault, task: Task) -> None:
        def fired() -> None:
            self._fired.append(fault)

        match fault:
            case Crash():
                trio_internals.throw(task, SimulatedCrash(f"on purpose: {fault}"), fired)
            case Cancel():
                fired()
                self._scope_of(task).cancel(f"on purpose: {fault}")
            case CancelAll():
                fired()
                self._root.cancel(f"on purpose: {fault}")
            case Hang(seconds=seconds):
                fired()
                until = max(trio.current_time() + seconds, self._held.get(task, 0.0))
                self._held[task] = until
                trio.lowlevel.spawn_system_task(self._hold, task, until, name=HOLDER)

    def _scope_of(self, task: Task) -> trio.CancelScope:
        """What to cancel. The outermost scope of a task that is not a supervisor's child may be that of
        ``trio.sleep``, whose cancellation would only wake it early."""
        if task is self._main:
            return self._root
        own = trio_internals.outermost_scope(task) if "#" in self._roster.site(task) else None
        if own is not None:
            return own
        assert task.parent_nursery is not None, "system tasks alone have none"
        return task.parent_nursery.cancel_scope

    async def _hold(self, task: Task, until: float) -> None:
        try:
            await trio.sleep_until(until)
        finally:
            if self._held.get(task) == until:
                del self._held[task]
                if task in self._parked:
                    self._parked.remove(task)
                    trio_internals.put_back([task])


Verdict = Deadlock | NotSimulated | StepLimit
"""Why a run is ended."""


class Watchdog(trio.abc.Instrument):
    """Ends a run that would never end, or that waits for what is outside: first by cancelling it, then by
    throwing the verdict into every task, shielded or not, at last by giving it up where it stands."""

    def __init__(self, roster: Roster, trace: Trace, root: trio.CancelScope, steps_max: int) -> None:
        self._roster = roster
        self._trace = trace
        self._root = root
        self._steps_max = steps_max
        self._main: Task | None = None
        self._steps = 0
        self._still = 0
        self._hardness = 0
        self.verdict: Verdict | None = None
        self.tail: tuple[str, ...] = ()
        """The last steps before the verdict."""

    def begin(self, main: Task) -> None:
        """The scenario begins, in this task."""
        self._main = main

    def end(self) -> None:
        """It has ended. No task is held on to."""
        self._main = None
        self._root = trio.CancelScope()

    def before_task_step(self, task: Task) -> None:
        """Called by trio."""
        self._still = 0
        self._steps += 1
        if self._main is not None and self._steps > self._steps_max:
            self._steps_max += STEPS_TO_END
            self._judge(lambda: StepLimit(f"{self._steps - 1} steps were not enough:\n{self._tree()}"))

    def after_task_step(self, task: Task) -> None:
        """Called by trio."""
        if self._main is None or self.verdict is not None:
            return
        outside = trio_internals.waits_outside(task)
        if outside is not None and (task is self._main or not is_system(task)):
            self._judge(
                lambda: NotSimulated(
                    f"a task waits for {outside}, which virtual time passes by: legal are memory streams and"
                    f" threads of world.seams\n{self._roster.line(task)}"
                )
            )

    def before_io_wait(self, timeout: float) -> None:
        """Called by trio, when it looks for what comes from outside: here that is nothing."""
        if self._main is None:
            return
        now = trio.lowlevel.current_statistics()
        if now.tasks_runnable or now.run_sync_soon_queue_size or now.seconds_to_next_deadline < float("inf"):
            self._still = 0
            return
        self._still += 1
        if self._still >= STILL_MAX:
            self._still = 0
            self._judge(lambda: Deadlock(f"no task can run, and no timer will change that:\n{self._tree()}"))

    def end_hard(self, batch: list[Task]) -> None:
        """Called before a batch runs: at the second verdict no task of it does what it would, and at the
        third the run is given up. Raises: the verdict."""
        if self.verdict is not None and self._hardness >= 2:
            if self._hardness >= 3:
                raise self.verdict
            for task in batch:
                if not is_system(task) or task is self._main:
                    trio_internals.poison(task, self._another())

    def _judge(self, verdict: Callable[[], Verdict]) -> None:
        if self.verdict is None:
            self.verdict = verdict()
            self.tail = self._trace.tail()
        self._hardness += 1
        self._root.cancel(str(self.verdict).partition("\n")[0])
        if self._hardness == 2:
            for task in self._roster.alive():
                if trio_internals.waits(task) and (task is self._main or not is_system(task)):
                    trio_internals.throw(task, self._another(), lambda: None)

    def _another(self) -> Exception:
        """The verdict for one task: an exception that many raise would collect the frames of them all."""
        assert self.verdict is not None
        return type(self.verdict)(*self.verdict.args)

    def _tree(self) -> str:
        return "(the scenario has ended)" if self._main is None else self._roster.tree(self._main)
