"""One incarnation of an actor, from ``started`` to ``stopped``.

A crash is recorded in the innermost ``except``, before any ``await``: a clean-up that awaits while an
outer scope is cancelled raises ``Cancelled`` *over* the crash, and what a nursery raises afterwards
would not tell of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import trio

from trouper.actors.actor import Actor
from trouper.actors.ask_chain import running_actor
from trouper.actors.context import ActorContext
from trouper.actors.envelope import DeadReason, Envelope
from trouper.actors.errors import ActorCrashed, ActorError, ActorStopped, AskTimeout, NoReply
from trouper.actors.function_actor import FunctionActor, FunctionContext
from trouper.actors.idleness import Idleness
from trouper.actors.idleness import Passivation as Passivation
from trouper.actors.mailbox import CHECKPOINT_EVERY, Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.reports import Crash, split_crash, summary_of
from trouper.actors.signals import (
    Command,
    ConsiderPassivation,
    IdleTimeout,
    Inspect,
    Lagged,
    Signal,
    Stop,
    StopReason,
    Terminated,
)
from trouper.actors.spawner import Spawner

M = TypeVar("M")


class Incarnation(Generic[M]):
    """The life of one instance of an actor.

    ``acknowledge`` is called when ``started`` has returned; ``record_crash`` at once when something
    crashes, before it propagates; ``mark_healthy`` when the actor says that it is well. ``raises_crash``:
    whether ``run`` raises what it has told. ``spawner``: what starts the actor's children.
    """

    __slots__ = (
        "__weakref__",
        "_acknowledge",
        "_crash",
        "_function_end",
        "_in_a_row",
        "_mailbox",
        "_passivation",
        "_raises_crash",
        "_record_crash",
        "_started",
        "actor",
        "context",
    )

    def __init__(
        self,
        actor: Actor[M],
        ref: ActorRef[M],
        mailbox: Mailbox[M],
        *,
        incarnation: int = 1,
        acknowledge: Callable[[], None] = lambda: None,
        record_crash: Callable[[Exception], None] = lambda _: None,
        raises_crash: bool = True,
        mark_healthy: Callable[[], None] = lambda: None,
        passivation: Passivation | None = None,
        spawner: Spawner | None = None,
    ) -> None:
        self.actor = actor
        self._mailbox = mailbox
        self._acknowledge = acknowledge
        self._record_crash = record_crash
        self._raises_crash = raises_crash
        self._passivation = passivation
        kind = FunctionContext if isinstance(actor, FunctionActor) else ActorContext
        self.context = actor.context = kind(ref, incarnation, mailbox)
        if passivation is not None:
            self.context._idleness = Idleness(mailbox, passivation, self._leaves)
        self.context._spawner = spawner
        self.context._mark_healthy = mark_healthy
        self._crash: Exception | None = None
        self._started = False
        self._function_end: StopReason | None = None
        self._in_a_row = 0

    async def run(self) -> StopReason:
        """Live until asked to stop.

        Returns: ``STOPPED``, ``SHUTDOWN`` or ``PASSIVATED``; ``CRASHED`` where it does not raise the crash.
        Raises: the crash; what must pass (``KeyboardInterrupt``, ``SystemExit``, ``Cancelled``); a group of
        both if both happened.

        **Cancellation**: the message under way becomes a dead letter; ``stopped(CANCELLED)`` is called.
        **Resources**: the tasks of ``context.nursery`` have ended when it returns or raises.
        """
        context, mailbox = self.context, self._mailbox
        reason, passing = StopReason.CANCELLED, None
        around = running_actor.set(context)
        context._task = trio.lowlevel.current_task()
        mailbox.occupant = self
        mailbox.crash_summary = None
        try:
            async with trio.open_nursery() as nursery:
                context._nursery = nursery
                reason = await self._live()
                nursery.cancel_scope.cancel()
        except BaseException as error:  # noqa: ASYNC103  # raised at the end, after stopped()
            passing = self._note(error)
        context._nursery = None
        if passing is not None and self._crash is None:
            reason = StopReason.CANCELLED
        elif self._crash is not None:
            reason = StopReason.CRASHED
        self._settle_interrupted()
        if self._started:
            try:
                await self.actor.stopped(reason)
            except BaseException as error:  # noqa: ASYNC103  # raised at the end
                passing = self._note(error) or passing
        context._end(self._end_error())
        mailbox.end_incarnation()
        mailbox.occupant = None
        running_actor.reset(around)
        return self._end(reason, passing)

    # -- living -----------------------------------------------------------------------------------

    async def _live(self) -> StopReason:
        try:
            if isinstance(self.actor, FunctionActor):
                return await self._live_as_function(self.actor)
            self.context._receive = self.actor.receive
            await self.actor.started()
            self._has_started()
            return await self._handle_messages()
        except BaseException as error:  # noqa: ASYNC103  # what is no crash passes; a crash is recorded
            passing = self._note(error)
            if self._crash is not None:  # otherwise it may be that of a task beside it: the nursery will tell
                self._settle_interrupted()
            if passing is not None:
                raise
            return StopReason.CRASHED  # noqa: ASYNC104  # it is told: the nursery need not make a group of it

    async def _handle_messages(self) -> StopReason:
        mailbox, in_a_row = self._mailbox, 0
        while True:
            in_a_row += await mailbox.handle_plain(self.context, CHECKPOINT_EVERY - in_a_row)  # the hot path
            if in_a_row >= CHECKPOINT_EVERY:
                in_a_row = 0
                await trio.lowlevel.checkpoint()
            item: Command | Signal | Envelope[M] | None = mailbox.take()
            if item is None:
                in_a_row = 0
                if (idleness := self.context._idleness) is None:
                    await mailbox.wait()  # not by ``_wait``: each frame counts, of very many idle actors
                    continue
                item = await idleness.wait()
            if isinstance(item, Envelope):
                in_a_row += 1
                await self._handle(item)
            elif item is not None and (end := await self._obey(item)) is not None:
                return end

    async def _handle(self, envelope: Envelope[Any]) -> None:
        context = self.context
        context._current = envelope
        if envelope.slot is not None:
            envelope.slot.taken = True
        try:
            await context._receive(envelope.message)
        except AskTimeout as error:
            if not (error.inherited and envelope.unwanted()):
                raise
            self._mailbox.bury(envelope, DeadReason.EXPIRED)
            context._current = None
        if context._current is not None:
            self._settle_handled(envelope)

    async def _wait(self) -> Command | Signal | None:
        if (idleness := self.context._idleness) is None:
            await self._mailbox.wait()
            return None
        return await idleness.wait()

    async def _obey(self, item: Command | Signal) -> StopReason | None:
        if isinstance(item, Terminated | IdleTimeout | Lagged):
            if self._hears(item):
                await self.actor.signalled(item)
            return None
        return self._obey_command(item)

    def _obey_command(self, command: Command) -> StopReason | None:
        match command:
            case Stop(reason):
                return reason
            case ConsiderPassivation():
                return StopReason.PASSIVATED if self._leaves() else None
            case Inspect(look, slot):
                if slot.open:
                    try:
                        slot.succeed(look(self))
                    except Exception as error:  # whoever looks must hear of it, not the actor
                        slot.fail(error)
                return None

    def _hears(self, signal: Signal) -> bool:
        watches = self.context._watches
        return not isinstance(signal, Terminated) or (watches is not None and watches.heard(signal))

    def may_leave(self) -> bool:
        """Whether there is nothing to do, as far as can be seen between two messages."""
        if self._passivation is None or self._mailbox.suspended or not self._mailbox.is_empty():
            return False
        return not self.context._busy() and self.actor.passivable()

    def _leaves(self) -> bool:
        """Whether there is nothing to do; if so it is said to the supervisor in this very step."""
        idle = self.may_leave()
        if idle and self._passivation is not None:
            self._passivation.leave()
        return idle

    # -- living as a function ---------------------------------------------------------------------

    async def _live_as_function(self, actor: FunctionActor[M]) -> StopReason:
        context = self.context
        assert isinstance(context, FunctionContext)
        context._next = self._next_for_function
        try:
            await actor.function(context)
        except StopAsyncIteration:
            if self._function_end is None:
                raise
        if not self._started:
            self._has_started()
        if context._current is not None:
            self._settle_handled(context._current)
        return self._function_end or StopReason.STOPPED

    async def _next_for_function(self) -> object:
        context, mailbox = self.context, self._mailbox
        if not self._started:
            self._has_started()
        if context._current is not None:
            self._settle_handled(context._current)
        if self._function_end is not None:
            raise StopAsyncIteration
        while True:
            if self._in_a_row >= CHECKPOINT_EVERY:
                self._in_a_row = 0
                await trio.lowlevel.checkpoint()
            item = mailbox.take() or await self._wait()
            self._in_a_row += 1
            if isinstance(item, Envelope):
                context._current = item
                if item.slot is not None:
                    item.slot.taken = True
                return item.message
            if isinstance(item, Terminated | IdleTimeout | Lagged):
                if self._hears(item):
                    return item
            elif item is not None and (end := self._obey_command(item)) is not None:
                self._function_end = end
                raise StopAsyncIteration

    # -- settling ---------------------------------------------------------------------------------

    def _has_started(self) -> None:
        self._started = True
        self._acknowledge()

    def _settle_handled(self, envelope: Envelope[Any]) -> None:
        self.context._current = None
        self._mailbox.handled(envelope)
        slot = envelope.slot
        if slot is not None and slot.open and not slot.deferred:
            what = type(envelope.message).__name__
            slot.fail(NoReply(f"{self.context.name!r} handled {what} without context.reply(…)"))

    def _note(self, error: BaseException) -> BaseException | None:
        """Record the crash in ``error``, if any; gives what must pass. The first crash is the crash."""
        crash, passing = split_crash(error)
        if crash is not None and self._crash is None:
            self._crash = crash
            self._mailbox.crash_summary = summary_of(crash)
            self._record_crash(crash)
        elif crash is not None and self._crash is not None:
            first = self._crash  # which a nursery raises once more, in a group, perhaps with others
            other = crash.split(lambda e: e is first)[1] if isinstance(crash, ExceptionGroup) else crash
            if other is not None and other is not first:
                first.add_note(f"Another crash followed:\n{Crash.of(other).text}")
        return passing

    def _settle_interrupted(self) -> None:
        """The message that was being handled is not handed out again: it may be what crashed us."""
        envelope, self.context._current = self.context._current, None
        if envelope is not None:
            reason = DeadReason.CANCELLED if self._crash is None else DeadReason.CRASHED
            self._mailbox.bury(envelope, reason, self._end_error())

    def _end_error(self) -> ActorError:
        """What those get whom this incarnation still owes an answer."""
        if self._crash is not None:
            return ActorCrashed(f"{self.context.name!r} crashed: {self._mailbox.crash_summary}")
        return ActorStopped(f"{self.context.name!r} ended before it had handled the request")

    def _end(self, reason: StopReason, passing: BaseException | None) -> StopReason:
        crash, self._crash = self._crash, None  # an exception that is kept keeps the frames it went through
        try:
            if crash is not None and passing is not None:
                raise BaseExceptionGroup("a crash, and what must pass", [crash, passing])
            if crash is not None and self._raises_crash:
                raise crash
            if passing is not None:
                raise passing
            return reason
        finally:
            del crash, passing


async def run_actor(actor: Actor[M], ref: ActorRef[M], *, spawner: Spawner | None = None) -> StopReason:
    """Run an actor without a supervisor: one incarnation, after which the ref is dead.

    A crash comes out as it was raised, so the caller's nursery decides. ``ref`` must hold a mailbox of
    its own, not a key. ``spawner``: what starts its children, if it has any.

    **Cancellation**: see ``Incarnation.run``.
    """
    mailbox: Mailbox[Any] = ref._mailbox()
    reason = StopReason.CANCELLED
    try:
        reason = await Incarnation(actor, ref, mailbox, spawner=spawner).run()
    except BaseException as error:
        reason = StopReason.CANCELLED if split_crash(error)[0] is None else StopReason.CRASHED
        raise
    finally:
        mailbox.close(reason, lambda: ActorStopped(f"{ref.name!r} has ended: {reason.value}"))
    return reason
