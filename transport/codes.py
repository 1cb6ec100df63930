"""The numbers and names of the wire: close codes, error codes, the subprotocol.

Close codes 40xx mean *come back*, 45xx *do not* (see docs/protocol.md, 1.3).
"""

from __future__ import annotations

import enum

SUBPROTOCOL = "trouper.v1"
PROTOCOL_VERSION = 1

MAX_INTEGER = 2**53 - 1
"""The largest integer on the wire: JavaScript holds no larger one exactly."""

COALESCE_MS = (0, 100, 500)
"""For how long a client may ask its output to be gathered, in milliseconds."""

CLOSE_REASON_BYTES = 123
"""A WebSocket close frame holds 125 bytes, two of them the code."""


class CloseCode(enum.IntEnum):
    """Why a connection was closed by the gateway."""

    NORMAL = 1000
    DRAIN = 4001
    INTERNAL = 4002
    SILENCE = 4008
    FLOOD = 4009
    NOT_AUTHENTICATED = 4501
    PROTOCOL = 4503
    TOO_LARGE = 4504


class ErrorCode(enum.StrEnum):
    """The ``code`` of an error reply or of an ``error`` item."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_JOB = "unknown_job"
    UNKNOWN = "unknown"
    CONFLICT = "conflict"
    THREAD_BUSY = "thread_busy"
    QUEUE_FULL = "queue_full"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    DRAINING = "draining"
    INTERNAL = "internal"

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {ErrorCode.QUEUE_FULL, ErrorCode.BUSY, ErrorCode.UNAVAILABLE, ErrorCode.DRAINING, ErrorCode.INTERNAL}
)


def close_reason(text: str) -> str:
    """``text`` cut, on a code point, to what a close frame can hold."""
    return text.encode("utf-8", "replace")[:CLOSE_REASON_BYTES].decode("utf-8", "ignore")
