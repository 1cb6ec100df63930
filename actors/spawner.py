"""How an actor gets children, without knowing what supervises them.

The actors' library stands below the supervisors', so it says here what it needs and a supervisor gives it:
whoever runs an incarnation hands it a ``Spawner``; the first ``context.spawn`` opens it; the children live
in the actor's own nursery, and have ended, the latest first, before the actor's ``stopped`` is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import trio

if TYPE_CHECKING:
    from trouper.actors.actor import Actor
    from trouper.actors.mailbox import Mailbox
    from trouper.actors.ref import ActorRef

N = TypeVar("N")


class Children(Protocol):
    """The children of one incarnation. They are not those of the next, which begins without any."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the children until cancelled; ``task_status.started()`` when ``spawn`` may be called.

        Raises: what a child must hand to its owner; that is then the owner's crash.

        **Cancellation**: the ordered stop: the latest child first, each with its grace.
        **Resources**: no child is left when it returns or raises.
        """
        ...

    async def spawn(
        self,
        name: str,
        factory: Callable[[], Actor[N]],
        *,
        mailbox: Mailbox[N] | None = None,
        **policy: Any,
    ) -> ActorRef[N]:
        """Start a child and wait until its ``started`` has returned.

        ``name``: unique among the children that there are. ``policy``: what the supervisor's own
        declaration of a child takes: when it is restarted, its grace, how long its start may take.

        Raises: what the supervisor raises for a bad declaration, or for a start that failed.

        **Cancellation**: the child is not there.
        """
        ...

    async def stop_child(self, name: str) -> None:
        """End a child, within its grace, and wait for it. Of a name that has no child it does nothing.

        **Cancellation**: the child ends all the same.
        """
        ...

    def refs(self) -> Mapping[str, ActorRef[Any]]:
        """The children that there are, by name, in the order in which they were started."""
        ...


class Spawner(Protocol):
    """Makes the ``Children`` of an incarnation, when it wants some."""

    def open(self) -> Children:
        """New children of nobody yet. Called at most once for an incarnation."""
        ...
