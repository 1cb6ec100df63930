"""Looking into actors that run, as Erlang's ``sys`` does: for consoles, tests, and who is called at night.

What these functions ask goes through the control lane and is answered by the actor's own task between two
messages: also if its mailbox is full, if it is suspended, or if it waits for a restart. Only a handler that
does not return keeps it from answering; ``statistics`` tells that, and never waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import trio

from trouper.actors.ask import ReplySlot
from trouper.actors.errors import ActorStopped, InspectionTimeout
from trouper.actors.mailbox import Mailbox, MailboxStatistics
from trouper.actors.ref import ActorRef
from trouper.actors.signals import Inspect
from trouper.actors.trace import TRACE_SIZE, Trace


@attrs.frozen
class ActorStatistics:
    """What can be said of an actor without asking it."""

    name: str
    state: str
    """``idle``, ``handling``, ``suspended``, ``not running`` (between two incarnations) or ``ended``."""
    incarnation: int
    """Counted from 1; 0 if none runs."""
    handling: str | None
    """The type of the message under way."""
    watchers: int
    mailbox: MailboxStatistics


def statistics(ref: ActorRef[Any]) -> ActorStatistics | None:
    """What the actor does, without waiting for it; ``None`` for the ref of a key that has no actor."""
    mailbox = ref._mailbox_if_active()
    if mailbox is None:
        return None
    context = None if mailbox.occupant is None else mailbox.occupant.context
    handled = None if context is None else context._current
    if mailbox.is_closed:
        state = "ended"
    elif context is None:
        state = "not running"
    elif handled is not None:
        state = "handling"
    else:
        state = "suspended" if mailbox.suspended else "idle"
    return ActorStatistics(
        name=ref.name,
        state=state,
        incarnation=0 if context is None else context.incarnation,
        handling=None if handled is None else type(handled.message).__name__,
        watchers=mailbox.watchers,
        mailbox=mailbox.statistics(),
    )


async def get_state(ref: ActorRef[Any], *, timeout: float = 5.0) -> Any:
    """What the actor's ``get_state`` gives: by default its attributes, shared and not to be changed.

    ``timeout``: seconds to wait for the actor. Raises: ``InspectionTimeout``, ``ActorStopped``, what
    ``get_state`` raises (which is no crash of the actor), ``LimitReached`` if very many ask.

    **Cancellation**: the actor is not asked any more.
    """
    return await _ask_loop(ref, lambda incarnation: incarnation.actor.get_state(), timeout)


async def replace_state(ref: ActorRef[Any], change: Callable[[Any], Any], *, timeout: float = 5.0) -> Any:
    """Give the actor's ``set_state`` what ``change`` makes of its ``get_state``. Returns: that state.

    ``timeout``, raises: as ``get_state``; an exception out of ``change`` changes nothing.

    **Cancellation**: the state was changed, or not, as a whole.
    """

    def look(incarnation: Any) -> Any:
        state = change(incarnation.actor.get_state())
        incarnation.actor.set_state(state)
        return state

    return await _ask_loop(ref, look, timeout)


async def suspend(ref: ActorRef[Any], *, timeout: float = 5.0) -> None:
    """Have the actor handle nothing after the message under way, until ``resume`` or the next incarnation.
    Messages go on waiting in its mailbox, and it can be stopped and inspected.

    ``timeout``, raises: as ``get_state``. **Cancellation**: it is suspended, or not.
    """
    await _ask_loop(ref, lambda incarnation: incarnation._mailbox.suspend(True), timeout)


async def resume(ref: ActorRef[Any], *, timeout: float = 5.0) -> None:
    """Have the actor go on. ``timeout``, raises: as ``get_state``. **Cancellation**: it goes on, or not."""
    await _ask_loop(ref, lambda incarnation: incarnation._mailbox.suspend(False), timeout)


@contextmanager
def trace(ref: ActorRef[Any], size: int = TRACE_SIZE) -> Iterator[Trace]:
    """The newest ``size`` messages that come to the actor and that it takes, while the block runs.

    One at a time: a second trace of an actor takes over from the first. Raises: ``ActorStopped``.
    """
    mailbox = _mailbox_of(ref)
    ring = Trace(size)
    mailbox.trace(ring)
    try:
        yield ring
    finally:
        if mailbox._trace is ring:
            mailbox.trace(None)


async def _ask_loop(ref: ActorRef[Any], look: Callable[[Any], Any], timeout: float) -> Any:
    if not 0 < timeout < math.inf:
        raise ValueError(f"timeout is a finite number of seconds above 0, not {timeout!r}")
    slot: ReplySlot[Any] = ReplySlot()
    await trio.lowlevel.checkpoint_if_cancelled()
    _mailbox_of(ref).post(Inspect(look, slot))
    with trio.move_on_after(timeout):
        return await slot.wait()
    seen = statistics(ref)
    doing = "gone" if seen is None else seen.state if seen.handling is None else f"handling {seen.handling}"
    raise InspectionTimeout(f"{ref.name!r} did not come to the inspection in {timeout} s: it is {doing}")


def _mailbox_of(ref: ActorRef[Any]) -> Mailbox[Any]:
    mailbox = ref._mailbox_if_active()
    if mailbox is None:
        raise ActorStopped(f"{ref.name!r} has no actor now")
    if mailbox.is_closed:
        raise mailbox.closed_error()
    return mailbox
