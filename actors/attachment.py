"""One output that a session has attached: its cursor in it, and what it was told. No ``await``.

::

    loading → live → (ended | gone)
                ↓ ↑ attach
             rewound          the client has been told to drop what is beyond ``keep``
"""

from __future__ import annotations

import enum

import attrs

from trouper.actors.outputs import OutputHead


class Phase(enum.Enum):
    """Whether more of it may be sent. (Loading is the head's, and what has ended is attached no more.)"""

    LIVE = enum.auto()
    REWOUND = enum.auto()


@attrs.define
class Attachment:
    """The cursor (``attempt``, ``n``) of a session in the output of ``head``; the ``progress`` last told."""

    head: OutputHead
    attempt: int
    n: int
    phase: Phase = Phase.LIVE
    progress: object = None

    @property
    def needs_no_room(self) -> bool:
        """Whether a rewind, progress or that it is gone is due, which the window does not hold up."""
        head = self.head
        return (
            (self.attempt != head.attempt and head.loaded)
            or head.missing
            or self.progress is not head.progress
        )
