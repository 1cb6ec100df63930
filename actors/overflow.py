"""What happens at the bound of a mailbox."""

from __future__ import annotations

import enum


class Overflow(enum.Enum):
    """What happens to a message that finds no room."""

    BLOCK = "block"
    """``send`` and ``ask`` wait for room; ``tell`` is told ``DROPPED``."""
    REJECT = "reject"
    """``send`` and ``ask`` raise ``MailboxFull``; ``tell`` is told ``DROPPED``: it is the newest message
    that goes."""
    DROP_OLDEST = "drop_oldest"
    """The oldest waiting message makes room. The actor is told by a ``Lagged`` in its place."""
    CONFLATE = "conflate"
    """A newer message takes the place of the waiting one with its key, room or not; else as ``BLOCK``."""
