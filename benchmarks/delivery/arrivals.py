"""What came, kept as it came and read when the measure is over: the load generator has no time before.

A source makes every token, however late, and a token says when it was *due*. So what holds up a source
counts as much as what holds up the sending, and a server that is behind shows it in the ages of tokens. Of
the tokens that were due in the measured seconds a whole number is to come to each session, and those that
did not come within ``GRACE_S`` more are counted too, with the age that they had by then.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator

import attrs

from benchmarks.delivery.scenario import MARK, TOKEN_BYTES

GRACE_S = 0.5
_TOKEN = re.compile(MARK.encode() + rb"(\d{14})")


@attrs.frozen
class Judged:
    """``due``, ``came``: tokens that were due in the measured seconds, and those of them that came.
    ``delivered`` tokens came during these seconds, in so many ``messages``. Ages in seconds."""

    due: int
    came: int
    delivered: int
    messages: int
    p50: float
    p99: float


class Arrivals:
    """``message``: what each message holds once."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._chunks: list[tuple[int, int, bytes]] = []

    def add(self, session: int, now_us: int, data: bytes) -> None:
        """``session`` received ``data``, at this time of the monotonic clock."""
        self._chunks.append((session, now_us, data))

    def judge(
        self, sessions: Collection[int], per_s: float, began_us: int, seconds: float, until_us: int
    ) -> Judged:
        """What was due within ``seconds`` from ``began_us`` on, by what had come ``until_us``."""
        ended_us = began_us + round(1e6 * seconds)
        came: Counter[int] = Counter()
        ages: list[int] = []
        delivered = messages = 0
        for session, now_us, data in self._whole():
            dues = list(map(int, _TOKEN.findall(data)))
            if began_us <= now_us < ended_us:
                delivered += len(dues)
                messages += data.count(self._message)
            measured = [now_us - due for due in dues if began_us <= due < ended_us]
            came[session] += len(measured)
            ages += measured
        each = round(per_s * seconds)
        pause_us = round(1e6 / per_s)
        for session in sessions:  # what is missing are the last ones
            ages += [until_us - ended_us + pause_us * n for n in range(each - came[session])]
        ages.sort()
        return Judged(
            each * len(sessions),
            sum(min(each, came[session]) for session in sessions),
            delivered,
            messages,
            ages[len(ages) // 2] / 1e6,
            ages[len(ages) * 99 // 100] / 1e6,
        )

    def _whole(self) -> Iterator[tuple[int, int, bytes]]:
        """The same, with no token cut in two: it is taken with what brings its end."""
        tails: dict[int, bytes] = {}
        for session, now_us, data in self._chunks:
            whole = tails.pop(session, b"") + data
            begun = whole.rfind(MARK.encode(), -TOKEN_BYTES + 2)
            if begun >= 0:
                tails[session] = whole[begun:]
                whole = whole[:begun]
            yield session, now_us, whole
