"""Actors by key, started by the first message to them and ended when they have nothing to do.

    ref(key) ── tell ──> entry with its mailbox: WAITING ─> STARTING ─> RUNNING
                                                               ^  ^        │ nothing waits, no handler,
                                 messages came in the meantime │  │BACKOFF │ and passivable(): leaving
                                                               └──┴── task ends
                                                                        └─> no entry, or quarantine

A ref holds the key and nothing else; so ``ref(key)`` is the "get or start" without a race: there is no
moment between looking for the actor and writing to it. "Nothing waits, and it may end" is found and noted
in one step of the actor's task, so no message falls between: what comes later waits in the same mailbox
for the next incarnation, which starts when the task of the old one has ended.

When ``max_active`` run, the least recently addressed of those that could leave makes room, judged in the
same way in one step; the new one starts when that one's task has ended.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

import attrs
import trio

from trouper.actors.actor import Actor
from trouper.actors.envelope import Delivery, Envelope
from trouper.actors.errors import ActorError, ActorQuarantined, ActorStopped, MailboxFull
from trouper.actors.loop import Incarnation, Passivation
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.reports import Reporter, ReportKind, log_report
from trouper.actors.signals import Stop, StopReason
from trouper.store.seams import Seams
from trouper.supervisor.actor_child import actor_node, live_as_child
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.budget import RestartBudget
from trouper.supervisor.child import ChildState
from trouper.supervisor.child_spec import ChildContext, ChildSpec, ExitReason, Restart
from trouper.supervisor.errors import BadSpec, StartFailed
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.keyed_ref import Entry, KeyedRef
from trouper.supervisor.legal import need, need_kind, need_seconds
from trouper.supervisor.places import Places
from trouper.supervisor.population import Population, PopulationStatistics

M = TypeVar("M")

LOOKS_MAX: Final = 64
"""Bound of the actors that are looked at for one that could make room; the next time others are."""
SEEK_EVERY_S: Final = 0.1
"""How often it is looked again for those who wait for a place that nobody is leaving."""


class KeyedSupervisor(Population[Entry], Generic[M]):
    """Runs at most one actor for each key, made by ``factory(key)``.

    ``mailbox`` makes the mailbox of each. ``max_active``: actors at a time. Beyond it the least recently
    addressed one that has nothing to do and is ``passivable()`` is ended to make room, of which the new
    actor waits for the end; while there is none such, ``tell`` is told ``DROPPED`` and asks raise
    ``MailboxFull``. ``idle_s``: how long an actor must have been without a message before it is ended,
    ``None`` for as soon as nothing waits; either way only if ``passivable()``.

    After a crash it is started again, with ``backoff``, within ``intensity``; beyond that its key is in
    quarantine for ``quarantine_s`` seconds: ``tell`` is told ``DEAD`` and asks raise ``ActorQuarantined``.
    ``on_quarantine`` is then called with the key, for what rests on that actor; it neither waits nor raises.
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
        on_quarantine: Callable[[str], object] | None = None,
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
        what = f"supervisor {name!r}: "
        need(callable(factory), f"{what}factory={factory!r}: legal is a function from a key to an Actor")
        need_kind(f"{what}intensity", intensity, Intensity, none=True)
        need_kind(f"{what}backoff", backoff, Backoff, none=True)
        need_seconds(f"{what}quarantine_s", quarantine_s)
        need_seconds(f"{what}shutdown_s", shutdown_s, zero=True, inf=True)
        need_seconds(f"{what}start_timeout_s", start_timeout_s, inf=True)
        if idle_s is not None:
            need_seconds(f"{what}idle_s (or None)", idle_s)
        self._factory = factory
        self._make_mailbox = mailbox
        self._idle_s = idle_s
        self._quarantine_s = quarantine_s
        self._on_quarantine = on_quarantine
        self._intensity = intensity or Intensity(3, 60.0)
        self._backoff = backoff or Backoff()
        self._shutdown_s = shutdown_s
        self._start_timeout_s = start_timeout_s
        self._budgets: dict[str, RestartBudget] = {}
        """Of keys that crashed lately, whether they have an entry or not."""
        self._quarantine: dict[str, tuple[Mailbox[Any], float]] = {}
        """Key → its mailbox, closed, which stands in for the actor; and until when."""
        # The members, the least recently addressed first.
        self._members = self._by_use = OrderedDict[str, Entry]()
        self._places: Places[Entry] = Places(max_active)
        self._evicting = self._evictions = 0
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
        mailbox = self.mailbox_if_active(key)
        return Delivery.DEAD if mailbox is None else mailbox.offer(Envelope(message))

    def quarantined(self) -> dict[str, float]:
        """The keys in quarantine, and for how many seconds still."""
        now = trio.current_time()
        return {key: max(0.0, until - now) for key, (_, until) in self._quarantine.items()}

    def end_quarantine(self, key: str) -> bool:
        """Let the key have an actor again from now on, its crashes forgotten. Says whether it was needed."""
        was = key in self._quarantine
        self._release(key)
        return was

    def waiting(self) -> dict[str, int]:
        """How many messages wait for each actor, of those for which any do."""
        found = {key: entry.mailbox.waiting for key, entry in self._members.items()}
        return {key: number for key, number in found.items() if number}

    def statistics(self) -> PopulationStatistics:
        """The use of the supervisor."""
        seen = self._count(gave_up=len(self._quarantine))
        return attrs.evolve(seen, waiting=self._places.waiting, evicted=self._evictions)

    # -- for its refs, in any task -----------------------------------------------------------------

    def mailbox_of(self, key: str) -> Mailbox[Any]:
        """See ``Switchboard``."""
        entry = self._members.get(key)
        if entry is not None:
            self._by_use.move_to_end(key)
            return entry.mailbox
        if not self.running:
            return self._stopped
        if key in self._quarantine:
            return self._quarantine[key][0]
        if not self._places.free and (self._places.crowded or not self._evict()):
            return self._full
        return self._enter(key).mailbox

    def mailbox_in_use(self, key: str) -> Mailbox[Any] | None:
        """See ``Switchboard``."""
        entry = self._members.get(key)
        return None if entry is None else entry.mailbox

    def mailbox_if_active(self, key: str) -> Mailbox[Any] | None:
        """See ``Switchboard``."""
        entry = self._members.get(key)
        if entry is None or (entry.leaving and not entry.mailbox.waiting):
            return None
        return entry.mailbox

    def _evict(self) -> bool:
        """Have an actor leave to make room. Those looked at in vain count as just addressed: they have
        something to do, or somebody who needs them."""
        for _ in range(min(LOOKS_MAX, len(self._by_use))):
            key, entry = next(iter(self._by_use.items()))
            self._by_use.move_to_end(key)
            if self._idle(entry) or self._leaves_anyway(entry):
                entry.leaving = entry.evicted = True
                self._evicting += 1
                self._evictions += 1
                entry.mailbox.post(Stop(StopReason.PASSIVATED))
                return True
        return False

    @staticmethod
    def _leaves_anyway(entry: Entry) -> bool:
        """Whether it is leaving by itself, and nothing has come for it since: its place will be free."""
        return entry.leaving and not entry.evicted and entry.mailbox.is_empty()

    def _idle(self, entry: Entry) -> bool:
        mailbox = entry.mailbox
        incarnation: Incarnation[Any] | None = mailbox.occupant
        if entry.state is not ChildState.RUNNING or entry.leaving or incarnation is None:
            return False
        if mailbox.statistics().under_way:
            return False
        try:
            return incarnation.may_leave()
        except Exception:  # its own task meets it too, where it is a crash; here a sender is at work
            return False

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
        entry = Entry(spec, self.path, self._variables, budget, self._surroundings, mailbox)
        self._members[key] = entry
        if self._places.ask(key, entry):
            self._do(partial(self._begin, entry))
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
        member.mailbox.end_incarnation()
        left, member.leaving = member.leaving, False
        evicted, member.evicted = member.evicted, False
        self._evicting -= evicted
        idle = member.mailbox.is_empty()
        if not self.running:
            self._remove(member)
        elif failed is not None or member.exit.reason is ExitReason.CRASHED:
            self._crashed(member, gone=left and idle)
            self._seek_places()  # it may have been about to make room, and keeps its place now
        elif idle:
            self._remove(member)
        elif evicted:
            member.state = ChildState.WAITING
            self._leave_place(member.spec.name)
            if self._places.ask(member.spec.name, member):
                self._spawn(member)
            self._seek_places()
        elif left or member.has_progressed():
            self._spawn(member)
        else:
            self._back_off(member)  # it ended with its messages before it: at once it might do so for ever

    def _leave_place(self, key: str) -> None:
        if (heir := self._places.leave(key)) is not None:
            self._begin(heir)

    def _seek_places(self) -> None:
        """Have as many leave as wait for a place; look again later if they cannot."""
        while self.running and self._evicting < self._places.waiting:
            if not self._evict():
                at = trio.current_time() + SEEK_EVERY_S
                self._timers.set(_SEEK, at, self._seek_places)
                return

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
        self._quarantine[key] = entry.mailbox, trio.current_time() + self._quarantine_s
        if len(self._quarantine) > self._max:
            self._release(next(iter(self._quarantine)))
        at = trio.current_time() + self._quarantine_s
        self._timers.set(("quarantine", key), at, partial(self._release, key))
        if self._on_quarantine is not None:
            self._on_quarantine(key)

    def _release(self, key: str) -> None:
        self._timers.clear(("quarantine", key))
        self._quarantine.pop(key, None)
        self._budgets.pop(key, None)

    def _remove(self, member: Entry) -> None:
        super()._remove(member)
        key, reason = member.spec.name, member.end_reason()
        member.mailbox.close(reason, lambda: ActorStopped(f"actor {key!r} has ended: {reason.value}"))
        self._leave_place(key)
        self._seek_places()
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
        self._places.clear()
        self._evicting = 0

    def _full_error(self) -> ActorError:
        return MailboxFull(f"supervisor {self.path!r} has {self._max} actors, which is its max_active")

    def _stopped_error(self) -> ActorError:
        return ActorStopped(f"supervisor {self.path!r} is not running, or is stopping: it starts nothing")

    def _note(self) -> str:
        kept = f", {len(self._quarantine)} in quarantine" if self._quarantine else ""
        return super()._note() + kept


_SEEK: Final = ("those who wait for a place",)  # a timer's key that is no name
