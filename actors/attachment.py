"""One output that a session has attached: its cursor in it, and what it was told. No ``await``.

::

    loading → live → (ended | gone)
                ↓ ↑ attach
             rewound          the client has been told to drop what is beyond ``keep``

(An attach leads to loading, from which it goes on at the next look.)
"""

from __future__ import annotations

import enum

import attrs

from trouper.actors.outputs import OutputHead


class Phase(enum.Enum):
    """Whether more of it may be sent. (What has ended is attached no more.)"""

    LOADING = enum.auto()
    """It is not known yet whether there is such an output, and whether this session may read it."""
    LIVE = enum.auto()
    REWOUND = enum.auto()


@attrs.define
class Attachment:
    """The cursor (``attempt``, ``n``) of a session in the output of ``head``; the ``progress`` last told."""

    head: OutputHead
    attempt: int
    n: int
    phase: Phase = Phase.LOADING
    progress: object = None

    @property
    def needs_no_room(self) -> bool:
        """Whether a rewind, progress or that it is gone is due, which the window does not hold up; or may be,
        of one that is loading."""
        head = self.head
        if head.missing or (head.loaded and self.phase is Phase.LOADING):
            return True
        moved = self.attempt != head.attempt or self.n > head.entries or self.progress is not head.progress
        return moved and self.phase is Phase.LIVE

    @property
    def needs_room(self) -> bool:
        """Whether entries or the end are due."""
        return self.phase is Phase.LIVE and (self.n < self.head.entries or self.head.ended)
