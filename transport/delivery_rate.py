"""How fast a peer takes output, judged by its acks: the size of the next message. No ``await``.

A message that takes longer than the peer's patience is never received whole: a client on a slow line
would drop the connection as silent, come back, and be sent the same message again, for ever. So a message
holds at most what the peer takes in a second. Before the first ack that is the least: an acknowledged
byte is the only one of which it is known how long it took.
"""

from __future__ import annotations

from collections.abc import Callable

HORIZON_S = 1.0
"""A message is at most what the peer takes in this many seconds."""


class DeliveryRate:
    """``least`` and ``most``: bounds of a message, in bytes of payload before escaping."""

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most
        self._sent = 0
        self._acked = 0
        self._since = 0.0
        self.message_bytes = least

    def sent(self, total: int, now: Callable[[], float]) -> None:
        """``total`` bytes have been sent on this connection so far. ``now()``: seconds, monotonic."""
        if self._sent == self._acked:
            self._since = now()  # the clock of the next ack starts with the first byte that it may tell of
        self._sent = total

    def acked(self, total: int, now: float) -> None:
        """``total`` of them are acknowledged. Each ack tells of the bytes since the one before it; one
        that tells of nothing new is passed over."""
        taken = total - self._acked
        if taken <= 0:
            return
        took = now - self._since
        self._acked, self._since = total, now
        rate = self._most if took <= 0 else taken * HORIZON_S / took
        self.message_bytes = int(min(self._most, max(self._least, rate)))
