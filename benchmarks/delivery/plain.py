"""What the two plain peers of Python have in common: logs, messages, and when what is sent.

One window for all sessions, as ours and node's have it, since windows that begin with a session's first
piece would each need a timer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import attrs
import orjson

from benchmarks.delivery.scenario import FILLER, Scenario, token

SCENARIO = Scenario.from_arguments()
PER_BLOCK = 64 * 1024 // len(FILLER)
"""Pieces of a log in one message."""


@attrs.define
class Stream:
    """A log, and who is told of what comes."""

    number: int
    log: list[str]
    watchers: list[Callable[[str], None]] = attrs.field(factory=list)

    def write(self, piece: str) -> None:
        self.log.append(piece)
        for tell in self.watchers:
            tell(piece)


@attrs.define
class Place:
    """How far a session has been sent a stream."""

    stream: Stream
    sent: int = 0

    def message(self, pieces: list[str]) -> str:
        """The next pieces as a message."""
        first, self.sent = self.sent, self.sent + len(pieces)
        text = "".join(pieces)
        content = {"stream": self.stream.number, "from": first, "to": self.sent, "text": text}
        return orjson.dumps(content).decode()

    def log(self) -> Iterator[str]:
        """What lies in the log now, as messages."""
        pieces = list(self.stream.log)
        return (self.message(pieces[n : n + PER_BLOCK]) for n in range(0, len(pieces), PER_BLOCK))


def make_streams() -> list[Stream]:
    """With what was written before anybody came."""
    prefill = [FILLER for _ in range(0, SCENARIO.prefill_bytes, len(FILLER))]
    return [Stream(number, list(prefill)) for number in range(SCENARIO.streams)]


def groups(streams: list[Stream]) -> list[list[Stream]]:
    """The streams of each source."""
    return [[stream] for stream in streams] if SCENARIO.source == "each" else [streams]


def make(streams: list[Stream]) -> Iterator[float]:
    """A source: makes what is due, and gives the seconds until it is to go on."""
    if SCENARIO.burst_bytes:
        for _ in range(0, SCENARIO.burst_bytes if streams[0].number == 0 else 0, len(FILLER)):
            streams[0].write(FILLER)
            yield 0.0
        return
    due = time.monotonic()
    while True:
        for stream in streams:
            stream.write(token(due))
        due += 1 / SCENARIO.per_s
        yield max(0.0, due - time.monotonic())


def to_window_end() -> float:
    """Seconds until the present window ends."""
    return SCENARIO.window_s - time.monotonic() % SCENARIO.window_s
