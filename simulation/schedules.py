"""In which order tasks run that could run at the same time. No ``await`` here, and nothing of trio.

trio lets all tasks that can run do one step, then looks for timers and for new ones that can: a *batch*. A
schedule is asked for the order of each batch of two or more; a task that it leaves out runs with the next.

* ``uniform``: every order is as likely.
* ``priority``: each task has a random priority, and now and then the first loses its own. Finds what needs
  one task to be late at few places (probabilistic concurrency testing: Burckhardt, Kothari, Musuvathi and
  Nagarakatte, ASPLOS 2010; here the changes come with a probability, as the length of a run is not known).
* ``starve``: some tasks are passed over again and again while others can run: trio alone never delays a
  task by more than a batch.
* ``Recorded``: the orders of an earlier run, again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

import attrs
import orjson

from trouper.simulation.errors import BadPlan, ReplayDiverged

CHANGE_PROBABILITY: Final = 0.02
"""How likely a batch changes a priority."""
VICTIM_PROBABILITY: Final = 0.25
"""How likely a task is one that is starved."""
PASSED_OVER_MAX: Final = 20
"""How often in a row a victim is passed over, at most."""

Kind = Literal["uniform", "priority", "starve"]


class Schedule(Protocol):
    """Chooses an order."""

    def order(self, tasks: Sequence[int]) -> list[int]:
        """``tasks``: their numbers, by age. Returns: the indices of those that run, the first one first."""
        ...


@attrs.frozen
class Recorded:
    """The orders of a run: for each batch of two or more how many tasks it had, and who ran."""

    batches: tuple[tuple[int, tuple[int, ...]], ...]
    trace_hash: str
    """Of the run: the batches of another program may have the same sizes."""

    def dumps(self) -> str:
        """As JSON."""
        return orjson.dumps({"trace_hash": self.trace_hash, "batches": self.batches}).decode()

    @classmethod
    def loads(cls, text: str) -> Recorded:
        """From JSON. Raises: ``BadPlan``."""
        try:
            loaded = orjson.loads(text)
            trace_hash, batches = loaded["trace_hash"], loaded["batches"]
            rows = [(size, tuple(order)) for size, order in batches]
        except (orjson.JSONDecodeError, TypeError, ValueError, KeyError) as error:
            raise BadPlan(
                'a schedule is JSON, {"trace_hash": text, "batches": [[tasks, [index, …]], …]}:'
                f" {type(error).__name__}: {error}"
            ) from error
        if not isinstance(trace_hash, str):
            raise BadPlan(f"a schedule has a text as its trace_hash, not {trace_hash!r}")
        for size, order in rows:
            if not (type(size) is int and order and set(order) <= set(range(size))):
                raise BadPlan(f"a schedule has [tasks, [index, …]] for each batch, not {[size, order]!r}")
            if len(set(order)) != len(order):
                raise BadPlan(f"a schedule runs a task once in a batch, not {[size, order]!r}")
        return cls(tuple(rows), trace_hash)


class Uniform:
    """Every order is as likely."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def order(self, tasks: Sequence[int]) -> list[int]:
        indices = list(range(len(tasks)))
        self._dice.shuffle(indices)
        return indices


class Priority:
    """The one with the highest priority first."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._priorities: dict[int, float] = {}
        self._lowest = 0.0

    def order(self, tasks: Sequence[int]) -> list[int]:
        for task in tasks:
            self._priorities.setdefault(task, self._dice.random())
        indices = sorted(range(len(tasks)), key=lambda index: -self._priorities[tasks[index]])
        if self._dice.random() < CHANGE_PROBABILITY:
            self._lowest -= 1.0
            self._priorities[tasks[indices[0]]] = self._lowest
            indices.append(indices.pop(0))
        return indices


class Starve:
    """Victims are passed over while others can run."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._patience: dict[int, int] = {}
        """How often each victim will be passed over; -1 for those that are none."""

    def order(self, tasks: Sequence[int]) -> list[int]:
        runs: list[int] = []
        waits: list[int] = []
        for index, task in enumerate(tasks):
            patience = self._patience.setdefault(task, self._draw())
            (waits if patience > 0 else runs).append(index)
            if patience >= 0:
                self._patience[task] = patience - 1 if patience else self._dice.randint(1, PASSED_OVER_MAX)
        if not runs:
            runs = waits
        self._dice.shuffle(runs)
        return runs

    def _draw(self) -> int:
        victim = self._dice.random() < VICTIM_PROBABILITY
        return self._dice.randint(1, PASSED_OVER_MAX) if victim else -1


class Replay:
    """The orders of an earlier run."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self._next = 0

    def order(self, tasks: Sequence[int]) -> list[int]:
        """Raises: ``ReplayDiverged``."""
        if self._next >= len(self._recorded.batches):
            raise ReplayDiverged(f"the schedule has {self._next} batches, and the run goes on")
        size, order = self._recorded.batches[self._next]
        if size != len(tasks):
            raise ReplayDiverged(
                f"batch {self._next} of the schedule has {size} tasks, but {len(tasks)} can run"
            )
        self._next += 1
        return list(order)

    def diverged(self, trace_hash: str) -> str | None:
        """What a run with this trace did otherwise, now that it is over."""
        if left := len(self._recorded.batches) - self._next:
            return f"the run is over, and the schedule has {left} more batches"
        if trace_hash != self._recorded.trace_hash:
            return "the run took other steps than the recorded one, or at other times"
        return None


_KINDS: Final[dict[str, Callable[[random.Random], Schedule]]] = {
    "uniform": Uniform,
    "priority": Priority,
    "starve": Starve,
}


class Recorder:
    """Asks another schedule, and notes what it said."""

    def __init__(self, schedule: Kind | Recorded, seed: object) -> None:
        if isinstance(schedule, Recorded):
            self._asked: Schedule = Replay(schedule)
        elif schedule in _KINDS:
            self._asked = _KINDS[schedule](random.Random(f"{seed}/schedule"))
        else:
            raise BadPlan(f"schedule={schedule!r}: legal are {', '.join(_KINDS)} and a Recorded")
        self._batches: list[tuple[int, tuple[int, ...]]] = []

    def order(self, tasks: Sequence[int]) -> list[int]:
        """See ``Schedule.order``."""
        order = self._asked.order(tasks)
        self._batches.append((len(tasks), tuple(order)))
        return order

    def diverged(self, trace_hash: str) -> str | None:
        """What a run with this trace did otherwise than the recorded one; None if none was asked for."""
        return self._asked.diverged(trace_hash) if isinstance(self._asked, Replay) else None

    def recorded(self, trace_hash: str) -> Recorded:
        """All that was said so far, in a run with this trace."""
        return Recorded(tuple(self._batches), trace_hash)
