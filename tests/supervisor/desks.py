"""Keyed actors for tests: they note what they do, stay while they have subscribers, crash when told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from tests.supervisor.helpers import Stage
from trouper.actors.actor import Actor
from trouper.actors.ask import Request
from trouper.actors.signals import StopReason
from trouper.supervisor.keyed import KeyedSupervisor


@attrs.frozen
class Subscribe(Request[int]):
    """Answered with the number of subscribers."""


@attrs.frozen
class Crash(Request[None]):
    pass


Message = Subscribe | Crash | str


class Desk(Actor[Message]):
    """One for each key; stays while it has subscribers."""

    def __init__(self, key: str, log: list[str], stop: Callable[[], Awaitable[None]] | None = None) -> None:
        self._key, self._log, self._stop = key, log, stop
        self.subscribers = 0

    async def started(self) -> None:
        self._log.append(f"{self._key}+")

    async def receive(self, message: Message) -> None:
        match message:
            case Subscribe():
                self.subscribers += 1
                self.context.reply(self.subscribers)
            case Crash():
                raise ValueError("boom")
            case "leave":
                self.subscribers -= 1
            case str():
                self._log.append(message)

    async def stopped(self, reason: StopReason) -> None:
        if self._stop is not None:
            await self._stop()
        self._log.append(f"{self._key}- {reason.value}")

    def passivable(self) -> bool:
        return self.subscribers == 0


class House:
    """A keyed supervisor of desks, and what they noted."""

    def __init__(self, **options: object) -> None:
        self.stage = Stage()
        self.log: list[str] = []
        self.desks: dict[str, Desk] = {}
        self.stop: Callable[[], Awaitable[None]] | None = None
        self.keyed: KeyedSupervisor[Message] = KeyedSupervisor(
            "desks",
            self._make,
            reporter=self.stage.report,
            **options,  # type: ignore[arg-type]  # the options of the tests are right
        )

    def _make(self, key: str) -> Desk:
        self.desks[key] = Desk(key, self.log, self.stop)
        return self.desks[key]
