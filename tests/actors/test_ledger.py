"""The sums of many mailboxes, and the assertion that stands behind every test of the suite."""

from __future__ import annotations

import pytest
import trio

from trouper.actors.ask import ReplySlot
from trouper.actors.envelope import DeadReason, Envelope
from trouper.actors.ledger import Ledger, assert_balanced, every_mailbox, sum_up
from trouper.actors.mailbox import Mailbox
from trouper.actors.signals import StopReason


def fill(mailbox: Mailbox[int], count: int) -> None:
    for number in range(count):
        mailbox.offer(Envelope(number))


def handle_one(mailbox: Mailbox[int]) -> None:
    envelope = mailbox.take()
    assert isinstance(envelope, Envelope)
    mailbox.handled(envelope)


@pytest.mark.clause("S4")
async def test_a_ledger_adds_up_mailboxes_also_those_that_are_gone() -> None:
    ledger = Ledger()
    first: Mailbox[int] = Mailbox(2, ledger=ledger)
    fill(first, 3)
    handle_one(first)
    first.close(StopReason.STOPPED)
    del first
    second: Mailbox[int] = Mailbox(ledger=ledger)
    second.offer(Envelope(1, ReplySlot()))
    fill(second, 2)
    total = ledger.total()
    assert (total.mailboxes, total.accepted, total.refused, total.handled, total.kept) == (2, 5, 1, 1, 3)
    assert total.dead[DeadReason.STOPPED] == 1
    assert total.unaccounted == 0
    assert_balanced(ledger)
    assert sum_up([second.statistics()]).accepted == 3


@pytest.mark.clause("S4")
async def test_a_mailbox_that_is_opened_again_is_counted_once() -> None:
    ledger = Ledger()
    mailbox: Mailbox[int] = Mailbox(ledger=ledger)
    fill(mailbox, 2)
    mailbox.close(StopReason.CRASHED)
    mailbox.reopen()
    fill(mailbox, 1)
    assert (ledger.total().mailboxes, ledger.total().accepted) == (1, 3)
    mailbox.close(StopReason.STOPPED)
    assert (ledger.total().mailboxes, ledger.total().accepted) == (1, 3)


@pytest.mark.clause("S4")
async def test_a_message_that_is_still_under_way_when_its_mailbox_closes_is_waited_for() -> None:
    ledger = Ledger()
    mailbox: Mailbox[int] = Mailbox(ledger=ledger)
    fill(mailbox, 1)
    envelope = mailbox.take()
    assert isinstance(envelope, Envelope)
    mailbox.close(StopReason.CANCELLED)
    assert ledger.total().under_way == 1
    mailbox.bury(envelope, DeadReason.CANCELLED)
    assert ledger.total().under_way == 0
    assert_balanced(ledger)


@pytest.mark.parametrize("lost", ["one", "counted twice"])
def test_a_message_that_is_lost_or_counted_twice_is_told(lost: str) -> None:
    ledger = Ledger()
    mailbox: Mailbox[int] = Mailbox(ledger=ledger)
    fill(mailbox, 3)
    if lost == "one":
        mailbox._data.pop()
    else:
        envelope = mailbox.take()
        assert isinstance(envelope, Envelope)
        mailbox.handled(envelope)
        mailbox.handled(envelope)
    with pytest.raises(AssertionError, match="does not balance"):
        assert_balanced(ledger)
    mailbox.close(StopReason.STOPPED)
    with pytest.raises(AssertionError, match="does not balance"):
        assert_balanced(ledger)


def test_every_mailbox_made_in_the_block_is_in_the_ledger_and_none_made_outside() -> None:
    make = Mailbox.__init__
    with every_mailbox() as ledger:
        fill(Mailbox(), 2)
        own = Ledger()
        fill(Mailbox(ledger=own), 1)
    assert Mailbox.__init__ is make
    fill(Mailbox(), 4)
    assert ledger.total().accepted == 2, "one that has a ledger of its own stays there"
    assert own.total().accepted == 1


async def test_a_test_of_the_suite_runs_under_a_ledger_of_its_own() -> None:
    mailbox: Mailbox[int] = Mailbox()
    await trio.lowlevel.checkpoint()
    assert mailbox._ledger is not None, "tests/conftest.py gives every mailbox of a test a ledger"


@pytest.mark.clause("S4")
def test_a_mailbox_that_never_had_a_message_and_refused_some_is_counted_once_when_it_is_opened_again() -> (
    None
):
    ledger = Ledger()
    mailbox: Mailbox[int] = Mailbox(ledger=ledger)
    for _ in range(2):
        mailbox.close(StopReason.STOPPED)
        fill(mailbox, 1)
        mailbox.reopen()
    total = ledger.total()
    assert (total.mailboxes, total.accepted, total.refused) == (1, 0, 2)
