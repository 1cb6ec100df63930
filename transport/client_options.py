"""The client's bounds and times, each named with its unit."""

from __future__ import annotations

import attrs

from trouper.store.checks import count, number

SUBPROTOCOL = "trouper.v1"
MAX_CLIENT_MESSAGE_BYTES = 64 * 1024
"""The most that one message of a client may hold (protocol 1)."""

BACKOFF_DOUBLINGS = 32
"""Beyond this many failures in a row the back-off is at its maximum in any case."""

COALESCE_MS = (0, 100, 500)
"""For how long a client may ask its output to be gathered, in milliseconds (protocol 1)."""


def checked_coalesce(ms: int | None) -> int | None:
    """``ms``. Raises ``ValueError`` if it is none of ``COALESCE_MS`` and not None."""
    if ms is not None and (type(ms) is not int or ms not in COALESCE_MS):
        legal = ", ".join(map(str, COALESCE_MS))
        raise ValueError(f"coalesce_ms={ms!r}: legal are None (as the server chooses), {legal}")
    return ms


@attrs.frozen(kw_only=True)
class ClientOptions:
    """Everything that the client bounds. The defaults suit one program that watches a few jobs."""

    connect_timeout_s: float = number(10.0)
    """From dialling to the server's ``welcome``, in seconds."""
    close_timeout_s: float = number(1.0)
    """The most that a clean close may take, in seconds; then the connection is cut."""
    backoff_base_s: float = number(0.5)
    backoff_max_s: float = number(30.0)
    """Before connecting again after k failures in a row: a uniform draw from
    [0, min(max, base × 2^k)] seconds (full jitter)."""
    stable_s: float = number(10.0)
    """What a connection must last from its welcome, in seconds, so that its end is the first failure of
    a row. One that ends sooner is one more: a server that welcomes and fails is given time."""
    max_message_bytes: int = count(16 * 1024 * 1024)
    """The largest message taken from the server (a snapshot holds every active job)."""
    max_outputs: int = count(256)
    """Outputs attached at a time; the server's limit is 256."""
    output_buffer_bytes: int = count(4 * 1024 * 1024)
    """What one output may hold for a consumer that lags (payload and 128 bytes an item). When it is
    full the output is detached; it is attached again when half of it was taken. So a slow consumer
    neither stops the other outputs nor grows."""
    max_bounds: int = count(512, least=4)
    """Places per output that a rewind can go back to. Beyond that the older ones are thinned out,
    and a rewind far back receives a little more again."""
    max_pending_commands: int = count(64)
    """Commands without an answer at a time; the next waits. The server's limit is 64."""
    feed_ended_jobs: int = count(200)
    """Ended jobs that ``Client.feed`` remembers, the latest changed ones; active jobs always."""
    feed_notifications: int = count(200)
    """Notifications that ``Client.feed`` remembers, the latest changed ones."""

    def backoff_ceiling_s(self, failures: int) -> float:
        """The most that is waited before connecting again after ``failures`` in a row, in seconds."""
        return min(self.backoff_max_s, self.backoff_base_s * 2.0 ** min(failures, BACKOFF_DOUBLINGS))
