"""The output of one running attempt: what is not committed yet, and the tail of what is.

No ``await``. The job appends on one side; the store takes and settles on the other; readers look at
the committed tail in between. ``OutputLog`` is the ``OutputSource`` that the store pulls from.

::

    append → [ pending ] → take → [ in flight ] → settled → [ tail ] → readers
                                   ↑ AppendFailed puts it back in front of pending
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from trouper.store.protocol import Append, Appended, AppendFailed, Refused, named_tuple
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


def split_text(text: str) -> list[str]:
    """``text`` as entries of at most ``ENTRY_BYTES_MAX`` bytes of UTF-8, cut between code points.

    Raises ``ValueError`` for a lone surrogate, naming its place: it has no UTF-8.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text has a lone surrogate (U+{ord(text[error.start]):04X}) at index {error.start}: "
            f"output must be valid Unicode"
        ) from None
    if len(encoded) <= ENTRY_BYTES_MAX:
        return [text] if text else []
    if len(text) == len(encoded):
        return [text[i : i + ENTRY_BYTES_MAX] for i in range(0, len(text), ENTRY_BYTES_MAX)]
    return [text[i : i + _SURE_TO_FIT] for i in range(0, len(text), _SURE_TO_FIT)]


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
    ``prefix`` the hash over that. ``on_dirty`` tells the store; ``used_ms`` gives the running time to
    commit along. ``on_change`` is called after each settled append (there may be room again, or a
    refusal to look at). ``tail_bytes_max`` bounds what is kept in memory of the committed part.
    """

    def __init__(
        self,
        job: Job,
        prefix: OutputHash,
        *,
        on_dirty: Callable[[OutputLog], None],
        on_change: Callable[[], None],
        used_ms: Callable[[], int],
        tail_bytes_max: int = 256 * 1024,
    ) -> None:
        self.job_id = job.id
        self.attempt = job.attempt
        self.fence = job.fence
        self.savepoint = job.savepoint
        self.entries = job.entries
        self.committed = job.entries
        self.refusal: Refused | None = None
        self.failure: str | None = None
        """The store's last error, None since an append went through."""
        self._hash = prefix
        self._on_dirty = on_dirty
        self._on_change = on_change
        self._used_ms = used_ms
        self._tail_bytes_max = tail_bytes_max
        self._pending: list[Entry] = []
        self._in_flight: tuple[Entry, ...] = ()
        self._in_flight_bytes = 0
        self.pending_bytes = 0
        self.bytes_total = prefix.payload_bytes
        """The payload of all entries, those that were kept of earlier attempts included."""
        self._tail: list[Entry] = []
        self._tail_start = job.entries
        self._tail_bytes = 0
        self._unhashed_bytes = 0
        self._hashed = job.entries
        """Entries that the hash is over; those of the tail beyond follow several at a time."""

    # --- the job's side ---

    def append(self, entry: Entry) -> None:
        """Add an entry, which the caller has checked (``split_text``; an event's size)."""
        size = len(entry) if isinstance(entry, str) and entry.isascii() else entry_bytes(entry)
        first = not self._pending
        self._pending.append(entry)
        self.entries += 1
        self.pending_bytes += size
        self.bytes_total += size
        if first:  # else the store was told, and has not asked since
            self._on_dirty(self)

    def sha256(self) -> str:
        """Hash over all entries so far, those not committed included."""
        self._hash_committed()
        whole = self._hash.copy()
        whole.extend(self._in_flight)
        whole.extend(self._pending)
        return whole.hexdigest()

    # --- the store's side (OutputSource) ---

    def take(self) -> Append | None:
        if self.refusal is not None or self._in_flight or not self._pending:
            return None
        taken = self._in_flight = tuple(self._pending)
        self._in_flight_bytes = self.pending_bytes
        self._pending.clear()
        return named_tuple(Append, (self.job_id, self.fence, self.committed, taken, self._used_ms()))

    def settled(self, result: Appended | Refused | AppendFailed) -> None:
        taken, self._in_flight = self._in_flight, ()
        if isinstance(result, Appended):
            size = self._in_flight_bytes
            self.failure = None
            self.committed += len(taken)
            self.pending_bytes -= size
            self._tail += taken
            self._tail_bytes += size
            self._unhashed_bytes += size
            # The hash costs as much for a word as for a page: it is taken of several commits at once.
            if self._unhashed_bytes >= _HASH_BYTES:
                self._hash_committed()
            # Trim at twice the bound, down to the bound: one list move for many commits.
            if self._tail_bytes > 2 * self._tail_bytes_max:
                self._trim()
        elif isinstance(result, AppendFailed):
            self.failure = result.error
            self._pending[:0] = taken
        else:
            self.refusal = result
        self._on_change()

    def _hash_committed(self) -> None:
        if self._hashed < self.committed:
            self._hash.extend(self._tail[self._hashed - self._tail_start :])
            self._hashed, self._unhashed_bytes = self.committed, 0

    def _trim(self) -> None:
        self._hash_committed()
        drop = 0
        while self._tail_bytes > self._tail_bytes_max:
            self._tail_bytes -= entry_bytes(self._tail[drop])
            drop += 1
        del self._tail[:drop]
        self._tail_start += drop

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
        return OutputLogStatistics(
            self.entries, self.committed, self.pending_bytes, self._tail_bytes, self.bytes_total
        )
