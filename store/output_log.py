"""The output of one running attempt: what is not committed yet, and the tail of what is.

No ``await``. The job appends on one side; the store takes and settles on the other; readers look at
the committed tail in between. ``OutputLog`` is the ``OutputSource`` that the store pulls from.

::

    append → [ pending ] → take → [ in flight ] → settled → [ tail ] → readers
                                   ↑ AppendFailed puts it back in front of pending
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from trouper.store.protocol import Append, Appended, AppendFailed, Refused
from trouper.store.records import Entry, Job, entry_bytes

if TYPE_CHECKING:
    from hashlib import _Hash

ENTRY_BYTES_MAX = 16 * 1024
"""The payload of one entry, in UTF-8 bytes. A wire message always has room for one."""

_HASH_BYTES = 8 * 1024
"""How much committed output may wait for being hashed."""

_SURE_TO_FIT = ENTRY_BYTES_MAX // 4  # no code point takes more than four bytes


class OutputHash:
    """SHA-256 over a log from entry 0 (O6): text as UTF-8; an event as NUL, name, NUL, JSON, NUL."""

    def __init__(self) -> None:
        self._hash: _Hash = hashlib.sha256()
        self.payload_bytes = 0
        """Of the entries so far, as ``entry_bytes`` counts them."""

    def update(self, entry: Entry) -> None:
        if isinstance(entry, str):
            text = entry.encode()
            self.payload_bytes += len(text)
            self._hash.update(text)
        else:
            name, data = entry[0].encode(), entry[1].encode()
            self.payload_bytes += len(name) + len(data)
            self._hash.update(b"\0%b\0%b\0" % (name, data))

    def extend(self, entries: Sequence[Entry]) -> None:
        """As ``update`` with each of them; of texts alone in one step."""
        try:
            text = "".join(entries).encode()  # type: ignore[arg-type]  # an event is no text, and says so
        except TypeError:
            for entry in entries:
                self.update(entry)
            return
        self.payload_bytes += len(text)
        self._hash.update(text)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def copy(self) -> OutputHash:
        """One that goes on from here by itself."""
        other = OutputHash()
        other._hash = self._hash.copy()
        other.payload_bytes = self.payload_bytes
        return other


def split_text(text: str) -> list[tuple[str, int]]:
    """``text`` as entries of at most ``ENTRY_BYTES_MAX`` bytes of UTF-8, cut between code points, each with
    how many bytes it has.

    Raises ``ValueError`` for a lone surrogate, naming its place: it has no UTF-8.
    """
    if text.isascii() and (length := len(text)) <= ENTRY_BYTES_MAX:
        return [(text, length)] if text else []
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text has a lone surrogate (U+{ord(text[error.start]):04X}) at index {error.start}: "
            f"output must be valid Unicode"
        ) from None
    if len(encoded) <= ENTRY_BYTES_MAX:
        return [(text, len(encoded))] if text else []
    length = ENTRY_BYTES_MAX if len(text) == len(encoded) else _SURE_TO_FIT
    pieces = [text[i : i + length] for i in range(0, len(text), length)]
    return [(piece, len(piece.encode())) for piece in pieces]


@attrs.frozen
class OutputLogStatistics:
    """``pending_bytes`` is what the store has not committed; ``tail_bytes`` what readers find here;
    ``bytes_total`` all of the log, with what was kept of earlier attempts."""

    entries: int
    committed: int
    pending_bytes: int
    tail_bytes: int
    bytes_total: int


class OutputLog:
    """The log of one attempt, from its claim to its end.

    ``job`` is the claimed row: the log begins at ``job.entries`` (what the claim kept), with
    ``prefix`` the hash over that. ``on_dirty`` tells the store (see ``Store.dirty``), urgently when the log
    is half full; ``used_ms`` gives the running time to commit along. ``on_change`` is called after an append
    failed or was refused, and after one that went through if the last did not, or if that is ``awaited``.
    With more than ``pending_bytes_max`` pending the log is ``full``; ``tail_bytes_max`` bounds what is
    kept in memory of the committed part.
    """

    __slots__ = (
        "_half_full",
        "_hash",
        "_hashed",
        "_in_flight",
        "_in_flight_end",
        "_look_at",
        "_marks",
        "_on_change",
        "_on_dirty",
        "_pending",
        "_pending_bytes_max",
        "_request",
        "_tail",
        "_tail_bytes_max",
        "_tail_start",
        "_tail_start_bytes",
        "_tidy_at",
        "_used_ms",
        "attempt",
        "awaited",
        "bytes_total",
        "committed",
        "committed_bytes",
        "failure",
        "fence",
        "job_id",
        "refusal",
        "savepoint",
    )

    def __init__(
        self,
        job: Job,
        prefix: OutputHash,
        *,
        on_dirty: Callable[[OutputLog, bool], None],
        on_change: Callable[[], None],
        used_ms: Callable[[], int],
        pending_bytes_max: int = 256 * 1024,
        tail_bytes_max: int = 256 * 1024,
    ) -> None:
        self.job_id = job.id
        self.attempt = job.attempt
        self.fence = job.fence
        self.savepoint = job.savepoint
        self.refusal: Refused | None = None
        self.failure: str | None = None
        """The store's last error, None since an append went through."""
        self._hash = prefix
        self._on_dirty = on_dirty
        self._on_change = on_change
        self._used_ms = used_ms
        self._pending_bytes_max = pending_bytes_max
        self._half_full = pending_bytes_max // 2
        self._tail_bytes_max = tail_bytes_max
        # Two lists that change places: with a new one for each append, Python's garbage collector has
        # one more thing to look at for every streaming job in every commit.
        self._pending: list[Entry] = []
        self._in_flight: list[Entry] = []
        self._look_at = -1
        """Up to so many bytes in all an append is nothing special: the store asks, and there is room.
        Below 0: the store is to be told of the next."""
        self.awaited = False
        """Set by who waits for an append to go through: of the next that does, ``on_change`` tells."""
        self._request = Append(job.id, job.fence, 0, self._in_flight, 0)
        self.committed = job.entries
        # Payload, counted from entry 0: what was kept of earlier attempts is part of it.
        self.bytes_total = prefix.payload_bytes
        """Of all entries."""
        self.committed_bytes = self._in_flight_end = self.bytes_total
        """Of those that are committed."""
        self._tail: list[Entry] = []
        self._tail_start = self._hashed = job.entries
        """Of the tail, what comes from ``_hashed`` on is not in the hash yet."""
        self._tail_start_bytes = self.bytes_total
        self._marks: deque[tuple[int, int]] = deque()
        """(entries, payload) wherever the tail was hashed up to: there it may be cut."""
        self._tidy_at = self._next_tidy()

    @property
    def entries(self) -> int:
        """How many there are, those not committed included."""
        return self.committed + len(self._in_flight) + len(self._pending)

    @property
    def full(self) -> bool:
        """Whether more is pending than may be: who writes is to wait until it is not."""
        return self.bytes_total - self.committed_bytes > self._pending_bytes_max

    @property
    def pending_bytes(self) -> int:
        """The payload of what is not committed."""
        return self.bytes_total - self.committed_bytes

    # --- the job's side ---

    def append(self, entry: Entry, size: int) -> bool:
        """Add an entry of ``size`` bytes of payload. The caller has checked both (``split_text`` gives both).
        Whether the log is ``full`` with it."""
        self._pending.append(entry)
        self.bytes_total = total = self.bytes_total + size
        # One comparison for both that may be of interest: the first that is pending, and too much of it.
        return total > self._look_at and self._look()

    def _look(self) -> bool:
        # Urgent from half full on, so that a fast writer fills one half while the other is committed. While
        # something is under way it is not: that makes room.
        most, committed, untold = self._pending_bytes_max, self.committed_bytes, self._look_at < 0
        half_full = self.bytes_total - committed > self._half_full
        self._look_at = committed + (most if half_full else self._half_full)
        urgent = half_full and not self._in_flight
        if untold or urgent:
            self._on_dirty(self, urgent)  # a store may have committed it when this returns
        return self.bytes_total - self.committed_bytes > most

    def sha256(self) -> str:
        """Hash over all entries so far, those not committed included."""
        self._hash_committed()
        whole = self._hash.copy()
        whole.extend(self._in_flight)
        whole.extend(self._pending)
        return whole.hexdigest()

    # --- the store's side (OutputSource) ---

    def take(self) -> Append | None:
        pending, request = self._pending, self._request
        self._look_at = -1
        if not pending or self._in_flight or self.refusal is not None:
            return None
        self._pending, self._in_flight = self._in_flight, pending
        self._in_flight_end = self.bytes_total
        request.start = self.committed
        request.entries = pending
        request.used_ms = self._used_ms()
        return request

    def settled(self, result: Appended | Refused | AppendFailed) -> None:
        taken = self._in_flight
        if isinstance(result, Appended):
            self.committed += len(taken)
            self._tail += taken
            taken.clear()
            self.committed_bytes = size = self._in_flight_end
            if result.asks_again:
                self._look_at = size + self._half_full
            if size >= self._tidy_at:
                self._tidy()
            if not self.awaited:
                return
            self.awaited = False
            self.failure = None  # a failure awaits what comes after it
        elif isinstance(result, AppendFailed):
            self.failure = result.error
            self.awaited = True
            self._pending[:0] = taken
            taken.clear()
        else:
            self.refusal = result
        self._on_change()

    def _tidy(self) -> None:
        """Hash what was committed and bound the tail. Not at each commit: the hash costs as much for a word
        as for a page, and to cut a list is to move all of it."""
        self._hash_committed()
        self._marks.append((self.committed, self.committed_bytes))
        if self.committed_bytes - self._tail_start_bytes > 2 * self._tail_bytes_max:
            self._trim()
        self._tidy_at = self._next_tidy()

    def _next_tidy(self) -> int:
        full = self._tail_start_bytes + 2 * self._tail_bytes_max + 1
        return min(self.committed_bytes + _HASH_BYTES, full)

    def _hash_committed(self) -> None:
        if self._hashed < self.committed:
            self._hash.extend(self._tail[self._hashed - self._tail_start :])
            self._hashed = self.committed

    def _trim(self) -> None:
        """Let go of the oldest of the tail, down to about the bound."""
        start, enough = self._tail_start, self.committed_bytes - self._tail_bytes_max
        while self._marks and self._marks[0][1] <= enough:
            self._tail_start, self._tail_start_bytes = self._marks.popleft()
        if self.committed_bytes - self._tail_start_bytes > 2 * self._tail_bytes_max:  # much came at once
            while self._tail_start_bytes < enough:
                self._tail_start_bytes += entry_bytes(self._tail[self._tail_start - start])
                self._tail_start += 1
        del self._tail[: self._tail_start - start]

    # --- the readers' side ---

    def read(self, start: int, limit: int) -> list[Entry] | None:
        """Committed entries from ``start``, ``limit`` of them at most; None if they left memory."""
        if start < self._tail_start:
            return None
        offset = start - self._tail_start
        return self._tail[offset : offset + limit]

    def tail(self) -> tuple[int, list[Entry]]:
        """(start, entries) of all that memory holds of the committed part."""
        return self._tail_start, list(self._tail)

    def statistics(self) -> OutputLogStatistics:
        tail_bytes = self.committed_bytes - self._tail_start_bytes
        return OutputLogStatistics(
            self.entries, self.committed, self.pending_bytes, tail_bytes, self.bytes_total
        )
