"""One actor alone, given one message after the other: what Akka's ``BehaviorTestKit`` is for.

The actor runs in the loop that runs it everywhere; only its children are not started: each is a
``TestProbe``, so a test sees what its owner tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeVar

import attrs
import trio

from trouper.actors.actor import Actor
from trouper.actors.ask import ReplySlot, Request
from trouper.actors.envelope import Delivery, Envelope
from trouper.actors.errors import ActorStopped
from trouper.actors.loop import Incarnation
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.reports import split_crash
from trouper.actors.signals import StopReason
from trouper.probe import TestProbe

M = TypeVar("M")
N = TypeVar("N")


@attrs.frozen
class Handled:
    """One message that the actor was given, and what became of it."""

    message: Any
    reply: object = None
    """The answer, if it was a ``Request`` and has one."""
    error: Exception | None = None
    """What its asker gets instead: ``reply_error``, ``NoReply``, ``ActorCrashed``, ``ActorStopped``."""


@attrs.frozen
class Spawned:
    """A child that the actor wanted. Nothing runs behind it."""

    name: str
    factory: Callable[[], Actor[Any]]
    policy: Mapping[str, Any]
    """What else ``context.spawn`` was given."""
    probe: TestProbe[Any]
    """What its owner holds the ref of."""


@attrs.frozen(kw_only=True)
class BehaviourRun:
    """The life of one incarnation."""

    handled: list[Handled]
    """The messages that the actor was given, in order. One that it put aside and never took up again counts
    among them; a request of that kind has the error ``ActorStopped``."""
    unseen: list[Any]
    """The messages after the one with which it ended."""
    state: Any
    """``get_state()`` after the last message."""
    reason: StopReason
    crash: Exception | None
    spawned: list[Spawned]
    """Its children, in the order in which it wanted them, those that it stopped again as well."""


async def run_behaviour(
    actor: Actor[Any], messages: Iterable[object] = (), *, name: str = "actor", within_s: float = 3.0
) -> BehaviourRun:
    """Run ``actor`` from ``started`` to ``stopped``, giving it each of ``messages`` when it has handled the
    one before, and tell what came of it. A crash is told and not raised.

    ``within_s``: how long its start, each message and its end may take, on trio's clock.

    Raises: ``AssertionError`` if it took longer; what must pass (``KeyboardInterrupt``, ``Cancelled``).
    **Cancellation**: the actor is cancelled. **Resources**: no task of it is left.
    """
    return await _Run(actor, name, within_s).through(list(messages))


class _Mailbox(Mailbox[M]):
    """Tells when its consumer has nothing more to do."""

    __slots__ = ("idle",)

    def __init__(self) -> None:
        super().__init__()
        self.idle = trio.Event()

    async def wait(self) -> None:
        self.idle.set()
        await super().wait()


class _Probes:
    """The children of one incarnation (``actors.spawner.Children``), and what makes them (``Spawner``)."""

    def __init__(self) -> None:
        self.spawned: list[Spawned] = []
        self._alive: dict[str, TestProbe[Any]] = {}

    def open(self) -> _Probes:
        return self

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            for name in list(self._alive):
                self._stop(name)

    async def spawn(
        self,
        name: str,
        factory: Callable[[], Actor[N]],
        *,
        mailbox: Mailbox[N] | None = None,
        **policy: Any,
    ) -> ActorRef[N]:
        await trio.lowlevel.checkpoint()
        probe: TestProbe[N] = TestProbe(name, mailbox=mailbox)
        self.spawned.append(Spawned(name, factory, policy, probe))
        self._alive[name] = probe
        return probe.ref

    async def stop_child(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        self._stop(name)

    def refs(self) -> Mapping[str, ActorRef[Any]]:
        return {name: probe.ref for name, probe in self._alive.items()}

    def _stop(self, name: str) -> None:
        if (probe := self._alive.pop(name, None)) is not None:
            probe.stop(StopReason.SHUTDOWN)


class _Run:
    """One call of ``run_behaviour``."""

    def __init__(self, actor: Actor[Any], name: str, within_s: float) -> None:
        self._actor = actor
        self._within_s = within_s
        self._mailbox: _Mailbox[Any] = _Mailbox()
        self._ref: ActorRef[Any] = ActorRef(name, self._mailbox)
        self._children = _Probes()
        self._ended = trio.Event()
        self._reason = StopReason.CANCELLED
        self._crash: Exception | None = None
        self._given: list[tuple[object, ReplySlot[Any] | None]] = []

    async def through(self, messages: list[object]) -> BehaviourRun:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._live)
            await self._rests("its start")
            for message in messages:
                if self._ended.is_set():
                    break
                self._give(message)
                await self._rests(f"handling {message!r}")
            state = self._actor.get_state()
            self._ref.stop()
            with trio.move_on_after(self._within_s):
                await self._ended.wait()
            if not self._ended.is_set():
                self._too_slow("its end")
        return BehaviourRun(
            handled=[await _outcome(*given) for given in self._given],
            unseen=messages[len(self._given) :],
            state=state,
            reason=self._reason,
            crash=self._crash,
            spawned=self._children.spawned,
        )

    async def _live(self) -> None:
        incarnation = Incarnation(self._actor, self._ref, self._mailbox, spawner=self._children)
        try:
            self._reason = await incarnation.run()
        except BaseException as error:  # noqa: ASYNC103  # split: what must pass is raised again
            self._crash, passing = split_crash(error)
            self._reason = StopReason.CANCELLED if self._crash is None else StopReason.CRASHED
            if passing is error:
                raise
            if passing is not None:
                raise passing from None  # noqa: ASYNC104  # what must pass of a group, and no crash
        finally:
            self._mailbox.close(self._reason, lambda: ActorStopped(f"{self._ref.name!r} has ended"))
            self._ended.set()

    def _give(self, message: object) -> None:
        self._mailbox.idle = trio.Event()
        slot: ReplySlot[Any] | None = ReplySlot() if isinstance(message, Request) else None
        delivery = self._mailbox.offer(Envelope(message, slot))
        assert delivery is Delivery.ACCEPTED, "a mailbox that is empty and open has room"
        self._given.append((message, slot))

    async def _rests(self, what: str) -> None:
        """Wait until the actor waits for its next message, or has ended."""
        with trio.move_on_after(self._within_s):
            async with trio.open_nursery() as nursery:
                for event in (self._mailbox.idle, self._ended):
                    nursery.start_soon(_cancel_when, event, nursery.cancel_scope)
        if not (self._mailbox.idle.is_set() or self._ended.is_set()):
            self._too_slow(what)

    def _too_slow(self, what: str) -> NoReturn:
        raise AssertionError(f"actor {self._ref.name!r}: {what} took more than {self._within_s} s")


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _outcome(message: object, slot: ReplySlot[Any] | None) -> Handled:
    if slot is None:
        return Handled(message)
    try:
        return Handled(message, await slot.wait())
    except Exception as error:
        return Handled(message, error=error)
