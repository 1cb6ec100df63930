"""Who waits for whom: each request that a handler sends carries the actors that wait for its answer.

An actor handles one message at a time, so one that waits in its handler for an answer can give none. A
request to such an actor, if it comes from where that answer must come from, could only end by a time-out;
it is refused at once with ``AskCycle``, which names all of them.

Seen are requests out of the handler's own task and out of tasks of nurseries that were opened in it. A task
of ``context.nursery`` does not keep its actor from handling messages, so it may ask whom it likes.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from trouper.actors.errors import AskCycle

if TYPE_CHECKING:
    from trouper.actors.ask import ReplySlot
    from trouper.actors.envelope import Envelope
    from trouper.actors.mailbox import Mailbox


@attrs.frozen(eq=False)
class AskLink:
    """One actor whose handler waits for an answer."""

    name: str
    mailbox: Mailbox[Any]
    slot: ReplySlot[Any]
    """Where it waits. Once that is filled or given up, the actor is free again."""
    behind: AskLink | None
    """The one that waits for *its* answer."""


class RunningActor(Protocol):
    """What a request that comes out of a handler needs to know of the actor."""

    @property
    def name(self) -> str:
        """Of its ref."""
        ...

    _mailbox: Mailbox[Any]
    _task: trio.lowlevel.Task | None
    _nursery: trio.Nursery | None
    _current: Envelope[Any] | None


running_actor: ContextVar[RunningActor | None] = ContextVar("running_actor", default=None)
"""The actor whose incarnation runs this task, or started it."""


def handled_here() -> tuple[RunningActor, Envelope[Any]] | None:
    """The message whose handler runs, or waits for, the current task, and the actor that handles it."""
    actor = running_actor.get()
    if actor is None or actor._current is None:
        return None
    task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
    while task is not actor._task:
        nursery = None if task is None else task.parent_nursery
        if nursery is None or nursery is actor._nursery:
            return None
        task = nursery.parent_task
    return actor, actor._current


def deadline_here() -> float:
    """Until when the answer is wanted to the request that is being handled here; ``inf`` if none is."""
    found = handled_here()
    return math.inf if found is None else found[1].deadline


def link_from_here(slot: ReplySlot[Any], target: Mailbox[Any], name: str) -> AskLink | None:
    """What a request to ``target`` that waits in ``slot`` carries. Raises: ``AskCycle``."""
    found = handled_here()
    if found is None:
        return None
    asker, envelope = found
    link = AskLink(asker.name, asker._mailbox, slot, envelope.chain)
    each: AskLink | None = link
    while each is not None:
        if each.mailbox is target and each.slot.open:
            raise AskCycle(f"{_names(link, each)} -> {name!r}: each waits for the next")
        each = each.behind
    return link


def _names(link: AskLink, last: AskLink) -> str:
    names = [repr(link.name)]
    while link is not last and link.behind is not None:
        link = link.behind
        names.append(repr(link.name))
    return " -> ".join(reversed(names))
