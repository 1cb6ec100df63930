"""How children are stopped: asked, cancelled after their grace, reported as stuck; and what is told of it.

trio never abandons a task. One that shields itself, or blocks its thread, cannot be killed; all that can
be done is to say so, with its stack.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import attrs
import trio

from trouper.supervisor.child import Child, ChildState

STOPS_TOLD_MAX: Final = 100
"""Bound of the children that a shutdown record holds one by one; the rest are counted."""
STUCK_AFTER_ROUNDS: Final = 100
"""Rounds of the loop that a child is given besides its seconds. While thousands of tasks end at once, or a
process was frozen, seconds pass in which nothing could run: those are not the child's."""


class Ending(enum.Enum):
    """What it took to end a child."""

    ASKED = "asked"
    """It ended within its grace."""
    CANCELLED = "cancelled"
    """Its grace was over, or it had none."""
    STUCK = "stuck"
    """It has not ended yet."""


@attrs.frozen
class StopRecord:
    """The stop of one child."""

    name: str
    ending: Ending
    seconds: float
    """From being asked to its end; of one that is stuck, until nobody waited for it any more."""
    grace_s: float = 0.0
    """How long it was given before it would be cancelled: its own, or what was left to its supervisor."""

    def __str__(self) -> str:
        return f"{self.name}: {self.ending.value}, {self.seconds:.1f} s"


@attrs.frozen
class ShutdownRecord:
    """The ordered stop of a supervisor."""

    path: str
    reason: str
    """Why it stopped, in one line."""
    seconds: float
    counts: dict[Ending, int]
    """How many children ended how."""
    stops: tuple[StopRecord, ...]
    """In the order in which they were stopped; those that took more than being asked are kept first if
    there are more than ``STOPS_TOLD_MAX``."""

    @classmethod
    def of(cls, path: str, reason: str, seconds: float, stops: Iterable[StopRecord]) -> ShutdownRecord:
        """The record of ``stops``, of which it holds no more than its bound."""
        told = list(stops)
        counts = Counter(stop.ending for stop in told)
        if len(told) > STOPS_TOLD_MAX:
            told = sorted(told, key=lambda stop: stop.ending is Ending.ASKED)[:STOPS_TOLD_MAX]
        return cls(path, reason, seconds, {ending: counts[ending] for ending in Ending}, tuple(told))

    def __str__(self) -> str:
        lines = [str(stop) for stop in self.stops]
        hidden = sum(self.counts.values()) - len(lines)
        return "\n".join([*lines, f"… and {hidden} more"] if hidden else lines)


async def stop_child(
    child: Child,
    *,
    deadline: float,
    stuck_after_s: float,
    on_stuck: Callable[[Child], None],
    wait_for_stuck: bool,
) -> StopRecord:
    """Stop a child that has a task.

    ``deadline``: bound of its grace, on trio's clock. ``stuck_after_s``: how long after being cancelled it
    counts as stuck. ``wait_for_stuck``: whether to wait for one that is, or to leave it to the nursery.

    Raises: what the child's own stop hooks raise.

    **Cancellation**: the child was asked, and may not have ended.
    """
    began = trio.current_time()
    if child.stuck:  # it was reported before
        if wait_for_stuck:
            await child.done.wait()
        return StopRecord(child.spec.name, Ending.STUCK, trio.current_time() - began)
    grace_ends = max(began, min(began + child.spec.shutdown_s, deadline))
    ending = Ending.ASKED
    if child.alive:
        starting = child.state is ChildState.STARTING
        child.ask_to_stop(grace_ends)
        if not starting and grace_ends > began:
            with trio.move_on_at(grace_ends) as wait:
                child.on_left = lambda _: wait.cancel()
                await child.done.wait()
    if not (child.done.is_set() or child.stuck):
        ending = Ending.CANCELLED
        child.cancel()
        if not await ended_within(child, stuck_after_s) and not child.stuck:
            on_stuck(child)
    if not child.done.is_set():
        ending = Ending.STUCK
        if wait_for_stuck:
            await child.done.wait()
    return StopRecord(child.spec.name, ending, trio.current_time() - began, grace_ends - began)


async def ended_within(child: Child, seconds: float) -> bool:
    """Whether the child has ended, or ends within ``seconds`` and ``STUCK_AFTER_ROUNDS`` rounds of the loop.
    **Cancellation**: changes nothing."""
    with trio.move_on_after(seconds) as wait:
        child.on_left = lambda _: wait.cancel()
        await child.done.wait()
    for _ in range(STUCK_AFTER_ROUNDS):
        if child.done.is_set() or child.stuck:
            break
        await trio.lowlevel.checkpoint()
    return child.done.is_set()
