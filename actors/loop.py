"""One incarnation of an actor, from ``started`` to ``stopped``.

A crash is recorded in the innermost ``except``, before any ``await``: a clean-up that awaits while an
outer scope is cancelled raises ``Cancelled`` *over* the crash, and what a nursery raises afterwards
would not tell of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import attrs
import trio

from trouper.actors.actor import Actor
from trouper.actors.context import ActorContext
from trouper.actors.envelope import DeadReason, Envelope
from trouper.actors.errors import ActorCrashed, ActorError, ActorStopped, NoReply
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.reports import Crash, split_crash
from trouper.actors.signals import ConsiderPassivation, Stop, StopReason

M = TypeVar("M")


@attrs.frozen
class Passivation:
    """How a keyed supervisor lets idle actors end."""

    leave: Callable[[], None]
    """Called in the step that found nothing to do. What is sent from then on is for the next incarnation."""
    idle_s: float | None = None
    """Seconds without a message before it is considered; ``None``: whenever nothing waits."""


class Incarnation(Generic[M]):
    """The life of one instance of an actor.

    ``acknowledge`` is called when ``started`` has returned; ``record_crash`` at once when something
    crashes, before it propagates.
    """

    def __init__(
        self,
        actor: Actor[M],
        ref: ActorRef[M],
        mailbox: Mailbox[M],
        *,
        incarnation: int = 1,
        acknowledge: Callable[[], None] = lambda: None,
        record_crash: Callable[[Exception], None] = lambda _: None,
        passivation: Passivation | None = None,
    ) -> None:
        self._actor = actor
        self._mailbox = mailbox
        self._acknowledge = acknowledge
        self._record_crash = record_crash
        self._passivation = passivation
        self._context = actor.context = ActorContext(ref, incarnation, mailbox)
        self._crash: Exception | None = None
        self._started = False

    async def run(self) -> StopReason:
        """Live until asked to stop.

        Returns: ``STOPPED``, ``SHUTDOWN`` or ``PASSIVATED``. Raises: the crash; what must pass
        (``KeyboardInterrupt``, ``SystemExit``, ``Cancelled``); a group of both if both happened.

        **Cancellation**: the message under way becomes a dead letter; ``stopped(CANCELLED)`` is called.
        **Resources**: the tasks of ``context.nursery`` have ended when it returns or raises.
        """
        reason, passing = StopReason.CANCELLED, None
        try:
            async with trio.open_nursery() as nursery:
                self._context._nursery = nursery
                reason = await self._live()
                nursery.cancel_scope.cancel()
        except BaseException as error:  # noqa: ASYNC103  # raised at the end, after stopped()
            passing = self._note(error)
        self._context._nursery = None
        if passing is not None and self._crash is None:
            reason = StopReason.CANCELLED
        elif self._crash is not None:
            reason = StopReason.CRASHED
        self._settle_interrupted()
        if self._started:
            try:
                await self._actor.stopped(reason)
            except BaseException as error:  # noqa: ASYNC103  # raised at the end
                passing = self._note(error) or passing
        self._mailbox.forget_signals()
        return self._end(reason, passing)

    async def _live(self) -> StopReason:
        try:
            await self._actor.started()
            self._started = True
            self._acknowledge()
            while True:
                item = await self._next()
                if isinstance(item, Stop):
                    return item.reason
                if isinstance(item, ConsiderPassivation):
                    if self._leaves():
                        return StopReason.PASSIVATED
                else:
                    await self._handle(item)
        except BaseException as error:
            self._note(error)
            self._settle_interrupted()
            raise

    async def _next(self) -> Stop | ConsiderPassivation | Envelope[M]:
        if self._passivation is None:
            return await self._mailbox.get()
        idle_s = self._passivation.idle_s
        if idle_s is None:
            if self._leaves():
                return Stop(StopReason.PASSIVATED)
            return await self._mailbox.get()
        while True:
            with trio.move_on_after(idle_s):
                return await self._mailbox.get()
            if self._leaves():
                return Stop(StopReason.PASSIVATED)

    def _leaves(self) -> bool:
        """Whether there is nothing to do; if so it is said to the supervisor in this very step."""
        idle = self._passivation is not None and self._mailbox.is_empty() and self._actor.passivable()
        if idle and self._passivation is not None:
            self._passivation.leave()
        return idle

    async def _handle(self, envelope: Envelope[M]) -> None:
        self._context._current = envelope
        if envelope.slot is not None:
            envelope.slot.taken = True
        await self._actor.receive(envelope.message)
        self._context._current = None
        self._mailbox.handled(envelope)
        if envelope.slot is not None and envelope.slot.open:
            what = type(envelope.message).__name__
            envelope.slot.fail(NoReply(f"{self._context.name!r} handled {what} without context.reply(…)"))

    def _note(self, error: BaseException) -> BaseException | None:
        """Record the crash in ``error``, if any; gives what must pass. The first crash is the crash."""
        crash, passing = split_crash(error)
        if crash is not None and self._crash is None:
            self._crash = crash
            self._record_crash(crash)
        elif crash is not None and self._crash is not None:
            first = self._crash  # which a nursery raises once more, in a group, perhaps with others
            other = crash.split(lambda e: e is first)[1] if isinstance(crash, ExceptionGroup) else crash
            if other is not None and other is not first:
                first.add_note(f"Another crash followed:\n{Crash.of(other).text}")
        return passing

    def _settle_interrupted(self) -> None:
        """The message that was being handled is not handed out again: it may be what crashed us."""
        envelope, self._context._current = self._context._current, None
        if envelope is None:
            return
        error: ActorError
        if self._crash is not None:
            summary = Crash.of(self._crash).summary
            error = ActorCrashed(f"{self._context.name!r} crashed: {summary}")
            self._mailbox.bury(envelope, DeadReason.CRASHED, error)
        else:
            error = ActorStopped(f"{self._context.name!r} was cancelled while it handled the request")
            self._mailbox.bury(envelope, DeadReason.CANCELLED, error)

    def _end(self, reason: StopReason, passing: BaseException | None) -> StopReason:
        crash, self._crash = self._crash, None  # an exception that is kept keeps the frames it went through
        try:
            if crash is not None and passing is not None:
                raise BaseExceptionGroup("a crash, and what must pass", [crash, passing])
            if crash is not None:
                raise crash
            if passing is not None:
                raise passing
            return reason
        finally:
            del crash, passing


async def run_actor(actor: Actor[M], ref: ActorRef[M]) -> StopReason:
    """Run an actor without a supervisor: one incarnation, after which the ref is dead.

    A crash comes out as it was raised, so the caller's nursery decides. ``ref`` must hold a mailbox of
    its own, not a key.

    **Cancellation**: see ``Incarnation.run``.
    """
    mailbox: Mailbox[Any] = ref._mailbox()
    reason = StopReason.CANCELLED
    try:
        reason = await Incarnation(actor, ref, mailbox).run()
    except BaseException as error:
        reason = StopReason.CANCELLED if split_crash(error)[0] is None else StopReason.CRASHED
        raise
    finally:
        mailbox.close(reason, lambda: ActorStopped(f"{ref.name!r} has ended: {reason.value}"))
    return reason
