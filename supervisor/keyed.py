"""Actors by key, started by the first message to them and ended when they have nothing to do.

    ref(key) ── tell ──> entry with its mailbox: WAITING ─> STARTING ─> RUNNING
                                                               ^  ^        │ nothing waits, no handler,
                                 messages came in the meantime │  │BACKOFF │ and passivable(): leaving
                                                               └──┴── task ends
                                                                        └─> no entry, or quarantine

A ref holds the key and nothing else. "Nothing waits, and it may end" is found and noted in one step of the
actor's task, so no message falls between: what comes later waits in the same mailbox for the next
incarnation, which starts when the task of the old one has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Generic, TypeVar

import trio

from trouper.actors.actor import Actor
from trouper.actors.envelope import Delivery, Envelope
from trouper.actors.errors import ActorError, ActorQuarantined, ActorStopped, MailboxFull
from trouper.actors.loop import Passivation
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.reports import Reporter, ReportKind, log_report
from trouper.actors.signals import StopReason
from trouper.store.seams import Seams
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.budget import RestartBudget
from trouper.supervisor.child import Child, ChildState
from trouper.supervisor.child_spec import (
    ChildContext,
    ChildSpec,
    ExitReason,
    Restart,
    actor_node,
    live_as_child,
)
from trouper.supervisor.errors import BadSpec, StartFailed
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.population import Population, PopulationStatistics

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)


class Entry(Child):
    """The actor of one key."""

    def __init__(
        self,
        spec: ChildSpec,
        supervisor_path: str,
        variables: Context,
        budget: RestartBudget,
        mailbox: Mailbox[Any],
    ) -> None:
        super().__init__(spec, supervisor_path, variables, budget)
        self.mailbox = mailbox
        self.leaving = False
        """It was found idle and is ending; what comes now is for the next incarnation."""
        self.returned = StopReason.SHUTDOWN
        """Why the last incarnation that ended by itself did so."""

    def end_reason(self) -> StopReason:
        """Why the last incarnation ended."""
        match self.exit and self.exit.reason:
            case ExitReason.CRASHED:
                return StopReason.CRASHED
            case ExitReason.CANCELLED:
                return StopReason.CANCELLED
            case _:
                return self.returned


class KeyedRef(ActorRef[M_contra]):
    """A ref that holds a key. What is sent to it starts the actor if there is none."""

    def __init__(self, key: str, supervisor: KeyedSupervisor[Any]) -> None:
        # Not the base's: a mailbox of its own is what this ref does not have.
        self.name = key
        self._supervisor = supervisor

    def _mailbox(self) -> Mailbox[Any]:
        return self._supervisor._mailbox_of(self.name)

    def _mailbox_if_active(self) -> Mailbox[Any] | None:
        return self._supervisor._mailbox_if_active(self.name)

    async def join(self) -> StopReason:
        """Wait until the key has no actor and none is about to start, as it may be already.

        Returns: why the last incarnation ended. **Cancellation**: changes nothing.
        """
        entry = self._supervisor._members.get(self.name)
        if entry is None:
            await trio.lowlevel.checkpoint()
            return StopReason.STOPPED
        return await entry.mailbox.wait_closed()


class KeyedSupervisor(Population[Entry], Generic[M]):
    """Runs at most one actor for each key, made by ``factory(key)``.

    ``mailbox`` makes the mailbox of each. ``max_active``: actors at a time; beyond it ``tell`` is told
    ``DROPPED`` and asks raise ``MailboxFull``. ``idle_s``: how long an actor must have been without a
    message before it is ended, ``None`` for as soon as nothing waits; either way only if ``passivable()``.
    After a crash it is started again, with ``backoff``, within ``intensity``; beyond that its key is in
    quarantine for ``quarantine_s`` seconds: ``tell`` is told ``DEAD`` and asks raise ``ActorQuarantined``.
    """

    KIND = "keyed"

    def __init__(
        self,
        name: str,
        factory: Callable[[str], Actor[M]],
        *,
        mailbox: Callable[[], Mailbox[M]] = Mailbox,
        max_active: int = 10_000,
        idle_s: float | None = None,
        quarantine_s: float = 60.0,
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
        shutdown_s: float = 5.0,
        start_timeout_s: float = 30.0,
        seams: Seams | None = None,
        reporter: Reporter = log_report,
        shutdown_total_s: float = 30.0,
        stuck_after_s: float = 1.0,
    ) -> None:
        super().__init__(
            name,
            max_active,
            seams=seams,
            reporter=reporter,
            shutdown_total_s=shutdown_total_s,
            stuck_after_s=stuck_after_s,
        )
        if not quarantine_s > 0 or (idle_s is not None and not idle_s > 0):
            raise BadSpec(f"supervisor {name!r}: quarantine_s, and idle_s unless None, are above 0 seconds")
        self._factory = factory
        self._make_mailbox = mailbox
        self._idle_s = idle_s
        self._quarantine_s = quarantine_s
        self._intensity = intensity or Intensity(3, 60.0)
        self._backoff = backoff or Backoff()
        self._shutdown_s = shutdown_s
        self._start_timeout_s = start_timeout_s
        self._budgets: dict[str, RestartBudget] = {}
        """Of keys that crashed lately, whether they have an entry or not."""
        self._quarantine: dict[str, Mailbox[Any]] = {}
        """Key → its mailbox, closed. It stands in for the actor."""
        # Two mailboxes that stand in for actors which cannot be started now.
        self._full: Mailbox[Any] = Mailbox(1)
        self._full.close(StopReason.STOPPED, self._full_error, Delivery.DROPPED)
        self._stopped: Mailbox[Any] = Mailbox(1)
        self._stopped.close(StopReason.SHUTDOWN, self._stopped_error)

    # -- for everybody -----------------------------------------------------------------------------

    def ref(self, key: str) -> ActorRef[M]:
        """A ref to the actor of ``key``, which need not be there: the first message starts it."""
        if not key:
            raise BadSpec(f"supervisor {self.path!r}: a key is not empty")
        return KeyedRef(key, self)

    def tell_if_active(self, key: str, message: M) -> Delivery:
        """As ``ref(key).tell``, but starts nothing: ``DEAD`` if there is no incarnation that could still
        handle it, nor will be one for other messages."""
        mailbox = self._mailbox_if_active(key)
        return Delivery.DEAD if mailbox is None else mailbox.offer(Envelope(message))

    def statistics(self) -> PopulationStatistics:
        """The use of the supervisor."""
        return self._count(gave_up=len(self._quarantine))

    # -- for its refs, in any task -----------------------------------------------------------------

    def _mailbox_of(self, key: str) -> Mailbox[Any]:
        entry = self._members.get(key)
        if entry is not None:
            return entry.mailbox
        if not self.running:
            return self._stopped
        if key in self._quarantine:
            return self._quarantine[key]
        if len(self._members) >= self._max:
            return self._full
        return self._enter(key).mailbox

    def _mailbox_if_active(self, key: str) -> Mailbox[Any] | None:
        entry = self._members.get(key)
        if entry is None or (entry.leaving and entry.mailbox.is_empty()):
            return None
        return entry.mailbox

    def _enter(self, key: str) -> Entry:
        mailbox = self._make_mailbox()
        spec = ChildSpec(
            key,
            lambda context: self._live(entry, key, context),
            restart=Restart.TRANSIENT,
            shutdown_s=self._shutdown_s,
            start_timeout_s=self._start_timeout_s,
            inspect=lambda: actor_node(key, mailbox),
        )
        budget = self._budgets.get(key) or RestartBudget(self._intensity, self._backoff)
        # Not the sender's context variables: the actor serves whoever comes after as well.
        entry = Entry(spec, self.path, self._variables, budget, mailbox)
        self._members[key] = entry
        self._steps.put(partial(self._begin, entry))
        return entry

    async def _live(self, entry: Entry, key: str, context: ChildContext) -> None:
        passivation = Passivation(partial(self._leave, entry), self._idle_s)
        actor = self._factory(key)
        entry.returned = await live_as_child(actor, self.ref(key), entry.mailbox, context, passivation)

    def _leave(self, entry: Entry) -> None:
        entry.leaving = True

    # -- steps of the loop -------------------------------------------------------------------------

    def _begin(self, entry: Entry) -> None:
        if self.running and entry.state is ChildState.WAITING:
            self._spawn(entry)

    def _ended(self, member: Entry, failed: StartFailed | None) -> None:
        assert member.exit is not None
        member.mailbox.forget_signals()
        left, member.leaving = member.leaving, False
        idle = member.mailbox.is_empty()
        if not self.running:
            self._remove(member)
        elif failed is not None or member.exit.reason is ExitReason.CRASHED:
            self._crashed(member, gone=left and idle)
        elif idle:
            self._remove(member)
        else:
            self._spawn(member)

    def _crashed(self, entry: Entry, *, gone: bool) -> None:
        key = entry.spec.name
        self._budgets.pop(key, None)
        self._budgets[key] = entry.budget
        if len(self._budgets) > self._max:
            del self._budgets[next(iter(self._budgets))]
        if not entry.budget.admit(trio.current_time()):
            self._put_in_quarantine(entry)
        elif gone:
            self._remove(entry)  # it crashed on its way out: nobody misses it
        else:
            self._back_off(entry)

    def _put_in_quarantine(self, entry: Entry) -> None:
        key = entry.spec.name
        why = f"crashed too often, and is not started for {self._quarantine_s:g} s"
        entry.mailbox.close(StopReason.CRASHED, lambda: ActorQuarantined(f"actor {key!r} {why}"))
        self._report(ReportKind.GIVE_UP, entry, why)
        self._remove(entry)
        self._quarantine[key] = entry.mailbox
        if len(self._quarantine) > self._max:
            self._release(next(iter(self._quarantine)))
        at = trio.current_time() + self._quarantine_s
        self._timers.set(("quarantine", key), at, partial(self._release, key))

    def _release(self, key: str) -> None:
        self._timers.clear(("quarantine", key))
        self._quarantine.pop(key, None)
        self._budgets.pop(key, None)

    def _remove(self, member: Entry) -> None:
        super()._remove(member)
        key, reason = member.spec.name, member.end_reason()
        member.mailbox.close(reason, lambda: ActorStopped(f"actor {key!r} has ended: {reason.value}"))
        if key in self._budgets:
            at = trio.current_time() + self._intensity.period_s
            self._timers.set(("budget", key), at, partial(self._forget, key))

    def _forget(self, key: str) -> None:
        if key not in self._members:
            self._budgets.pop(key, None)

    def _after(self) -> None:
        super()._after()
        self._quarantine.clear()
        self._budgets.clear()

    def _full_error(self) -> ActorError:
        return MailboxFull(f"supervisor {self.path!r} has {self._max} actors, which is its max_active")

    def _stopped_error(self) -> ActorError:
        return ActorStopped(f"supervisor {self.path!r} is not running, or is stopping: it starts nothing")
