"""What a child is, declared: its name, how it starts, what its end means.

``start`` is called for each incarnation, so a spec holds a way to make a child and never a child that was
made: state of the one that crashed cannot leak into the next.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import attrs
import trio

from trouper.actors.reports import Crash, Reporter, log_report
from trouper.store.seams import Seams
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.legal import need, need_kind, need_seconds
from trouper.supervisor.strategy import ExitReason as ExitReason
from trouper.supervisor.strategy import Restart as Restart
from trouper.supervisor.tree import TreeNode


@attrs.frozen
class ChildExit:
    """The end of one incarnation. Every incarnation has exactly one."""

    name: str
    incarnation: int
    reason: ExitReason
    crash: Crash | None
    """The text of what it crashed of."""
    started: bool
    """Whether it had said ``started()``."""


@attrs.frozen
class Surroundings:
    """What the children of a supervisor get of it, for supervisors of their own."""

    seams: Seams = attrs.field(factory=Seams)
    reporter: Reporter = log_report
    shutdown_total_s: float = 30.0
    stuck_after_s: float = 1.0


class ChildContext:
    """What an incarnation is told, and what it tells its supervisor."""

    __slots__ = (
        *("name", "path", "incarnation", "stop_by", "crash", "below", "ignored"),
        *("_acknowledge", "_healthy", "_only_stuck", "_surroundings"),
        *("_asked", "_stopping", "_on_stop", "_on_kill"),
    )

    def __init__(
        self,
        name: str,
        path: str,
        incarnation: int = 1,
        *,
        acknowledge: Callable[[int], None] = lambda _: None,
        healthy: Callable[[int], None] = lambda _: None,
        only_stuck: Callable[[int], None] = lambda _: None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.name = name
        self.path = path
        """The names of the supervisors above and its own: ``runtime/core/jobs/j1``."""
        self.incarnation = incarnation
        """Counted from 1."""
        self._asked = False
        self._stopping: trio.Event | None = None  # made when first looked at: actors never do
        self.stop_by = math.inf
        """Once it is set: when the grace is over, on trio's clock."""
        self.crash: Exception | None = None
        self.below: Callable[[], tuple[TreeNode, ...]] = tuple
        """The nodes of the tree below its own, of children that it supervises itself."""
        self.ignored = False
        """It said ``ignore()``."""
        self._acknowledge = acknowledge
        self._healthy = healthy
        self._only_stuck = only_stuck
        self._surroundings = surroundings
        self._on_stop: tuple[Callable[[], None], ...] = ()
        self._on_kill: tuple[Callable[[], None], ...] = ()

    @property
    def stopping(self) -> trio.Event:
        """Set when the child is asked to end. It is cancelled when its grace is over."""
        if self._stopping is None:
            self._stopping = trio.Event()
            if self._asked:
                self._stopping.set()
        return self._stopping

    @property
    def asked_to_stop(self) -> bool:
        """Whether ``stopping`` is set."""
        return self._asked

    @property
    def surroundings(self) -> Surroundings:
        """Those of its supervisor."""
        return self._surroundings or Surroundings()

    def started(self) -> None:
        """Say that the child is ready. Only from here on does an outer cancellation reach its supervisor
        first, which then stops its children in order. Saying it twice is harmless."""
        self._acknowledge(self.incarnation)

    def ignore(self) -> None:
        """Say, instead of ``started()`` and before returning, that there is nothing to run: no failure,
        whatever the restart type. A ``Supervisor`` keeps the child as ended and goes on with the next."""
        self.ignored = True

    def mark_healthy(self) -> None:
        """Say that the child does its work again: its next failure is the first in a row, so it is waited
        for no longer than after the first. (An age of ``Backoff.reset_after_s`` says the same by itself.)
        How often it may be restarted at all does not change."""
        self._healthy(self.incarnation)

    def left_with_stuck(self) -> None:
        """For supervisors: say that all that is left of this one is stuck, and was reported. The one above
        goes on with its own stop, instead of waiting for it for as long as it may."""
        self._only_stuck(self.incarnation)

    def record_crash(self, crash: Exception) -> None:
        """Tell of a crash at once, before anything is awaited. The first one told is the crash, whatever
        comes out of ``start`` later."""
        if self.crash is None:
            self.crash = crash

    def on_stop(self, call: Callable[[], None]) -> None:
        """Have ``call`` called when ``stopping`` is set, for who cannot wait for it; at once if it is."""
        if self._asked:
            call()
        else:
            self._on_stop += (call,)

    def on_kill(self, call: Callable[[], None]) -> None:
        """Have ``call`` called when everything is given up at once, so that nested supervisors do as well."""
        self._on_kill += (call,)

    def ask_to_stop(self, by: float) -> None:
        """For supervisors: set ``stopping``; the child is cancelled at ``by``."""
        if not self._asked:
            self.stop_by = by
            self._asked = True
            if self._stopping is not None:
                self._stopping.set()
            for call in self._on_stop:
                call()

    def kill(self) -> None:
        """For supervisors: tell that no grace is left."""
        for call in self._on_kill:
            call()


