"""A session without any I/O, and a fake channel behind it: messages in, messages and actions out."""

from __future__ import annotations

import json
from typing import Any

from tests.transport.fakes import FakeChannel
from trouper.transport.messages import Welcome
from trouper.transport.options import GatewayOptions
from trouper.transport.session import Session
from trouper.transport.session_ports import Action

WELCOME = Welcome(
    session="s1", user="ada", epoch="e1", now=1000.0, beat_ms=25000, silence_ms=35000, window=262144
)
HELLO = {"t": "hello", "visible": True}


class Talk:
    """A session with a fake channel, and how often it said that something is due."""

    def __init__(self, **bounds: Any) -> None:
        self.due = 0
        self.channel = FakeChannel()
        self.faults: list[tuple[str, Exception]] = []
        self.now = 0.0
        self.session = Session(
            GatewayOptions(**bounds),
            self._due,
            lambda what, error: self.faults.append((what, error)),
            lambda: self.now,
            lambda: 1000.0 + self.now,
        )

    def _due(self) -> None:
        self.due += 1

    def say(self, *items: Any) -> list[Action]:
        return self.session.receive(json.dumps(items))

    def open(self, *behind: Any) -> list[Action]:
        self.say(HELLO, *behind)
        return self.session.opened(self.channel, WELCOME)

    def hear(self) -> list[Any]:
        message = self.session.take_message()
        return [] if message is None else json.loads(message)

    def tags(self) -> list[str]:
        return [item["t"] for item in self.hear()]


def opened(**bounds: Any) -> Talk:
    talk = Talk(**bounds)
    talk.open()
    talk.hear()
    return talk
