"""The plainest gateway that could be right: one job's log, one connection, and a bad network.

It is the model that the client's copy is judged by, so it does nothing cleverly: every attempt's log
is kept whole, and what is under way is a list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.transport import client_wire as wire
from trouper.actors.output_pieces import End, Event, OutputPiece, Rewind, Text
from trouper.store.records import Entry, entry_bytes, keep_after
from trouper.transport.client_core import ClientCore
from trouper.transport.client_events import Broken
from trouper.transport.client_output import OutputState

Token = str | tuple[str, str]
"""One character, or one event."""


def tokens(entries: list[Entry]) -> list[Token]:
    flat: list[Token] = []
    for entry in entries:
        flat += list(entry) if isinstance(entry, str) else [entry]
    return flat


class Reader:
    """What an application has made of the items that it was given."""

    def __init__(self) -> None:
        self.copy: list[Token] = []
        self.end: End | None = None

    def add(self, item: OutputPiece) -> None:
        match item:
            case Text(text):
                self.copy += list(text)
            case Event(name, _, json):
                self.copy.append((name, json))
            case Rewind():
                characters, events = item.text_kept, item.events_kept
                kept: list[Token] = []
                for token in self.copy:
                    if isinstance(token, str) and characters:
                        characters -= 1
                        kept.append(token)
                    elif not isinstance(token, str) and events:
                        events -= 1
                        kept.append(token)
                    else:
                        break
                assert (characters, events) == (0, 0), "told to keep more than it was given"
                self.copy = kept
            case End():
                self.end = item


class Gateway:
    """The log of job ``j1`` and one connection to it."""

    def __init__(self) -> None:
        self.epoch = 1
        self.logs: list[list[Entry]] = [[]]
        """The log of each attempt, from 0 (queued); the last is the present one's."""
        self.keeps: list[int] = []
        self.ended = False
        self.position: int | None = None
        """Where the session's cursor is; None: not attached, or told to rewind."""
        self.attached = False
        self.told: int | None = None
        """What the last rewind said to keep, until it is obeyed."""
        self.sent = 0
        self.acked = 0
        self.under_way: list[wire.Item] = []

    @property
    def attempt(self) -> int:
        return len(self.logs) - 1

    @property
    def log(self) -> list[Entry]:
        return self.logs[-1]

    @property
    def name(self) -> str:
        return f"e{self.epoch}"

    def claim(self, keep: int) -> None:
        self.logs.append(self.log[:keep])
        self.keeps.append(keep)
        if self.attached and self.position is not None:
            self._rewind(self.attempt - 1, self.position)

    def _rewind(self, attempt: int, n: int) -> None:
        self.position = None
        later = attempt < self.attempt  # else it is a cursor that this log never had
        self.told = keep_after(tuple(self.keeps), attempt, n) if later else 0
        self.under_way.append(wire.rewind(self.attempt, self.told))

    def send(self, most: int) -> None:
        """One frame of up to ``most`` entries, or the end."""
        if not self.attached or self.position is None:
            return
        batch = self.log[self.position : self.position + most]
        if batch:
            start, self.position = self.position, self.position + len(batch)
            self.sent += sum(entry_bytes(entry) for entry in batch)
            parts: list[Any] = []
            for entry in batch:
                if isinstance(entry, str) and parts and isinstance(parts[-1], str):
                    parts[-1] += entry
                else:
                    parts.append(entry if isinstance(entry, str) else list(entry))
            self.under_way.append(wire.output(self.attempt, start, self.position, parts, self.sent))
        elif self.ended:
            self.sent += 64
            self.attached, self.position = False, None
            self.under_way.append(wire.end(self.attempt, len(self.log), wire.sha256(*self.log), self.sent))

    def take(self, items: list[wire.Item]) -> None:
        for item in items:
            match item["t"]:
                case "hello":
                    self.under_way += [wire.welcome(self.name), wire.snapshot(0, epoch=self.name)]
                case "attach":
                    self.attached = True
                    attempt, n = item["attempt"], item["n"]
                    if attempt == self.attempt and self.told is not None:
                        assert n <= self.told, "the rewind was not obeyed"
                    if attempt == self.attempt and n <= len(self.log):
                        self.position, self.told = n, None
                    else:
                        self._rewind(attempt, n)
                case "detach":
                    self.attached, self.position = False, None
                case "ack":
                    assert self.acked <= item["sent"] <= self.sent
                    self.acked = item["sent"]

    def hang_up(self) -> None:
        self.under_way.clear()
        self.told = None
        self.attached, self.position = False, None
        self.sent = self.acked = 0

    def begin_again(self) -> None:
        """Another database: the same job id has another log."""
        self.hang_up()
        self.epoch += 1
        self.logs, self.keeps, self.ended = [[]], [], False

    def restore(self, attempt: int, written: int) -> None:
        """The same database from a backup: an earlier attempt, or of its log only what was kept from
        the one before and up to ``written`` entries of its own."""
        self.hang_up()
        self.keeps = self.keeps[:attempt]
        kept = self.keeps[-1] if self.keeps else 0
        self.logs = [*self.logs[:attempt], self.logs[attempt][: kept + written]]


def deliver(
    core: ClientCore, gateway: Gateway, count: int, after_each: Callable[[], None] = lambda: None
) -> None:
    """The next ``count`` items reach the client, each as a message of its own."""
    for _ in range(min(count, len(gateway.under_way))):
        events = core.received([gateway.under_way.pop(0)])
        assert not any(isinstance(event, Broken) for event in events)
        after_each()


def read_all(core: ClientCore, output: OutputState, reader: Reader) -> None:
    while (item := core.read(output)) is not None:
        reader.add(item)
