"""What became of each accepted message: the sums of one mailbox, and of many.

Every accepted message ends as handled, superseded, returned to its asker, or a dead letter with a reason;
until then it is kept, or under way. A ``Ledger`` adds up the mailboxes that were given it, also those that
are gone; a mailbox that has none pays nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import attrs

from trouper.actors.envelope import DeadReason

if TYPE_CHECKING:
    from trouper.actors.mailbox import Mailbox

WRONG_MAX: Final = 100
"""Bound of the imbalances that a ledger notes."""


@attrs.frozen
class MailboxStatistics:
    """The use of a mailbox. ``accepted`` is the sum of all the fields after it."""

    capacity: int
    overflow: str
    senders_waiting: int
    """Tasks in ``send`` or ``ask`` that wait for room; their messages are not accepted yet."""
    refused: int
    """Told ``DROPPED`` or ``DEAD``, so never accepted."""
    accepted: int
    waiting: int
    stashed: int
    """Put aside by the actor, to be handled later."""
    under_way: int
    handled: int
    superseded: int
    returned: int
    """Requests that will not be handled, whose askers were given an error."""
    dead: dict[DeadReason, int]

    @property
    def kept(self) -> int:
        """Messages that the actor, or its next incarnation, will still see."""
        return self.waiting + self.stashed

    @property
    def unaccounted(self) -> int:
        """Accepted messages of which nobody knows what became: always 0."""
        ended = self.handled + self.superseded + self.returned + sum(self.dead.values())
        return self.accepted - ended - self.kept - self.under_way


@attrs.frozen
class Sums:
    """What became of the messages of many mailboxes. ``accepted`` is the sum of all the fields after it."""

    mailboxes: int
    refused: int
    accepted: int
    kept: int
    under_way: int
    handled: int
    superseded: int
    returned: int
    dead: dict[DeadReason, int]

    @property
    def unaccounted(self) -> int:
        """Accepted messages of which nobody knows what became: always 0."""
        ended = self.handled + self.superseded + self.returned + sum(self.dead.values())
        return self.accepted - ended - self.kept - self.under_way


def sum_up(statistics: Iterable[MailboxStatistics]) -> Sums:
    """Add up what several mailboxes tell."""
    total: Counter[str] = Counter()
    dead: Counter[DeadReason] = Counter(dict.fromkeys(DeadReason, 0))
    for each in statistics:
        total["mailboxes"] += 1
        for name in _SUMMED:
            total[name] += getattr(each, name)
        dead.update(each.dead)
    return Sums(mailboxes=total["mailboxes"], dead=dict(dead), **{name: total[name] for name in _SUMMED})


_SUMMED: Final = ("refused", "accepted", "kept", "under_way", "handled", "superseded", "returned")


class Ledger:
    """The account of all mailboxes made with it: ``Mailbox(…, ledger=ledger)``.

    It holds those that are open, and of the others their last numbers only.
    """

    def __init__(self) -> None:
        self._open: dict[Mailbox[Any], None] = {}
        self._settled: WeakKeyDictionary[Mailbox[Any], MailboxStatistics] = WeakKeyDictionary()
        """What was counted of those that are closed: one of them may be opened again."""
        self._closed: Counter[str] = Counter()
        self._closed_dead: Counter[DeadReason] = Counter()
        self._wrong: list[str] = []

    def opened(self, mailbox: Mailbox[Any]) -> None:
        """A mailbox is in use from now on, for the first time or again."""
        if (counted := self._settled.pop(mailbox, None)) is not None:
            self._count(counted, -1)
        self._open[mailbox] = None

    def closed(self, mailbox: Mailbox[Any]) -> None:
        """It takes no more messages. One with a message under way is held until ``total`` is asked."""
        if mailbox in self._open and not mailbox.statistics().under_way:
            self._settle(mailbox)

    def total(self) -> Sums:
        """The sums of all mailboxes, open or not."""
        for mailbox in [box for box in self._open if box.is_closed and not box.statistics().under_way]:
            self._settle(mailbox)
        now = sum_up(box.statistics() for box in self._open)
        return Sums(
            mailboxes=now.mailboxes + self._closed["mailboxes"],
            dead={reason: count + self._closed_dead[reason] for reason, count in now.dead.items()},
            **{name: getattr(now, name) + self._closed[name] for name in _SUMMED},
        )

    def imbalances(self) -> list[str]:
        """What does not add up, each in a line; none if all is well."""
        self.total()
        return self._wrong + [line for box in self._open for line in _imbalances(box)]

    def _settle(self, mailbox: Mailbox[Any]) -> None:
        del self._open[mailbox]
        self._wrong = (self._wrong + _imbalances(mailbox))[:WRONG_MAX]
        seen = self._settled[mailbox] = mailbox.statistics()
        self._count(seen, +1)

    def _count(self, seen: MailboxStatistics, sign: int) -> None:
        self._closed["mailboxes"] += sign
        for name in _SUMMED:
            self._closed[name] += sign * getattr(seen, name)
        for reason, count in seen.dead.items():
            self._closed_dead[reason] += sign * count


def _imbalances(mailbox: Mailbox[Any]) -> list[str]:
    seen = mailbox.statistics()
    counts = {name: getattr(seen, name) for name in _SUMMED} | {r.value: n for r, n in seen.dead.items()}
    wrong = [f"{name} is {count}" for name, count in counts.items() if count < 0]
    if seen.unaccounted:
        wrong.append(f"{seen.unaccounted} of {seen.accepted} accepted messages are unaccounted for")
    if mailbox.is_closed and seen.kept:
        wrong.append(f"it is closed and still keeps {seen.kept}")
    return [f"a mailbox does not balance: {what} ({seen})" for what in wrong]


def assert_balanced(ledger: Ledger) -> None:
    """Raise ``AssertionError`` if a message of any mailbox of ``ledger`` was lost, or counted twice."""
    if wrong := ledger.imbalances():
        raise AssertionError("\n".join(wrong))


@contextmanager
def every_mailbox() -> Iterator[Ledger]:
    """For tests: a ledger of all mailboxes that are made in the ``with`` block.

    It changes how mailboxes are made while it is open, so that no mailbox need look for a ledger.
    """
    from trouper.actors.mailbox import Mailbox

    ledger, make = Ledger(), Mailbox.__init__

    @wraps(make)
    def make_accounted(self: Mailbox[Any], *args: Any, **options: Any) -> None:
        options.setdefault("ledger", ledger)
        make(self, *args, **options)

    Mailbox.__init__ = make_accounted  # type: ignore[method-assign]
    try:
        yield ledger
    finally:
        Mailbox.__init__ = make  # type: ignore[method-assign]
