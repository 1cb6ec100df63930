"""Actors for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from trouper.actors.actor import Actor, StopReason
from trouper.actors.loop import Incarnation, run_actor
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.signals import Signal

Step = Callable[["Recorder"], Awaitable[None] | None]


class Recorder(Actor[Any]):
    """Notes everything it gets; a message that is a function is called with the actor."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def receive(self, message: Any) -> None:
        if callable(message):
            waited: Any = message(self)
            if waited is not None:
                await waited
        else:
            self.got.append(message)

    async def signalled(self, signal: Signal) -> None:
        self.got.append(signal)

    async def stopped(self, reason: StopReason) -> None:
        self.got.append(reason)


def new_ref(name: str, **options: Any) -> ActorRef[Any]:
    return ActorRef(name, Mailbox(**options))


@asynccontextmanager
async def running(
    *refs: ActorRef[Any], actors: list[Actor[Any]] | None = None
) -> AsyncIterator[list[Recorder]]:
    """Runs an actor behind each ref until the block ends, then stops them in order."""
    recorders = [Recorder() for _ in refs]
    async with trio.open_nursery() as nursery:
        for ref, actor in zip(refs, actors or recorders, strict=True):
            nursery.start_soon(run_actor, actor, ref)
        await trio.testing.wait_all_tasks_blocked()
        yield recorders
        await trio.testing.wait_all_tasks_blocked()
        for ref in refs:
            ref.stop()


async def settle() -> None:
    """Let everybody do what there is to do."""
    await trio.testing.wait_all_tasks_blocked()


async def do(ref: ActorRef[Any], step: Callable[[Any], Any]) -> None:
    """Have the actor behind ``ref`` call ``step``, and wait until all is done."""
    assert ref.tell(step).accepted
    await settle()


async def live_and_crash(ref: ActorRef[Any], actor: Actor[Any], incarnation: int = 1) -> Exception | None:
    """Run one incarnation to its end, as a supervisor would. Gives its crash."""
    try:
        await Incarnation(actor, ref, ref._mailbox(), incarnation=incarnation).run()
    except Exception as crash:
        return crash
    return None


def crash(_actor: Any) -> None:
    raise ValueError("boom")


def stop(actor: Any) -> None:
    actor.context.stop()
