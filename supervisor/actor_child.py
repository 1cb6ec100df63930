"""An actor as a child of a supervisor, and children of that actor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Generic, TypeVar

import attrs
import trio

from trouper.actors.actor import Actor
from trouper.actors.errors import ActorStopped
from trouper.actors.loop import Incarnation, Passivation
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.signals import Stop, StopReason
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.child import Child
from trouper.supervisor.child_spec import ChildContext, ChildExit, ChildSpec
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.legal import need, need_kind
from trouper.supervisor.strategy import ExitReason, Restart
from trouper.supervisor.supervisor import Supervisor
from trouper.supervisor.tree import TreeNode

M = TypeVar("M")
N = TypeVar("N")

POLICY: Final = frozenset({"restart", "shutdown_s", "start_timeout_s", "intensity", "backoff"})
"""What ``context.spawn`` takes of a ``ChildSpec``."""

_STOP_REASONS = {
    ExitReason.RETURNED: StopReason.STOPPED,
    ExitReason.STOPPED: StopReason.SHUTDOWN,
    ExitReason.CANCELLED: StopReason.CANCELLED,
    ExitReason.CRASHED: StopReason.CRASHED,
    ExitReason.IGNORED: StopReason.STOPPED,
}

_SHUTDOWN: Final = Stop(StopReason.SHUTDOWN)


def actor_child(
    name: str,
    factory: Callable[[], Actor[M]],
    *,
    mailbox: Mailbox[M] | None = None,
    restart: Restart = Restart.PERMANENT,
    shutdown_s: float = 5.0,
    start_timeout_s: float = 30.0,
    intensity: Intensity | None = None,
    backoff: Backoff | None = None,
    significant: bool = False,
) -> tuple[ChildSpec, ActorRef[M]]:
    """An actor as a child, and the ref to it, which works from now on.

    ``factory`` makes an instance for each incarnation. What waits in the mailbox at a crash is handled by
    the next one. Children that the actor spawns are supervised under it, and end with its incarnation. The
    ref is dead when no further incarnation will come; asks that wait then raise ``ActorStopped``. For the
    other arguments see ``ChildSpec``.
    """
    if not callable(factory):
        need(False, f"child {name!r}: factory={factory!r}: legal is what makes an Actor, as its class does")
    need_kind(f"child {name!r}: mailbox", mailbox, Mailbox, none=True)
    box: Mailbox[M] = mailbox if mailbox is not None else Mailbox()
    ref: ActorRef[M] = ActorRef(name, box)

    child = _ActorChild(factory, ref, box)
    spec = ChildSpec(
        name,
        child.start,
        restart=restart,
        shutdown_s=shutdown_s,
        start_timeout_s=start_timeout_s,
        intensity=intensity,
        backoff=backoff,
        significant=significant,
        on_ended=child.ended,
        inspect=child.node,
    )
    return spec, ref


@attrs.define(eq=False)
class _ActorChild(Generic[M]):
    """What the supervisor calls. An object, since functions in a function take three times as much."""

    factory: Callable[[], Actor[M]]
    ref: ActorRef[M]
    mailbox: Mailbox[M]

    def start(self, context: ChildContext) -> Awaitable[StopReason]:
        """Not ``async`` itself, nor is ``live_as_child``: the frame of each would be kept while it lives."""
        self.mailbox.reopen()  # in case the supervisor itself was started again
        return live_as_child(self.factory(), self.ref, self.mailbox, context)

    def ended(self, exit: ChildExit | None) -> None:
        name, reason = self.ref.name, StopReason.STOPPED if exit is None else _STOP_REASONS[exit.reason]
        why = reason.value if exit is None or exit.crash is None else f"crashed ({exit.crash.summary})"
        self.mailbox.close(reason, lambda: ActorStopped(f"actor {name!r} has ended: {why}"))

    def node(self) -> TreeNode:
        return actor_node(self.ref.name, self.mailbox)


def live_as_child(
    actor: Actor[M],
    ref: ActorRef[M],
    mailbox: Mailbox[M],
    context: ChildContext,
    passivation: Passivation | None = None,
) -> Awaitable[StopReason]:
    """Run one incarnation of an actor as that of a child, when awaited. Returns and raises as
    ``Incarnation.run``, but a crash is only told to ``context``: it is its supervisor's to report."""
    if not isinstance(actor, Actor):
        raise TypeError(f"the factory of actor {ref.name!r} made {actor!r}: legal is an Actor")
    incarnation = Incarnation(
        actor,
        ref,
        mailbox,
        incarnation=context.incarnation,
        acknowledge=context.started,
        record_crash=context.record_crash,
        raises_crash=False,
        mark_healthy=context.mark_healthy,
        passivation=passivation,
        spawner=ActorSpawner(context),
    )
    context.on_stop(partial(mailbox.post, _SHUTDOWN))
    return incarnation.run()


