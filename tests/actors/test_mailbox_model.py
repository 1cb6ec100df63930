"""Whatever is done to a mailbox, in whatever order: it does what plain lists would do."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actors.mailbox_model import Letter, MailboxModel
from trouper.actors.ask import ReplySlot
from trouper.actors.envelope import DeadReason, Envelope, OwnEnvelope
from trouper.actors.errors import ActorError, ActorStopped, LimitReached, MailboxFull
from trouper.actors.mailbox import Mailbox, Overflow
from trouper.actors.signals import ConsiderPassivation, Lagged, Stop, StopReason, Terminated


class Pair:
    """A mailbox and its model; each method does one thing to both and compares."""

    def __init__(self, capacity: int, overflow: Overflow, nursery: trio.Nursery) -> None:
        key = (lambda number: number % 3) if overflow is Overflow.CONFLATE else None
        self.key = key
        self.real: Mailbox[int] = Mailbox(capacity, overflow, conflate_key=key)
        self.real.stashed.capacity = 2
        self.model = MailboxModel(capacity, overflow, 2)
        self.nursery = nursery
        self.number = 0
        self.asks: list[tuple[Letter, ReplySlot[Any]]] = []
        self.sends: list[tuple[Letter, trio.CancelScope]] = []

    def letter(self, **kinds: bool) -> Letter:
        self.number += 1
        keyed = self.key is not None and not kinds
        return Letter(self.number, key=self.number % 3 if keyed else None, **kinds)

    async def do(self, step: str) -> None:
        await getattr(self, step)()
        await trio.testing.wait_all_tasks_blocked()
        self.model.check(self.real.statistics())

    async def tell(self) -> None:
        letter = self.letter()
        expected = self.model.offer(letter)
        self.model.count["refused"] += expected == "dropped"
        assert self.real.offer(Envelope(letter.number)).value == expected

    async def ask(self) -> None:
        letter, slot = self.letter(asked=True), ReplySlot[Any]()
        expected = self.model.offer(letter)
        self.model.count["refused"] += expected == "dropped"
        assert self.real.offer(Envelope(letter.number, slot)).value == expected
        if expected == "accepted":
            self.asks.append((letter, slot))

    async def leave(self) -> None:
        if self.asks:
            letter, slot = self.asks.pop(0)
            if slot.open:
                letter.left = slot.abandoned = True

    async def send(self) -> None:
        letter = self.letter()
        was_closed = self.model.closed
        found = self.model.offer(letter)
        error: type[ActorError] | None = ActorStopped if was_closed else None
        scope = trio.CancelScope()
        if found == "dropped" and self.model.overflow is Overflow.REJECT:
            error = MailboxFull
            self.model.count["refused"] += 1
        elif found == "dropped":
            self.model.senders.append(letter)
            self.sends.append((letter, scope))
        self.nursery.start_soon(self._send, letter.number, scope, error)

    async def _send(self, number: int, scope: trio.CancelScope, error: type[ActorError] | None) -> None:
        with scope:
            raised: type[ActorError] | None = None
            try:
                await self.real.put(Envelope(number))
            except ActorError as refusal:
                raised = type(refusal)
            assert raised is error or (error is None and self.model.closed)

    async def cancel_send(self) -> None:
        waiting = [(letter, scope) for letter, scope in self.sends if letter in self.model.senders]
        if waiting:
            letter, scope = waiting[0]
            self.model.senders.remove(letter)
            scope.cancel()

    async def own(self) -> None:
        letter = self.letter(own=True)
        self.real.add_own(OwnEnvelope(letter.number))
        self.model.accept(letter)
        if self.model.closed:
            self.model.data.remove(letter)
            self.model.dead[DeadReason.STOPPED] += 1

    async def stop(self) -> None:
        self.real.post(Stop(StopReason.STOPPED))
        if not self.model.closed and "stop" not in self.model.commands:
            self.model.commands.append("stop")

    async def consider(self) -> None:
        self.real.post(ConsiderPassivation())
        if not self.model.closed and "consider" not in self.model.commands:
            self.model.commands.append("consider")

    async def signal(self) -> None:
        number = self.number % 2
        self.real.signal(number, Terminated(number, StopReason.STOPPED, None))  # type: ignore[arg-type]
        if not self.model.closed and number not in self.model.signals:
            self.model.signals.append(number)

    def _take(self) -> Envelope[int] | None:
        item = self.real.take()
        found: Any = item
        match item:
            case Envelope():
                found = item.message
            case Stop():
                found = "stop"
            case ConsiderPassivation():
                found = "consider"
            case Terminated():
                found = ("signal", item.ref)
            case Lagged(count):
                found = ("lagged", count)
        assert found == self.model.take()
        return item if isinstance(item, Envelope) else None

    async def take(self) -> None:
        if (envelope := self._take()) is not None:
            self.real.handled(envelope)
            self.model.under_way = None
            self.model.count["handled"] += 1

    async def crash(self) -> None:
        if (envelope := self._take()) is not None:
            self.real.bury(envelope, DeadReason.CRASHED, ActorStopped())
            self.model.under_way = None
            self.model.dead[DeadReason.CRASHED] += 1

    async def stash(self) -> None:
        if (envelope := self._take()) is not None:
            letter, self.model.under_way = self.model.under_way, None
            assert letter is not None
            if len(self.model.aside) + len(self.model.resumed) < self.model.stash_capacity:
                self.real.stash(envelope)
                self.model.aside.append(letter)
            else:
                with pytest.raises(LimitReached):
                    self.real.stash(envelope)
                self.real.handled(envelope)
                self.model.count["handled"] += 1

    async def unstash(self) -> None:
        assert self.real.unstash() == self.model.unstash()

    async def end(self) -> None:
        self.real.end_incarnation()
        self.model.end_incarnation()

    async def suspend(self) -> None:
        if not self.model.closed:
            self.real.suspend(True)
            self.model.suspended = True

    async def resume(self) -> None:
        if not self.model.closed:
            self.real.suspend(False)
            self.model.suspended = False

    async def cancel_get(self) -> None:
        """A consumer that waits and is cancelled has taken nothing."""
        with trio.CancelScope() as scope:
            scope.cancel()
            if self.real.is_empty():
                await self.real.wait()
        # ``is_empty`` buries what nobody wants at the head, as ``take`` would have done.
        while self.model.data and self.model.data[0].left:
            del self.model.data[0]
            self.model.dead[DeadReason.ABANDONED] += 1
            while self.model.senders and not self.model.full:
                self.model.offer(self.model.senders.pop(0))

    async def close(self) -> None:
        self.real.close(StopReason.STOPPED)
        self.model.close()

    async def reopen(self) -> None:
        self.real.reopen()
        self.model.closed = False


STEPS = [name for name in vars(Pair) if not name.startswith("_") and name not in ("do", "letter")] + [
    "tell",
    "tell",
    "take",
    "take",
]


@pytest.mark.clause("S4")
@pytest.mark.clause("E2")
@given(
    overflow=st.sampled_from(Overflow),
    capacity=st.integers(1, 3),
    steps=st.lists(st.sampled_from(STEPS), min_size=15, max_size=60),
)
@settings(max_examples=200)
def test_a_mailbox_does_what_plain_lists_would_do(
    overflow: Overflow, capacity: int, steps: list[str]
) -> None:
    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair(capacity, overflow, nursery)
            for step in steps:
                await pair.do(step)
            nursery.cancel_scope.cancel()

    trio.run(scenario)
