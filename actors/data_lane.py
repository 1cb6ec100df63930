"""The data lane of a mailbox, and the quick way through it.

A plain message, one that nobody waits for and that has no key, lies in the lane as it is: an envelope for
each would cost as much as putting it in and taking it out. All plain messages are handed out in one envelope
that they share, one after the other; whoever keeps an envelope gets it for good (``Mailbox.stash``).
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Protocol

from trouper.actors.envelope import DeadReason, Envelope, OwnEnvelope
from trouper.actors.errors import MailboxFull
from trouper.actors.stash import Stash
from trouper.actors.tally import Tally

CHECKPOINT_EVERY: Final = 64
"""Messages handed out without letting another task run. A checkpoint at each costs ten times a message;
none at all would let one busy actor starve the loop."""


NO_MESSAGES: Final[deque[Any]] = deque(maxlen=0)
"""What a mailbox has that never had a message. Nothing is ever put in."""


class Handler(Protocol):
    """What handles messages: the context of an incarnation."""

    _current: Envelope[Any] | None
    _receive: Any  # of the message; typed as in the context it is invariant, and no type fits all


class DataLane(Tally):
    """The part of a mailbox that holds its messages."""

    __slots__ = ("_data", "_lagged", "_own", "_plain", "_room", "_stash", "_wrapped")

    def __init__(self) -> None:
        super().__init__()
        # Plain messages as they are, the others in their envelopes. A deque takes 760 bytes also if it is
        # empty, and of very many actors most may never have had a message.
        self._data: deque[Any] = NO_MESSAGES
        self._wrapped = 0  # how many are in envelopes, and how many senders wait: what ``take`` looks at
        self._own = 0  # how many of them are the actor's own, which take no place
        self._room = 0  # for ``tell``: below this length it just goes in
        self._lagged = 0  # how many the actor has to be told were dropped
        self._plain: Envelope[Any] = Envelope(None)
        self._stash: Stash[Any] | None = None  # made when first needed

    async def handle_plain(self, handler: Handler, at_most: int) -> int:
        """Have plain messages handled, one at a time, as long as nothing else is to be looked at.

        Returns: how many. Raises: what the handler raises; the message is then still its current one.
        """
        data, plain, count = self._data, self._plain, 0
        handler._current = plain
        while count < at_most and data and not (self._special or self._wrapped):
            plain.message = data.popleft()
            self._taken += 1
            count += 1
            await handler._receive(plain.message)
            if handler._current is None:  # it was put aside, in its envelope
                return count
            self._handled += 1
        handler._current = plain.message = None
        return count

    def stash(self, envelope: Envelope[Any]) -> None:
        """Put the message that was taken aside. Raises: ``LimitReached``; it is then still under way."""
        self.stashed.add(envelope, self._dead_letter)
        self._taken -= 1
        if envelope is self._plain:
            self._plain = Envelope(None)

    def unstash(self) -> int:
        """Hand out what was put aside before what waits. Returns: how many messages."""
        self._special = True
        return self.stashed.resume()

    @property
    def stashed(self) -> Stash[Any]:
        """What was put aside."""
        if self._stash is None:
            self._stash = Stash()
        return self._stash

    @property
    def has_stashed(self) -> bool:
        """Whether something is put aside."""
        return self._stash is not None and bool(self._stash.aside)

    def _append(self, item: object) -> None:
        if self._data is NO_MESSAGES:
            self._data = deque()
            self._set_room()
        self._data.append(item)

    def _set_room(self) -> None:
        raise NotImplementedError

    def _drop_oldest(self) -> None:
        item = next(each for each in self._data if not isinstance(each, OwnEnvelope))
        self._delete(item)
        oldest: Envelope[Any] = item if isinstance(item, Envelope) else Envelope(item)
        self._wrapped -= oldest is item
        self._lagged += 1
        self._special = True
        if oldest.slot is not None and oldest.slot.fail(MailboxFull("newer messages took its place")):
            self._returned += 1
        else:
            self._dead_letter(oldest, DeadReason.DROPPED_OLDEST)

    def _delete(self, item: object) -> None:
        # By identity: what == says of messages is their own affair.
        del self._data[next(index for index, each in enumerate(self._data) if each is item)]