def actor_node(name: str, mailbox: Mailbox[Any]) -> TreeNode:
    """An actor's node of the tree: the use of its mailbox."""
    seen = mailbox.statistics()
    note = f"{seen.waiting} of {seen.capacity} waiting, {seen.overflow}"
    return TreeNode(name, "actor", "", note=note, waiting=seen.waiting, capacity=seen.capacity)


class OwnedChildren(Supervisor):
    """The children of one incarnation of an actor; ``actors.spawner.Children``.

    A child that fails too often is its owner's crash, and the owner's supervisor sees to that. One that has
    ended is forgotten, and its name is free.
    """

    _keeps_ended = False

    def __init__(self, owner: ChildContext, max_children: int) -> None:
        around = owner.surroundings
        super().__init__(
            "children",
            max_children=max_children,
            seams=around.seams,
            reporter=around.reporter,
            shutdown_total_s=around.shutdown_total_s,
            stuck_after_s=around.stuck_after_s,
        )
        self.path = owner.path
        self._owner = owner
        self._refs: dict[str, ActorRef[Any]] = {}
        owner.below = lambda: self.tree().children

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See ``actors.spawner.Children.run``."""

        def up() -> None:
            self._owner.on_stop(self._hurry)
            self._owner.on_kill(self.kill)
            task_status.started()

        await self._run(up)

    def _hurry(self) -> None:
        # No longer than the owner has: it is cancelled then, and would be stuck for its children.
        self._stop_by = self._owner.stop_by

    async def spawn(
        self,
        name: str,
        factory: Callable[[], Actor[N]],
        *,
        mailbox: Mailbox[N] | None = None,
        **policy: Any,
    ) -> ActorRef[N]:
        """See ``actors.spawner.Children.spawn``. By default a child is ``TRANSIENT``."""
        unknown = sorted(set(policy) - POLICY)
        need(not unknown, f"child {name!r}: {', '.join(unknown)}: legal are {', '.join(sorted(POLICY))}")
        policy.setdefault("restart", Restart.TRANSIENT)
        spec, ref = actor_child(name, factory, mailbox=mailbox, **policy)
        await self.start_child(spec)
        self._refs[name] = ref
        return ref

    async def stop_child(self, name: str) -> None:
        """See ``actors.spawner.Children.stop_child``."""
        await self.terminate_child(name)

    def refs(self) -> Mapping[str, ActorRef[Any]]:
        """See ``actors.spawner.Children.refs``."""
        return {name: self._refs[name] for name in self._children if name in self._refs}

    def _finish(self, child: Child) -> None:
        super()._finish(child)
        self._refs.pop(child.spec.name, None)


@attrs.frozen
class ActorSpawner:
    """Gives an incarnation its own supervisor when it first wants a child; ``actors.spawner.Spawner``."""

    owner: ChildContext
    max_children: int = 1000

    def open(self) -> OwnedChildren:
        """See ``actors.spawner.Spawner.open``."""
        return OwnedChildren(self.owner, self.max_children)
