"""Hearing of the end of others: once, also when it comes late, and without leaving anything behind."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio

from tests.actors.helpers import Recorder, crash, do, live_and_crash, new_ref, running, settle, stop
from trouper.actors import watch
from trouper.actors.actor import Actor, StopReason
from trouper.actors.errors import LimitReached, LinkedActorEnded
from trouper.actors.loop import run_actor
from trouper.actors.ref import ActorRef
from trouper.actors.signals import Terminated


async def end(ref: ActorRef[Any], how: Any) -> None:
    """Run an actor behind ``ref`` to its end."""
    ref.tell(how)
    with suppress(ValueError):
        await run_actor(Recorder(), ref)


@pytest.mark.parametrize(
    ("how", "reason", "summary"),
    [(stop, StopReason.STOPPED, None), (crash, StopReason.CRASHED, "ValueError: boom")],
)
async def test_the_end_of_a_watched_actor_is_told_with_its_reason(
    how: Any, reason: StopReason, summary: str | None
) -> None:
    watcher, other = new_ref("watcher"), new_ref("other")
    async with running(watcher) as [recorder]:
        await do(watcher, lambda actor: actor.context.watch(other))
        await end(other, how)
        await settle()
        assert recorder.got == [Terminated(other, reason, summary)]


async def test_watching_twice_is_told_once_and_late_watching_is_answered() -> None:
    watcher, other = new_ref("watcher"), new_ref("other")
    async with running(watcher) as [recorder]:
        await do(watcher, lambda actor: actor.context.watch(other))
        await do(watcher, lambda actor: actor.context.watch(ActorRef("other", other._mailbox())))
        await end(other, stop)
        await settle()
        assert len(recorder.got) == 1
        await do(watcher, lambda actor: actor.context.watch(other))
        assert recorder.got == [Terminated(other, StopReason.STOPPED, None)] * 2


async def test_a_restart_is_no_end() -> None:
    watcher, other = new_ref("watcher"), new_ref("other")
    async with running(watcher) as [recorder]:
        await do(watcher, lambda actor: actor.context.watch(other))
        other.tell(crash)
        assert await live_and_crash(other, Recorder()) is not None
        await settle()
        assert recorder.got == []
        await end(other, stop)
        await settle()
        assert recorder.got == [Terminated(other, StopReason.STOPPED, None)], "nor is the earlier crash told"


async def test_nothing_is_told_after_unwatch_even_if_it_waited_already() -> None:
    watcher, other = new_ref("watcher"), new_ref("other")
    async with running(watcher) as [recorder]:
        await do(watcher, lambda actor: actor.context.watch(other))

        def end_it_and_look_away(actor: Recorder) -> None:
            other._mailbox().close(StopReason.STOPPED)
            actor.context.unwatch(other)

        await do(watcher, end_it_and_look_away)
        assert recorder.got == []


async def test_no_watch_is_left_when_the_watcher_has_ended() -> None:
    # What others were reported for: a monitor for each subscription, and none ever taken away.
    watcher, other = new_ref("watcher"), new_ref("other")
    async with running(watcher):
        await do(watcher, lambda actor: actor.context.watch(other))
        assert other._mailbox().watchers == 1
        await do(watcher, lambda actor: actor.context.unwatch(other))
        assert other._mailbox().watchers == 0
        await do(watcher, lambda actor: actor.context.watch(other))
    await watcher.join()
    assert other._mailbox().watchers == 0


async def test_a_watch_ends_with_the_incarnation_that_asked_for_it() -> None:
    watcher, other = new_ref("watcher"), new_ref("other")
    watcher.tell(lambda actor: actor.context.watch(other))
    watcher.tell(crash)
    assert await live_and_crash(watcher, Recorder()) is not None
    second = Recorder()
    async with running(watcher, actors=[second]):
        await end(other, stop)
    assert second.got == [StopReason.STOPPED]


async def test_the_end_of_the_watched_is_heard_before_the_messages_that_wait() -> None:
    watcher, other = new_ref("watcher"), new_ref("other")
    async with running(watcher) as [recorder]:

        def busy(actor: Recorder) -> None:
            actor.context.watch(other)
            for number in range(3):
                watcher.tell(number)
            other._mailbox().close(StopReason.SHUTDOWN)

        await do(watcher, busy)
        assert recorder.got == [Terminated(other, StopReason.SHUTDOWN, None), 0, 1, 2]


async def test_an_actor_that_watches_but_cannot_hear_says_so() -> None:
    class Deaf(Actor[str]):
        async def started(self) -> None:
            self.context.watch(other)

        async def receive(self, message: str) -> None: ...

    other = new_ref("other")
    other._mailbox().close(StopReason.STOPPED)
    with pytest.raises(NotImplementedError, match="'deaf' asked for Terminated, but Deaf has no signalled"):
        await run_actor(Deaf(), new_ref("deaf"))


async def test_watches_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WATCHES_MAX", 2)
    watcher = new_ref("watcher")
    refused: list[str] = []

    def watch_many(actor: Recorder) -> None:
        for _ in range(2):
            actor.context.watch(new_ref("other"))
        with pytest.raises(LimitReached, match="watches 2 others"):
            actor.context.watch(new_ref("one too many"))
        refused.append("yes")

    async with running(watcher):
        await do(watcher, watch_many)
    assert refused == ["yes"]


@pytest.mark.parametrize("first", ["the one that linked", "the other"])
async def test_of_two_linked_actors_a_crash_of_one_is_the_others(first: str) -> None:
    one, other = new_ref("one"), new_ref("other")
    ends: dict[str, Exception] = {}

    async def live(ref: ActorRef[Any]) -> None:
        try:
            await run_actor(Recorder(), ref)
        except (ValueError, LinkedActorEnded) as error:
            ends[ref.name] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live, one)
        nursery.start_soon(live, other)
        await do(one, lambda actor: actor.context.link(other))
        (one if first == "the one that linked" else other).tell(crash)
    crashed, linked = ("one", "other") if first == "the one that linked" else ("other", "one")
    assert type(ends[crashed]) is ValueError
    assert str(ends[linked]) == f"{crashed!r}, to which it is linked, has ended: ValueError: boom"


async def test_a_linked_actor_that_ends_well_or_was_unlinked_harms_nobody() -> None:
    one, well, loose = new_ref("one"), new_ref("well"), new_ref("loose")
    async with running(one) as [recorder]:
        async with running(well):
            await do(one, lambda actor: actor.context.link(well))
        await settle()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end, loose, lambda _actor: None)
            await do(one, lambda actor: actor.context.link(loose))
            await do(one, lambda actor: actor.context.unlink(loose))
            await do(loose, crash)
        assert recorder.got == [], "a link alone is not heard of"
