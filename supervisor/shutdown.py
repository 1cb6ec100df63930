"""How one child is stopped: asked, cancelled after its grace, reported as stuck.

trio never abandons a task. One that shields itself, or blocks its thread, cannot be killed; all that can
be done is to say so, with its stack.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs
import trio

from trouper.supervisor.child import Child, ChildState


class Ending(enum.Enum):
    """What it took to end a child."""

    ASKED = "asked"
    CANCELLED = "cancelled"
    STUCK = "stuck"
    """It has not ended yet."""


@attrs.frozen
class StopRecord:
    """The stop of one child."""

    name: str
    ending: Ending
    seconds: float

    def __str__(self) -> str:
        return f"{self.name}: {self.ending.value}, {self.seconds:.1f} s"


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
    ending = Ending.ASKED
    if child.alive:
        starting = child.state is ChildState.STARTING
        grace_ends = min(began + child.spec.shutdown_s, deadline)
        child.ask_to_stop(grace_ends)
        if not starting and grace_ends > began:
            with trio.move_on_at(grace_ends):
                await child.done.wait()
    if not child.done.is_set():
        ending = Ending.CANCELLED
        child.cancel()
        if not await ended_within(child, stuck_after_s):
            ending = Ending.STUCK
            on_stuck(child)
            if wait_for_stuck:
                await child.done.wait()
    return StopRecord(child.spec.name, ending, trio.current_time() - began)


async def ended_within(child: Child, seconds: float) -> bool:
    """Whether the child has ended, or ends within ``seconds``. **Cancellation**: changes nothing."""
    with trio.move_on_after(seconds):
        await child.done.wait()
    return child.done.is_set()
