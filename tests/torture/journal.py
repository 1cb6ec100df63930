"""What the clients were told, and the copies of outputs that they hold."""

from __future__ import annotations

import attrs
import trio

import trouper
from trouper.actors.output_pieces import End, Event, OutputPiece, Progress, Rewind, Text

OPTIONS = trouper.ClientOptions(backoff_base_s=0.02, backoff_max_s=0.1)
"""Of every client."""


@attrs.define(eq=False)
class Copy:
    """What one client holds of one output, from its beginning: a line for each entry."""

    job: str
    lines: list[str] = attrs.field(factory=list)
    end: End | None = None

    def add(self, item: OutputPiece) -> None:
        match item:
            case Text(text):
                self.lines += text.splitlines(keepends=True)
            case Rewind(keep=keep):
                del self.lines[keep:]
            case End():
                self.end = item
            case Event() | Progress():
                raise AssertionError(f"no job makes a {item!r}")

    @property
    def attempt(self) -> int:
        """Of the last line: the copy is of that attempt, or of a later one that has written nothing yet."""
        return int(self.lines[-1].partition(":")[0]) if self.lines else 0


@attrs.frozen
class Submitted:
    """A submit that was acknowledged."""

    user: str
    name: str
    job: str


@attrs.define
class Journal:
    """Everything that was acknowledged to a client, by all of them together."""

    submitted: dict[str, Submitted] = attrs.field(factory=dict)
    """By idempotency key."""
    cancelled: set[str] = attrs.field(factory=set)
    """Jobs whose cancel was accepted."""
    revoked: set[str] = attrs.field(factory=set)
    """Keys whose cancel was accepted before their job had come."""
    steered: dict[str, int] = attrs.field(factory=dict)
    """Jobs → how many messages to them were accepted."""
    answered: dict[str, list[str]] = attrs.field(factory=dict)
    """Jobs → the answers to their questions that were accepted, in order."""
    read: set[str] = attrs.field(factory=set)
    """Notifications that were marked read."""
    ends: dict[str, tuple[object, ...]] = attrs.field(factory=dict)
    """Jobs → how the file said that they ended, when it said so first."""
    copies: list[Copy] = attrs.field(factory=list)
    """Every copy that was ever held, as its client held it last."""
    pieces: int = 0
    """Of output, over all clients."""
    reconnects: int = 0
    _more: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    stop: bool = False
    """No new work is to be begun."""

    def came(self) -> None:
        """A piece of output came to a client."""
        self.pieces += 1
        self._more.unpark_all()

    async def wait_for(self, pieces: int | None) -> None:
        """Wait until so many came; None: for ever."""
        while pieces is None or self.pieces < pieces:
            await self._more.park()

    def acknowledged(self, key: str, user: str, name: str, job: str) -> None:
        """A submit was answered: each time with the same job."""
        told = Submitted(user, name, job)
        assert self.submitted.setdefault(key, told) == told, f"{key} is another job after a restart"

    def open_copy(self, job: str) -> Copy:
        copy = Copy(job)
        self.copies.append(copy)
        return copy
