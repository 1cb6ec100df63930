"""The client's copy of one output: its cursor, its bounds, its buffer (no ``await``).

The copy is at all times a prefix of the server's log of the attempt that the cursor names. Text is
not kept: it waits in the buffer until the consumer takes it, and what is remembered of it are the
*bounds*, the places where a frame ended, each with the state that a rewind to it restores.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence

import attrs
import orjson

from trouper.actors.output_pieces import End, Event, OutputPiece, Progress, Rewind, Text
from trouper.store.records import Entry
from trouper.transport.client_errors import ClientError, OutputCorrupt, OutputGone, ServerFault
from trouper.transport.client_views import (
    MAX_INTEGER,
    WireItem,
    integer,
    number,
    optional_number,
    optional_string,
)
from trouper.transport.hashing import LogHash

MAX_ID_CHARACTERS = 200
LONE_HALF = re.compile("[\ud800-\udfff]")
"""A surrogate, which no UTF-8 and so no message can hold."""
ITEM_OVERHEAD_BYTES = 128
"""What an item in the buffer costs besides its payload, so that tiny ones are bounded too."""


@attrs.frozen(eq=False)
class Bound:
    """Where a frame ended: the entries, characters and events up to there, and the hash of them."""

    entries: int
    characters: int
    events: int
    hash: LogHash | None
    """None where the copy does not reach back to entry 0."""


def thinned(bounds: Sequence[Bound], limit: int) -> list[Bound]:
    """At most ``limit`` (3 or more) of these bounds: the first, the last, and between them the
    sparser the further back.

    A rewind that lands between two has only a share of its own length sent again, so a long output
    can go back to anywhere at about the same relative cost.
    """
    newest = bounds[-1].entries
    share = limit / 4
    while True:
        kept = [bounds[-1]]
        for bound in reversed(bounds[1:-1]):
            if (kept[-1].entries - bound.entries) * share >= newest - bound.entries:
                kept.append(bound)
        kept.append(bounds[0])
        if len(kept) <= limit:
            return kept[::-1]
        share /= 2


def parse_parts(parts: object) -> list[tuple[Entry, OutputPiece]]:
    """The ``parts`` of an output frame, each as what is hashed and what the consumer gets.

    Raises ``ServerFault`` if they are not strings and pairs of strings.
    """
    if not isinstance(parts, list):
        raise ServerFault("output: the field 'parts' must be an array")
    parsed: list[tuple[Entry, OutputPiece]] = []
    for part in parts:
        match part:
            case str():
                parsed.append((part, Text(part)))
            case [str(name), str(text)]:
                try:
                    data = orjson.loads(text)
                except orjson.JSONDecodeError as error:
                    raise ServerFault(f"output: the data of event {name!r} is not JSON: {error}") from None
                parsed.append(((name, text), Event(name, data, text)))
            case _:
                raise ServerFault("output: a part must be a string or [name, JSON text]")
    return parsed


def parse_progress(item: WireItem) -> Progress:
    """Raises ``ServerFault`` naming the field that is not as it must be."""
    return Progress(
        integer(item, "attempt"),
        number(item, "done"),
        optional_number(item, "total"),
        optional_string(item, "note"),
    )


def _natural(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_INTEGER


def _check(job_id: object, attempt: object, n: object) -> None:
    """Raises ``ValueError`` for what the server would refuse without telling whose it is, or close the
    connection for."""
    if not isinstance(job_id, str) or not 1 <= len(job_id) <= MAX_ID_CHARACTERS or LONE_HALF.search(job_id):
        raise ValueError(f"a job's id is a string of 1 to {MAX_ID_CHARACTERS} characters, not {job_id!r:.80}")
    if not (_natural(attempt) and _natural(n)) or (attempt == 0 and n != 0):
        raise ValueError(
            f"a cursor is two integers, (attempt ≥ 1, n ≥ 0) or (0, 0), not ({attempt!r:.80}, {n!r:.80})"
        )


class OutputState:
    """One attached output.

    The methods that take an item of the server's return True if the output must be attached (again)
    at its cursor. ``awaiting`` is set while such an attach is unanswered: whatever does not fit the
    cursor then was sent before the server read it, and is passed over.
    """

    def __init__(self, job_id: str, attempt: int, n: int, max_bounds: int) -> None:
        _check(job_id, attempt, n)
        self.job_id = job_id
        self.attempt = attempt
        self.awaiting = True
        self.missed = False
        """Something that did not fit the cursor was passed over while ``awaiting``."""
        self.parked = False
        """Detached because the buffer is full."""
        self.ended = False
        """Nothing more will come: the end, a failure, or the consumer closed it."""
        self.failure: ClientError | None = None
        self.buffered_bytes = 0
        self._max_bounds = max_bounds
        self._start = Bound(n, 0, 0, LogHash() if n == 0 else None)
        self._bounds = [self._start]
        self._items: deque[tuple[OutputPiece, int]] = deque()
        self._progress: Progress | None = None
        self._fetched_again = False

    @property
    def entries(self) -> int:
        """The cursor's n: entries held."""
        return self._bounds[-1].entries

    @property
    def bounds(self) -> tuple[int, ...]:
        """The entries at which a rewind can stop, ascending."""
        return tuple(bound.entries for bound in self._bounds)

    # --- the consumer ---------------------------------------------------------------------------

    def take(self) -> OutputPiece | None:
        """The next item, or None. Progress goes first: only the latest is kept, and the rest may be
        long."""
        if self._progress is not None:
            progress, self._progress = self._progress, None
            return progress
        if not self._items:
            return None
        item, cost = self._items.popleft()
        self.buffered_bytes -= cost
        return item

    @property
    def drained(self) -> bool:
        return not self._items and self._progress is None

    def _put(self, item: OutputPiece, payload_bytes: int = 0) -> None:
        cost = payload_bytes + ITEM_OVERHEAD_BYTES
        self._items.append((item, cost))
        self.buffered_bytes += cost

    # --- what the server sends ------------------------------------------------------------------

    def frame(self, attempt: int, start: int, stop: int, parts: Sequence[tuple[Entry, OutputPiece]]) -> bool:
        """Entries ``start … stop`` of an attempt's log."""
        if attempt != self.attempt:
            return False  # an older attempt's: late. A newer one's is announced by a rewind.
        if start != self.entries:
            return stop > self.entries and self._does_not_fit()
        last = self._bounds[-1]
        digest = last.hash.copy() if last.hash is not None else None
        characters, events = last.characters, last.events
        for part, item in parts:
            if digest is not None:
                digest.update(part)
            if isinstance(part, str):
                characters += len(part)
                self._put(item, len(part.encode()))
            else:
                events += 1
                self._put(item, len(part[0].encode()) + len(part[1].encode()))
        self._bounds.append(Bound(stop, characters, events, digest))
        if len(self._bounds) > self._max_bounds:
            self._bounds = thinned(self._bounds, self._max_bounds * 3 // 4)
        self.awaiting = self.missed = False
        return False

    def progress(self, progress: Progress) -> None:
        if progress.attempt >= self.attempt:
            self._progress = progress

    def rewind(self, attempt: int, keep: int) -> bool:
        """A later attempt has kept ``keep`` entries: go back to the last bound within them.

        An earlier attempt as the answer to an attach says that the log never came to ours (a database
        restored from a backup): what is held is of a past that is no more, so nothing of it stays.
        """
        if attempt < self.attempt:
            if not self.awaiting:
                return False
            keep = 0
        elif self.awaiting and attempt == self.attempt and keep >= self.entries:
            return False  # sent before the attach that is under way was read, which asks for that already
        told = self.attempt > 0  # before the first attempt there is nothing to take back
        held = self.entries
        while self._bounds and self._bounds[-1].entries > keep:
            self._bounds.pop()
        if not self._bounds:
            self._bounds = [Bound(0, 0, 0, LogHash())]
        if told and (attempt != self.attempt or self.entries != held):
            self._tell_rewind(attempt)
        self.attempt = attempt
        return self.attaching()

    def end(self, attempt: int, entries: int, sha256: str, state: str | None) -> bool:
        """The log is complete at ``entries``. Verified where the copy reaches back to entry 0."""
        if attempt < self.attempt:
            return False
        if attempt != self.attempt or entries != self.entries:
            return self._does_not_fit()
        digest = self._bounds[-1].hash
        found = digest.hexdigest() if digest is not None else None
        if found is not None and found != sha256:
            if not self._fetched_again:
                self._fetched_again = True
                return self._start_over(attempt)
            self.fail(OutputCorrupt(self.job_id, sha256, found))
            return False
        self._put(End(entries, sha256, found is not None, state))
        self.ended = True
        return False

    def gone(self, reason: str) -> None:
        self.fail(OutputGone(self.job_id, reason))

    # --- what happens around it -----------------------------------------------------------------

    def fail(self, error: ClientError) -> None:
        """End with an error, which the consumer meets after what is buffered."""
        self.failure = error
        self.ended = True

    def attaching(self) -> bool:
        """An attach at the cursor is about to be sent."""
        self.awaiting, self.missed = True, False
        return True

    def void(self) -> bool:
        """Another epoch: what is held is of a log that is no more."""
        self._fetched_again = False
        return self._start_over(0)

    def _start_over(self, attempt: int) -> bool:
        if self.attempt > 0:
            self._bounds = [Bound(0, 0, 0, LogHash())]
            self._tell_rewind(attempt)
        self.attempt = 0
        return self.attaching()

    def _tell_rewind(self, attempt: int) -> None:
        bound = self._bounds[-1]
        self._progress = None
        self._put(Rewind(attempt, bound.entries, bound.characters, bound.events))

    def _does_not_fit(self) -> bool:
        if self.awaiting:
            self.missed = True
            return False
        return self.attaching()
