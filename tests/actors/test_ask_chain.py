"""Asks within asks: a circle is refused at once, and nobody waits longer than their own asker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.actors.helpers import new_ref, running, settle
from trouper.actors.actor import Actor
from trouper.actors.ask import Request
from trouper.actors.envelope import DeadReason
from trouper.actors.errors import ActorCrashed, AskCycle, AskTimeout
from trouper.actors.loop import run_actor
from trouper.actors.ref import ActorRef


@attrs.frozen
class Do(Request[Any]):
    """Have the actor answer with what ``what`` gives, or with the error that it raises."""

    what: Callable[[Any], Awaitable[Any]]


class Asker(Actor[Any]):
    """Does what it is asked."""

    async def receive(self, message: Any) -> None:
        if isinstance(message, Do):
            try:
                self.context.reply(await message.what(self))
            except AskCycle as error:
                self.context.reply_error(error)
        else:
            await message(self)


async def one(_actor: Any) -> int:
    return 1


def asks(ref: ActorRef[Any], what: Callable[[Any], Awaitable[Any]], timeout: float | None = 5) -> Any:
    """What asks ``ref`` for ``what`` when it is done."""
    return lambda _actor: ref.ask(Do(what), timeout=timeout)


async def test_an_ask_in_a_circle_is_refused_at_once_and_names_it() -> None:
    a, b, c = new_ref("a"), new_ref("b"), new_ref("c")
    async with running(a, b, c, actors=[Asker(), Asker(), Asker()]):
        with pytest.raises(AskCycle, match="'a' -> 'b' -> 'c' -> 'a'"):
            await a.ask(Do(asks(b, asks(c, asks(a, one)))), timeout=5)
        with pytest.raises(AskCycle, match="'b' -> 'c' -> 'b'"):
            await a.ask(Do(asks(b, asks(c, asks(b, one)))), timeout=5)
        with pytest.raises(AskCycle, match="'a' -> 'a'"):
            await a.ask(Do(asks(a, one)), timeout=5)
        assert await a.ask(Do(asks(b, asks(c, one))), timeout=5) == 1, "a line is no circle"


async def test_a_plain_message_can_begin_a_circle_as_well() -> None:
    a, b = new_ref("a"), new_ref("b")
    found: list[AskCycle] = []

    async def begin(_actor: Any) -> None:
        try:
            await b.ask(Do(asks(a, one)), timeout=5)
        except AskCycle as error:
            found.append(error)

    async with running(a, b, actors=[Asker(), Asker()]):
        a.tell(begin)
        await settle()
    assert str(found[0]) == "'a' -> 'b' -> 'a': each waits for the next"


async def test_a_task_of_a_nursery_in_the_handler_is_part_of_the_handler() -> None:
    a, b = new_ref("a"), new_ref("b")
    errors: list[Exception] = []

    async def ask_in_a_task(_actor: Any) -> str:
        async def ask() -> None:
            try:
                await b.ask(Do(asks(a, one)), timeout=5)
            except AskCycle as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:  # noqa: ASYNC112  # a task of its own is what is tested
            nursery.start_soon(ask)
        return "done"

    async with running(a, b, actors=[Asker(), Asker()]):
        assert await a.ask(Do(ask_in_a_task), timeout=5) == "done"
    assert len(errors) == 1


async def test_a_task_of_the_actors_own_nursery_keeps_it_from_nothing_and_may_ask_back() -> None:
    a, b = new_ref("a"), new_ref("b")
    answers: list[Any] = []

    async def ask_beside(actor: Any) -> str:
        async def ask() -> None:
            answers.append(await b.ask(Do(asks(a, one)), timeout=5))

        actor.context.nursery.start_soon(ask)
        return "done"

    async with running(a, b, actors=[Asker(), Asker()]):
        assert await a.ask(Do(ask_beside), timeout=5) == "done"
        await settle()
    assert answers == [1]


async def test_who_has_given_up_waiting_is_no_part_of_a_circle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a, b = new_ref("a"), new_ref("b")
    answers: list[Any] = []

    async def ask_a_late(_actor: Any) -> None:
        await trio.sleep(2)  # the asker's second is over by now
        answers.append(await a.ask(Do(one), timeout=5))

    async def give_up(_actor: Any) -> str:
        with trio.move_on_after(1):
            await b.ask(Do(ask_a_late), timeout=9)
        return "gave up"

    async with running(a, b, actors=[Asker(), Asker()]):
        assert await a.ask(Do(give_up), timeout=9) == "gave up"
        await trio.sleep(3)
    assert answers == [1]


async def test_an_ask_without_a_timeout_has_that_of_the_request_being_handled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a, b = new_ref("a"), new_ref("b")

    async def tell_time(_actor: Any) -> float:
        await trio.sleep(1)
        return trio.current_time()

    async with running(a, b, actors=[Asker(), Asker()]):
        assert await a.ask(Do(asks(b, tell_time, timeout=None)), timeout=5) == 1
        with pytest.raises(ValueError, match="only where a request with a deadline is being handled"):
            await a.ask(Do(one))


async def test_a_callers_timeout_kills_no_server(autojump_clock: trio.testing.MockClock) -> None:
    # What triotp was found to do. Here: the inner ask ends with the outer one, and the message is given up.
    a, b = new_ref("a"), new_ref("b")

    async def never(_actor: Any) -> None:
        await trio.sleep(60)

    async with running(a, b, actors=[Asker(), Asker()]):
        with pytest.raises(AskTimeout, match=r"no answer from 'a' to Do in 2 s: it was being handled"):
            await a.ask(Do(asks(b, never, timeout=30)), timeout=2)
        assert trio.current_time() == 2
        assert await a.ask(Do(one), timeout=1) == 1, "it goes on, in the same incarnation"
        seen = a.statistics()
        assert seen is not None
        assert seen.dead[DeadReason.EXPIRED] == 1


async def test_a_timeout_of_the_handlers_own_choice_is_a_crash_like_any_exception(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a = new_ref("a")
    nobody = new_ref("nobody")
    caught: list[Exception] = []

    async def live() -> None:
        try:
            await run_actor(Asker(), a)
        except AskTimeout as error:
            caught.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        with pytest.raises(ActorCrashed, match=r"'a' crashed: AskTimeout: no answer from 'nobody'.* in 1 s"):
            await a.ask(Do(asks(nobody, one, timeout=1)), timeout=5)
    assert len(caught) == 1


async def test_tasks_outside_of_any_actor_ask_without_a_chain() -> None:
    a = new_ref("a")
    async with running(a, actors=[Asker()]):
        assert await a.ask(Do(one), timeout=1) == 1
