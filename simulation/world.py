"""What a scenario is given: seams without a real clock, real randomness or threads, all from one seed.

Each consumer has dice of its own, made of the seed and its name, so that one more throw in one place moves
nothing in the others.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from trouper.simulation.faults import Fault
from trouper.store.seams import Seams, ThreadAbandoned

T = TypeVar("T")

EPOCH_S: Final = 1_700_000_000.0
"""The wall clock at the beginning of every simulation, in seconds since 1970."""


class InlineThread:
    """A ``BlockingThread`` that is none: a call is made at once, in the task that asks for it.

    A real thread would be outside of virtual time, which jumps past all time-outs while it works.
    """

    def __init__(self, name: str = "inline") -> None:
        self._name = name
        self._abandoned = False

    async def run(self, call: Callable[[], T]) -> T:
        """See ``BlockingThread.run``."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        if self._abandoned:
            raise ThreadAbandoned(self._name)
        return call()

    def abandon(self, then: Callable[[], object]) -> None:
        """See ``BlockingThread.abandon``. Nothing is ever under way."""
        self._abandoned = True
        then()

    async def aclose(self) -> None:
        """See ``BlockingThread.aclose``."""
        await trio.lowlevel.cancel_shielded_checkpoint()


def simulated_seams(seed: object, fault: Callable[[str], object]) -> Seams:
    """Seams on trio's clock, whatever that is, and dice made of ``seed``."""
    ids = random.Random(f"{seed}/ids")

    def wall() -> float:
        return EPOCH_S + (trio.current_time() if trio.lowlevel.in_trio_run() else 0.0)

    return Seams(
        wall=wall,
        new_id=lambda: f"{ids.getrandbits(64):016x}",
        random=random.Random(f"{seed}/seams"),
        open_thread=InlineThread,
        fault=fault,
    )


class World:
    """The scenario's only argument."""

    def __init__(self, seed: object, fault: Callable[[str], object]) -> None:
        self.seed = seed
        self.seams = simulated_seams(seed, fault)
        """For supervisors and runtimes: ``Supervisor(…, seams=world.seams)``."""
        self.random = random.Random(f"{seed}/workload")
        """The scenario's own dice."""
        self.fired: list[Fault] = []
        """The faults that have happened so far, in order."""
