"""What an actor can do besides handling messages.

It is made light: whatever few actors use (timers, a stash, watches …) is made when it is first used.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import trio

from trouper.actors.ask import ReplySlot
from trouper.actors.deferred import DeferredReply, OwedReplies
from trouper.actors.envelope import Envelope
from trouper.actors.errors import ActorError, LimitReached, NoSpawner, NothingToReply
from trouper.actors.idleness import Idleness
from trouper.actors.mailbox import Mailbox
from trouper.actors.pipe import Pipes
from trouper.actors.ref import ActorRef
from trouper.actors.signals import ConsiderPassivation, Inspect, Stop, StopReason
from trouper.actors.timers import Timers
from trouper.actors.watch import Watches

if TYPE_CHECKING:
    from trouper.actors.actor import Actor
    from trouper.actors.spawner import Children, Spawner

M = TypeVar("M")
N = TypeVar("N")
T = TypeVar("T")

BEHAVIOURS_MAX: Final = 64
"""Bound of the behaviours that ``become`` may lay upon each other."""

Behaviour = Callable[[M], Awaitable[None]]
"""What handles messages: ``receive``, or what ``become`` was given."""


class ActorContext(Generic[M]):
    """The context of one incarnation. Made by the actor's loop, and of no use after its end."""

    __slots__ = (
        "__weakref__",
        "_behaviours",
        "_children",
        "_current",
        "_idleness",
        "_mailbox",
        "_mark_healthy",
        "_nursery",
        "_opening",
        "_owed",
        "_pipes",
        "_receive",
        "_spawner",
        "_task",
        "_timers",
        "_watches",
        "incarnation",
        "ref",
    )

    def __init__(self, ref: ActorRef[M], incarnation: int, mailbox: Mailbox[M]) -> None:
        self.ref = ref
        """The actor's own ref, which survives this incarnation."""
        self.incarnation = incarnation
        """Rises with each restart."""
        self._mailbox = mailbox
        self._current: Envelope[Any] | None = None
        self._task: trio.lowlevel.Task | None = None
        self._nursery: trio.Nursery | None = None
        self._receive: Behaviour[M]
        self._idleness: Idleness | None = None  # only of who has a time-out, or a supervisor that passivates
        self._behaviours: list[Behaviour[M]] | None = None
        self._owed: OwedReplies | None = None
        self._timers: Timers[M] | None = None
        self._pipes: Pipes[M] | None = None
        self._watches: Watches | None = None
        self._spawner: Spawner | None = None
        self._mark_healthy: Callable[[], None]
        self._children: Children | None = None
        self._opening: trio.Lock | None = None

    @property
    def name(self) -> str:
        """The ref's name: of a keyed actor, its key."""
        return self.ref.name

    @property
    def nursery(self) -> trio.Nursery:
        """The actor's own nursery, from ``started`` on.

        Its tasks are cancelled, and have ended, before ``stopped`` is called; a crash of one is the
        actor's crash.
        """
        if self._nursery is None:
            raise RuntimeError("the nursery is open from started() on, not before and not in stopped()")
        return self._nursery

    # -- answers ----------------------------------------------------------------------------------

    def reply(self, value: object) -> None:
        """Answer the request being handled. An answer that nobody waits for any more is dropped.

        Raises: ``NothingToReply`` for a plain message, or the second time.
        """
        self._open_request().succeed(value)

    def reply_error(self, error: Exception) -> None:
        """Make the ``ask`` of the request being handled raise ``error``: a refusal, not a crash.

        Raises: ``NothingToReply`` for a plain message, or the second time.
        """
        self._open_request().fail(error)

    def deferred_reply(self) -> DeferredReply[Any]:
        """Put the answer off: the handle that is returned gives it, also after ``receive`` has returned.

        If this incarnation ends first the asker gets ``ActorCrashed`` or ``ActorStopped``, and ``NoReply``
        if the handle is dropped. An actor that owes answers is not passivated.

        Raises: ``NothingToReply`` for a plain message, or if it was answered or put off already.
        """
        slot = self._open_request()
        assert self._current is not None
        slot.deferred = True
        if self._owed is None:
            self._owed = OwedReplies()
        self._owed.add(slot)
        return DeferredReply(slot, self.name, self._current.message)

    # -- ending, and being idle -------------------------------------------------------------------

    def stop(self) -> None:
        """End after the message under way, as ``ref.stop()``."""
        self._mailbox.post(Stop(StopReason.STOPPED))

    def maybe_passivate(self) -> None:
        """End if there is nothing to do: nothing waits, nothing is handled, and ``passivable()``.

        For what becomes idle outside a handler, as when the last subscriber leaves. Judged by the actor's
        own task a little later. Nothing happens unless a keyed supervisor runs the actor.
        """
        self._mailbox.post(ConsiderPassivation())

    def mark_healthy(self) -> None:
        """Tell the supervisor that the actor does its work again: its next crash is the first in a row, and
        its back-off begins anew. How often it may be started again at all does not change."""
        self._mark_healthy()

    def set_idle_timeout(self, seconds: float | None) -> None:
        """Have an ``IdleTimeout`` come whenever for ``seconds`` nothing waited and nothing was handled, and
        again after as long; ``None``: no more. The time begins anew with this call.

        A long handler is no idleness, and neither is being suspended. Work of ``context.nursery`` is: say
        ``None`` while it matters.
        """
        if seconds is not None and not 0 < seconds < math.inf:
            raise ValueError(f"an idle time-out is a finite number of seconds above 0, not {seconds!r}")
        if self._idleness is None:
            self._idleness = Idleness(self._mailbox)
        self._idleness.timeout_s = seconds
        self._idleness.restart()

    # -- messages to oneself, sooner or later -----------------------------------------------------

    @property
    def timers(self) -> Timers[M]:
        """Messages that the actor sends itself later."""
        if self._timers is None:
            self._timers = Timers(self._mailbox, self.nursery)
        return self._timers

    def pipe_to_self(
        self,
        work: Callable[[], Awaitable[T]],
        on_success: Callable[[T], M],
        on_failure: Callable[[Exception], M] | None = None,
    ) -> None:
        """Do ``work()`` beside the handler; its outcome comes as a message, like any other.

        ``on_success`` makes the message of the result, ``on_failure`` of an exception; without it an
        exception is the actor's crash. The work ends with the incarnation, and a result of an earlier
        incarnation never comes.

        Raises: ``LimitReached``.
        """
        if self._pipes is None:
            self._pipes = Pipes(self._mailbox)
        nursery = self.nursery
        self._pipes.enter()
        nursery.start_soon(self._pipes.run, work, on_success, on_failure)

    def stash(self) -> None:
        """Put the message being handled aside, until ``unstash_all`` or the next incarnation.

        An asker goes on waiting; the message cannot be answered in this call of the handler any more.

        Raises: ``LimitReached`` if the stash is full, ``RuntimeError`` outside a handler.
        """
        if self._current is None:
            raise RuntimeError("only the message being handled can be put aside, once")
        self._mailbox.stash(self._current)
        self._current = None

    def unstash_all(self) -> int:
        """Have everything that was put aside come again, in its order, before what waits in the mailbox.

        Returns: how many messages.
        """
        count = self._mailbox.unstash()
        self._mailbox._wake()  # it may be a task beside the handler that says so, while the actor waits
        return count

    def set_stash_capacity(self, messages: int) -> None:
        """Bound the stash. What is in it stays."""
        if messages < 1:
            raise ValueError(f"a stash has at least 1 place, not {messages!r}")
        self._mailbox.stashed.capacity = messages

    # -- other actors -----------------------------------------------------------------------------

    def watch(self, ref: ActorRef[Any]) -> None:
        """Have a ``Terminated`` come when ``ref`` ends for good; at once if it has ended, or if it is the
        ref of a key that has no actor. Once for each ref, however often it is watched.

        Raises: ``LimitReached``. **Resources**: the watch ends with this incarnation.
        """
        self._watching().watch(ref)

    def unwatch(self, ref: ActorRef[Any]) -> None:
        """Have none come, also if one waits already."""
        self._watching().unwatch(ref)

    def link(self, ref: ActorRef[Any]) -> None:
        """Tie the two together: if one of them crashes or is cancelled, and is not started again, the other
        crashes of ``LinkedActorEnded``. For both it holds until the incarnation ends.

        Raises: ``LimitReached``.
        """
        own = self.ref
        self._watching().link(ref)
        self._tell_peer(ref, lambda peer: peer._watching().link(own))

    def unlink(self, ref: ActorRef[Any]) -> None:
        """Untie the two."""
        own = self.ref
        self._watching().unlink(ref)
        self._tell_peer(ref, lambda peer: peer._watching().unlink(own))

    async def spawn(
        self,
        name: str,
        factory: Callable[[], Actor[N]],
        *,
        mailbox: Mailbox[N] | None = None,
        **policy: Any,
    ) -> ActorRef[N]:
        """Start a child, which ends with this incarnation, and wait until its ``started`` has returned.

        ``name`` is unique among the children that there are; ``factory`` makes each incarnation of it;
        ``policy`` is what the supervisor's declaration of a child takes (``restart``, ``shutdown_s`` …).

        Raises: ``NoSpawner``; what the supervisor raises for a bad declaration, or a start that failed.

        **Cancellation**: the child is not there. **Resources**: children end before ``stopped``, the
        latest first.
        """
        if self._children is None:
            await self._open_children(self._spawner)
        assert self._children is not None
        return await self._children.spawn(name, factory, mailbox=mailbox, **policy)

    async def _open_children(self, spawner: Spawner | None) -> None:
        if spawner is None:
            raise NoSpawner(f"{self.name!r} is run by nothing that could start children for it")
        if self._opening is None:
            self._opening = trio.Lock()
        async with self._opening:  # two tasks may want the first child at once
            if self._children is None:
                children = spawner.open()
                await self.nursery.start(children.run)
                self._children = children

    async def stop_child(self, name: str) -> None:
        """End a child within its grace, and wait for it. Of a name that has no child it does nothing.

        **Cancellation**: its end goes on.
        """
        if self._children is None:
            await trio.lowlevel.checkpoint()
        else:
            await self._children.stop_child(name)

    @property
    def children(self) -> Mapping[str, ActorRef[Any]]:
        """The children that there are, by name, the oldest first."""
        return {} if self._children is None else self._children.refs()

    # -- behaviour --------------------------------------------------------------------------------

    def become(self, behaviour: Behaviour[M], *, replace: bool = True) -> None:
        """Handle messages with ``behaviour`` from the next one on, instead of the present one; with
        ``replace=False`` upon it, so that ``unbecome`` leads back. A new incarnation begins with ``receive``.

        Raises: ``LimitReached`` beyond ``BEHAVIOURS_MAX``.
        """
        if not replace:
            if self._behaviours is None:
                self._behaviours = []
            if len(self._behaviours) >= BEHAVIOURS_MAX:
                raise LimitReached(f"{BEHAVIOURS_MAX} behaviours lie upon each other already")
            self._behaviours.append(self._receive)
        self._receive = behaviour

    def unbecome(self) -> None:
        """Go back to the behaviour below the present one. Raises: ``RuntimeError`` if there is none."""
        if not self._behaviours:
            raise RuntimeError("there is no behaviour to go back to")
        self._receive = self._behaviours.pop()

    # -- for the loop -----------------------------------------------------------------------------

    def _busy(self) -> bool:
        """Whether something is still to come that a passivated actor would lose."""
        owes = self._owed is not None and self._owed.any()
        return owes or self._mailbox.has_stashed or (self._pipes is not None and self._pipes.busy)

    def _end(self, error: ActorError) -> None:
        """The incarnation has ended."""
        if self._watches is not None:
            self._watches.end()
        if self._owed is not None:
            self._owed.fail(error)
        # They lead back to the actor: with them it would be there until a garbage collection.
        self._behaviours = self._idleness = None
        for name in ("_receive", "_next"):
            if hasattr(self, name):
                delattr(self, name)

    def _watching(self) -> Watches:
        if self._watches is None:
            self._watches = Watches(self._mailbox)
        return self._watches

    @staticmethod
    def _tell_peer(ref: ActorRef[Any], what: Callable[[ActorContext[Any]], None]) -> None:
        if (mailbox := ref._mailbox_if_active()) is not None:
            mailbox.post(Inspect(partial(_with_context, what), ReplySlot()))

    def _open_request(self) -> ReplySlot[Any]:
        envelope = self._current
        if envelope is None or envelope.slot is None:
            raise NothingToReply(f"{self.name!r} is not handling a Request: only those can be answered")
        slot = envelope.slot
        if slot.deferred or (not slot.open and not slot.abandoned):
            done = "put off" if slot.deferred else "answered"
            raise NothingToReply(f"{self.name!r} has {done} {type(envelope.message).__name__} already")
        return slot


def _with_context(what: Callable[[ActorContext[Any]], None], incarnation: Any) -> None:
    what(incarnation.context)
