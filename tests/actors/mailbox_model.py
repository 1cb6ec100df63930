"""A mailbox as plain lists: slow, obvious, and without tasks. What the real one is compared with."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from trouper.actors.envelope import DeadReason
from trouper.actors.mailbox import MailboxStatistics, Overflow


@attrs.define(eq=False)
class Letter:
    """A message. ``asked``: somebody waits for its answer; ``left``: no more."""

    number: int
    key: int | None = None
    asked: bool = False
    left: bool = False
    own: bool = False


class MailboxModel:
    """The same operations as a mailbox; each tells what the real one must tell."""

    def __init__(self, capacity: int, overflow: Overflow, stash_capacity: int) -> None:
        self.capacity, self.overflow, self.stash_capacity = capacity, overflow, stash_capacity
        self.commands: list[str] = []
        self.signals: list[int] = []
        self.data: list[Letter] = []
        self.aside: list[Letter] = []
        self.resumed: list[Letter] = []
        self.senders: list[Letter] = []
        self.lagged = 0
        self.suspended = self.closed = False
        self.under_way: Letter | None = None
        self.count: Counter[str] = Counter()
        self.dead: Counter[DeadReason] = Counter()

    @property
    def full(self) -> bool:
        return sum(not letter.own for letter in self.data) >= self.capacity

    def offer(self, letter: Letter) -> str:
        if self.closed:
            self.count["refused"] += 1
            return "dead"
        if letter.key is not None and not letter.asked:
            for older in self.data:
                if older.key == letter.key and not older.asked:
                    older.number = letter.number
                    self.count["accepted"] += 1
                    self.count["superseded"] += 1
                    return "superseded"
        if self.full and self.overflow is not Overflow.DROP_OLDEST:
            return "dropped"
        if self.full:
            oldest = next(each for each in self.data if not each.own)
            self.data.remove(oldest)
            self.lagged += 1
            self.give_back(oldest, DeadReason.DROPPED_OLDEST)
        self.accept(letter)
        return "accepted"

    def accept(self, letter: Letter) -> None:
        self.data.append(letter)
        self.count["accepted"] += 1

    def give_back(self, letter: Letter, reason: DeadReason) -> None:
        if letter.asked and not letter.left:
            self.count["returned"] += 1
        else:
            self.dead[DeadReason.ABANDONED if letter.left and reason is DeadReason.STOPPED else reason] += 1

    def take(self) -> Any:
        if self.commands:
            self.commands.sort(key=lambda command: command != "stop")
            return self.commands.pop(0)
        if self.suspended:
            return None
        if self.signals:
            return ("signal", self.signals.pop(0))
        while self.resumed:
            if (letter := self.resumed.pop(0)).left:
                self.dead[DeadReason.ABANDONED] += 1
                continue
            self.under_way = letter
            return letter.number
        if self.lagged:
            lagged, self.lagged = self.lagged, 0
            return ("lagged", lagged)
        while self.data:
            letter = self.data.pop(0)
            while self.senders and not self.full:
                self.offer(self.senders.pop(0))
            if letter.left:
                self.dead[DeadReason.ABANDONED] += 1
                continue
            self.under_way = letter
            return letter.number
        return None

    def end_incarnation(self) -> None:
        self.commands.clear()
        self.signals.clear()
        self.suspended = False
        self.dead[DeadReason.WITHDRAWN] += sum(letter.own for letter in self.data)
        self.data = [letter for letter in self.data if not letter.own]
        self.unstash()

    def unstash(self) -> int:
        count = len(self.aside)
        self.resumed, self.aside = self.aside + self.resumed, []
        return count

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        for letter in self.aside + self.resumed + self.data:
            self.give_back(letter, DeadReason.STOPPED)
        self.count["refused"] += len(self.senders)
        for kept in (self.commands, self.signals, self.aside, self.resumed, self.data, self.senders):
            kept.clear()
        self.lagged, self.suspended = 0, False

    def check(self, seen: MailboxStatistics) -> None:
        """That the real one tells the same sums."""
        expected = {
            name: self.count[name] for name in ("accepted", "refused", "handled", "superseded", "returned")
        }
        assert {name: getattr(seen, name) for name in expected} == expected
        assert {reason: count for reason, count in seen.dead.items() if count} == {
            reason: count for reason, count in self.dead.items() if count
        }
        assert seen.waiting == len(self.data) + len(self.resumed)
        assert seen.stashed == len(self.aside)
        assert seen.senders_waiting == len(self.senders)
        assert seen.under_way == (self.under_way is not None)
        assert seen.unaccounted == 0
