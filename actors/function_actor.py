"""Actors that are one function, and keep their state in its variables.

    async def count(context: FunctionContext[str]) -> None:
        seen = 0                                  # whatever comes before the first message is the start
        async for message in context:
            seen += 1

    spec, ref = actor_child("count", function_actor(count))

Signals come in the same stream: a function that watches others takes a ``FunctionContext[str |
Terminated]``, and its ref, being contravariant, is an ``ActorRef[str]`` to everybody else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar

from trouper.actors.actor import Actor
from trouper.actors.context import ActorContext

M = TypeVar("M")


class FunctionContext(ActorContext[M], Generic[M]):
    """The context of a function actor: also the stream of its messages."""

    __slots__ = ("_next",)

    _next: Callable[[], Awaitable[Any]]

    def __aiter__(self) -> FunctionContext[M]:
        return self

    async def __anext__(self) -> M:
        return await self.receive()

    async def receive(self) -> M:
        """The next message or signal. The one before counts as handled now.

        The first call says that the actor has started.

        Raises: ``StopAsyncIteration`` when the actor is asked to end, and each time from then on. An ``async
        for`` ends by it, and so may the function: that is no crash. It has its grace to return in.

        **Cancellation**: nothing was taken.
        """
        message: M = await self._next()
        return message


ActorFunction = Callable[[FunctionContext[M]], Awaitable[None]]


class FunctionActor(Actor[M]):
    """Runs a function as an actor. It ends when the function returns."""

    def __init__(self, function: ActorFunction[M]) -> None:
        self.function = function

    async def receive(self, message: M) -> NoReturn:
        """Never called: the function takes its messages itself."""
        raise AssertionError("the function takes its messages itself")


def function_actor(function: ActorFunction[M]) -> Callable[[], Actor[M]]:
    """A factory of actors that run ``function``, for whatever takes one: ``actor_child``, ``context.spawn``.

    State belongs into the function's variables: each incarnation calls it anew.
    """
    return partial(FunctionActor, function)