@attrs.frozen
class ChildSpec:
    """One child of a supervisor."""

    name: str
    """Unique under its supervisor; not empty."""
    start: Callable[[ChildContext], Awaitable[object]]
    """Lives as long as the incarnation does. Says ``context.started()`` when it is ready."""
    restart: Restart = Restart.PERMANENT
    shutdown_s: float = 5.0
    """Grace between being asked to end and being cancelled, in seconds; 0 to cancel at once, ``inf`` for as
    long as the supervisor has."""
    start_timeout_s: float = 30.0
    """Seconds until ``started()`` must have been said."""
    intensity: Intensity | None = None
    """How often this child alone may be restarted; ``None``: its supervisor's own is the only bound."""
    backoff: Backoff | None = None
    """Wait before each restart; ``None``: at once."""
    significant: bool = False
    """Whether its end for good may be its supervisor's (``AutoShutdown``)."""
    on_ended: Callable[[ChildExit | None], None] | None = None
    """Called when no further incarnation will come, with the exit of the last, ``None`` if there was none. It
    neither waits nor raises. (The child can come back all the same: by ``restart_child``, or with a
    supervisor that is started again.)"""
    inspect: Callable[[], TreeNode] | None = None
    """The child's own node of the tree, to which its supervisor adds state and numbers."""

    def __attrs_post_init__(self) -> None:
        # What is right, as nearly all are, is found so at once: there may be very many.
        plain = (
            (type(self.name) is str and self.name and callable(self.start))
            and type(self.restart) is Restart
            and (self.shutdown_s >= 0 if type(self.shutdown_s) is float else False)
            and (self.start_timeout_s > 0 if type(self.start_timeout_s) is float else False)
            and (self.intensity is None or type(self.intensity) is Intensity)
            and (self.backoff is None or type(self.backoff) is Backoff)
            and self.significant is False
        )
        if not plain:
            self._check()

    def _check(self) -> None:
        need_kind("a child's name", self.name, str)
        need(bool(self.name), "the name of a child is not empty")
        what = f"child {self.name!r}: "
        need(callable(self.start), f"{what}start={self.start!r}: legal is an async def of a ChildContext")
        need_kind(f"{what}restart", self.restart, Restart)
        need_seconds(f"{what}shutdown_s", self.shutdown_s, zero=True, inf=True)
        need_seconds(f"{what}start_timeout_s", self.start_timeout_s, inf=True)
        need_kind(f"{what}intensity", self.intensity, Intensity, none=True)
        need_kind(f"{what}backoff", self.backoff, Backoff, none=True)
        need_kind(f"{what}significant", self.significant, bool)
        need(
            not (self.significant and self.restart is Restart.PERMANENT),
            f"{what}a significant child is transient or temporary: a permanent one never ends for good",
        )
