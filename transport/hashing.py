"""The hash over a job's log (``docs/protocol.md`` 4.3): one definition for whoever verifies one."""

from __future__ import annotations

import hashlib

from trouper.store.records import Entry

NUL = b"\x00"


class LogHash:
    """SHA-256 over a log from entry 0, fed piece by piece.

    A text counts as its UTF-8, so neighbouring texts may be joined or not; an event counts as NUL,
    name, NUL, its JSON text, NUL.
    """

    __slots__ = ("_hash",)

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, part: Entry) -> None:
        """Take one more entry, or several neighbouring texts joined into one string."""
        if isinstance(part, str):
            self._hash.update(part.encode())
        else:
            self._hash.update(NUL + part[0].encode() + NUL + part[1].encode() + NUL)

    def copy(self) -> LogHash:
        """The state as it is now, on its own from here on: what a rewind goes back to."""
        other = LogHash.__new__(LogHash)
        other._hash = self._hash.copy()
        return other

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
