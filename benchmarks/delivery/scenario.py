"""What a server and the load generator are told, and what a token looks like."""

from __future__ import annotations

import json
import sys

import attrs

TOKEN_BYTES = 16
MARK = "#"
"""A token is this, the time when it was due in microseconds of the monotonic clock as 14 digits, a space."""

FILLER = "Z" * 4096
"""A piece of what was written before anybody came, or of a burst. No header holds this letter."""


def token(due: float) -> str:
    """A token that says when it was due, in seconds of the monotonic clock: it may be made later."""
    return f"{MARK}{round(1e6 * due):014d} "


@attrs.frozen(kw_only=True)
class Scenario:
    """Every server does the same: keep a log for each stream, send each session what is in the log and
    what comes. What comes after silence goes at once, what follows once per window: windows of ``window_s``
    follow on each other, the same for all sessions."""

    streams: int = 1
    sessions: int = 2
    """Sessions of each stream, one user's."""
    source: str = "each"
    """``each``: the tokens of a stream are made by a task or timer of its own; ``one``: all by one."""
    per_s: float = 50.0
    """Tokens of a stream in a second. A source that is late makes each of them nevertheless, as what
    comes over a network does: it lies there until it is read."""
    window_s: float = 0.05
    longest_window_s: float = 0.05
    """Ours alone: what its windows are stretched to when flushing takes more than a quarter of them."""
    prefill_bytes: int = 0
    """In each stream's log before anybody comes."""
    prefill_ended: bool = False
    """The job has ended by then."""
    burst_bytes: int = 0
    """Instead of tokens: written at once to the first stream, when the sources are told to go."""
    attach: bool = True
    """Whether a session asks for its stream; if not, it is idle."""
    store: str = "memory:"

    def as_json(self) -> str:
        return json.dumps(attrs.asdict(self))

    @staticmethod
    def from_arguments() -> Scenario:
        """The scenario that a server or the load generator was started with."""
        return Scenario(**json.loads(sys.argv[1]))


def ready(port: int, jobs: list[str] | None = None) -> None:
    """A server's line: it listens. ``jobs``: what stands for the streams, if it is not their number."""
    print(json.dumps({"port": port, "jobs": jobs}), flush=True)
