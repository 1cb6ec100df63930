"""What an output iterator yields, and ``Transcript``, which puts it together.

The same for ``runtime.read`` in the server's process and for a client's ``output`` far away.
"""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen
class Text:
    """A piece of text: one entry, or many neighbouring ones joined."""

    text: str


@attrs.frozen
class Event:
    """A named event of the job."""

    name: str
    data: Any
    json: str = attrs.field(default="", eq=False, repr=False)
    """The data as the server holds it; the hash of the output is over this text."""


@attrs.frozen
class Rewind:
    """The job is at a later attempt: part of what was yielded is no longer so.

    Of all that this iterator has yielded, the first ``text_kept`` characters and the first
    ``events_kept`` events remain; what follows comes after them.
    """

    attempt: int
    """The attempt whose output follows; 0 if that is not known yet."""
    keep: int
    """Entries that remain. Below the ``n`` that the iterator was opened at: what the caller held
    before it is gone as well, and the output follows from the beginning."""
    text_kept: int
    """Characters (Python's: code points)."""
    events_kept: int


@attrs.frozen
class Progress:
    """The latest progress that the job told; earlier ones may never be seen."""

    attempt: int
    done: float
    total: float | None
    note: str | None


@attrs.frozen
class End:
    """The last item of an output: the job ended and all of its output was yielded."""

    entries: int
    sha256: str | None
    """Over the whole log."""
    verified: bool
    """The hash was checked (the iterator began at entry 0, or came to by a rewind)."""
    state: str | None = None
    """How the job ended, where the feed has told it."""


OutputPiece = Text | Event | Rewind | Progress | End


class Transcript:
    """The output as a whole: feed it every item of an iterator, in order.

    It holds everything; an application with output of any length keeps its own.
    """

    def __init__(self) -> None:
        self._text: list[str] = []
        self.events: list[tuple[str, Any]] = []
        self.end: End | None = None

    @property
    def text(self) -> str:
        """All the text so far."""
        if len(self._text) > 1:
            self._text = ["".join(self._text)]
        return self._text[0] if self._text else ""

    def add(self, item: OutputPiece) -> None:
        """Take over the next item; a ``Rewind`` takes back what it says. Progress is left out."""
        match item:
            case Text(text):
                self._text.append(text)
            case Event(name, data):
                self.events.append((name, data))
            case Rewind():
                self._text = [self.text[: item.text_kept]]
                del self.events[item.events_kept :]
            case End():
                self.end = item
            case Progress():
                pass
