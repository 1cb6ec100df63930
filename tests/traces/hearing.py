"""What a server has said, in three lanes, so that it can be compared however it was cut into messages.

The protocol lets a server merge and divide frames at will. So neighbouring frames of one output are
joined here, and neighbouring changes of the feed: of each row the latest.
"""

from __future__ import annotations

import copy

from tests.traces.reading import Item, difference

_FEED = frozenset({"snapshot", "feed"})
_REPLIES = frozenset({"welcome", "reply", "error"})


def lane_of(item: Item) -> str:
    """Between replies, feed and output the page promises an order within a message only."""
    if item["t"] in _FEED:
        return "feed"
    if item["t"] in ("queue", "beat"):
        return str(item["t"])
    return "replies" if item["t"] in _REPLIES else f"output {item['job']}"


def _joined(before: Item, item: Item) -> Item | None:
    """The two as one, if they may be."""
    if before["t"] == item["t"] == "output":
        if (before["attempt"], before["to"]) != (item["attempt"], item["from"]):
            return None
        parts = [*before["parts"]]
        for part in item["parts"]:
            if parts and isinstance(parts[-1], str) and isinstance(part, str):
                parts[-1] += part
            else:
                parts.append(part)
        return {**item, "from": before["from"], "parts": parts}
    if before["t"] == item["t"] in ("queue", "beat"):
        return item  # the latest only; how many beats there were is a matter of time
    if before["t"] == item["t"] == "feed" and before["seq"] == item["prev"]:
        rows = {}
        for kind in ("jobs", "notifications"):
            latest = {row["id"]: row for row in (*before[kind], *item[kind])}
            rows[kind] = list(latest.values())
        return {**item, "prev": before["prev"], **rows}
    return None


class Heard:
    """What has come and was not compared yet."""

    def __init__(self) -> None:
        self._lanes: dict[str, list[Item]] = {}

    def add(self, items: list[Item]) -> None:
        for item in items:
            lane = self._lanes.setdefault(lane_of(item), [])
            joined = _joined(lane[-1], item) if lane else None
            if joined is None:
                lane.append(item)
            else:
                lane[-1] = joined

    def take(self, expected: list[Item], names: dict[str, str]) -> str | None:
        """Take what is ``expected``, all of it or nothing; else what is not as it should be. Lanes of
        which nothing is expected now are left for later."""
        due: dict[str, list[Item]] = {}
        for item in expected:
            real = names.get(item.get("job", ""), item.get("job", ""))
            due.setdefault(lane_of({**item, "job": real}), []).append(item)
        bound = copy.copy(names)
        for lane, items in due.items():
            wrong = difference(items, self._lanes.get(lane, []), bound, lane)
            if wrong is not None:
                return wrong
        for lane in due:
            self._lanes[lane] = []
        names.update(bound)
        return None

    def __repr__(self) -> str:
        return repr(self._lanes)
