"""A client under a trace: it says what the trace has it say, and holds what that has it hold."""

from __future__ import annotations

from typing import Any, Protocol

import orjson

from tests.traces.reading import Item, Line, difference

OWN = frozenset({"hello", "ack", "beat", "resync"})
"""What a client says by itself; an attach is so too if the output is open already."""

THEMSELVES = {f"{kind}{n}": f"{kind}{n}" for kind in "sejn" for n in range(10)}
"""A client is told the names as they are."""


class Judged(Protocol):
    """A client, and the application that uses it."""

    ids: dict[str, str]
    """The trace's id of a command → the client's."""

    def opened(self) -> None: ...
    def cut(self) -> None: ...
    def ask(self, item: Item) -> None:
        """The application's part in ``item``."""
        ...

    def take(self) -> list[Item]:
        """What the client says."""
        ...

    def hear(self, items: list[Item]) -> str | None:
        """Returns why the client leaves, if it does."""
        ...

    def holds(self, job: str) -> tuple[list[Any], str]:
        """The parts that it holds of an output, and how that stands."""
        ...

    @property
    def seq(self) -> int:
        """Of its copy of the feed."""
        ...

    @property
    def open_outputs(self) -> set[str]: ...


def without_nulls(item: Item) -> Item:
    """A field that may be absent may be null."""
    return {key: value for key, value in item.items() if value is not None}


class Play:
    """One trace, with a client under it."""

    def __init__(self, judged: Judged) -> None:
        self.judged = judged
        self.open = False

    def play(self, lines: list[Line]) -> None:
        for line in lines:
            self.line(line)
        assert self.judged.take() == [], "it said what the trace has not"

    def line(self, line: Line) -> None:
        match line.kind:
            case ">":
                self.says(line.items)
            case "<":
                self.hears(line.items)
            case "=":
                self.holds(line.text)
            case "(" if line.text.startswith("the connection is cut"):
                self.judged.cut()
                self.open = False

    def says(self, items: list[Item]) -> None:
        if not self.open:
            self.judged.opened()
            self.open = True
        said = self.judged.take()
        for item in items:
            if not any(self._same(item, one) for one in said) and not self._own(item):
                self.judged.ask(item)
                said += self.judged.take()
        assert len(said) == len(items), f"said {said} instead of {items}"
        for item in items:
            assert any(self._same(item, one) for one in said), f"{item} was not said, but {said}"
        if items[0]["t"] == "hello":
            assert said[0]["t"] == "hello"

    def _own(self, item: Item) -> bool:
        return item["t"] in OWN or (item["t"] == "attach" and item["job"] in self.judged.open_outputs)

    def _same(self, page: Item, said: Item) -> bool:
        wanted = {**page, "id": self.judged.ids.get(page["id"], "")} if "id" in page else page
        return difference(without_nulls(wanted), without_nulls(said), dict(THEMSELVES)) is None

    def hears(self, items: list[Item]) -> None:
        assert self.judged.take() == [], "it said what the trace has not"
        ids = self.judged.ids
        known = [
            {**item, "id": ids.get(item["id"], item["id"])} if item["t"] == "reply" else item
            for item in items
        ]
        next_seq = {"prev": self.judged.seq, "seq": self.judged.seq + 1}
        whole = [filled(item, next_seq) for item in known]
        why = self.judged.hear(orjson.loads(orjson.dumps(whole)))
        assert why is None, why

    def holds(self, text: str) -> None:
        job, _, rest = text.partition(" ")
        parts, _, state = rest.rpartition(" ")
        assert self.judged.holds(job) == (orjson.loads(parts), state)


def joined(parts: list[Any]) -> list[Any]:
    """Neighbouring texts as one, however they came."""
    whole: list[Any] = []
    for part in parts:
        if isinstance(part, str) and whole and isinstance(whole[-1], str):
            whole[-1] += part
        else:
            whole.append(part if isinstance(part, str) else list(part))
    return whole


# --- what a trace leaves out, with something in its place ----


JOB: Item = {
    "name": "echo", "thread": None, "state": "running", "reason": None, "attempt": 1, "entries": 0,
    "created_at": 1.0, "started_at": None, "ended_at": None, "error": None, "cancel_requested": False,
    "seq": 1, "arguments": {}, "result": None, "saved_entries": 0,
}  # fmt: skip
NOTIFICATION: Item = {
    "id": "n1", "job": "j1", "thread": None, "kind": "ended", "key": "", "title": "", "body": "",
    "created_at": 1.0, "seen": False, "read": False, "archived": False, "seq": 1,
}  # fmt: skip
WELCOME: Item = {"protocol": 1, "user": "ada", "beat_ms": 25000, "silence_ms": 35000, "window": 262144}
FEED: Item = {"jobs": [], "notifications": [], "counts": {"unseen": 0, "unread": 0}}


def filled(item: Item, next_seq: Item) -> Item:
    match item["t"]:
        case "welcome":
            return rest_of(WELCOME, item)
        case "feed" | "snapshot":
            whole = rest_of(FEED | next_seq, item)
            rows: dict[str, Item] = {"jobs": JOB, "notifications": NOTIFICATION}
            return whole | {kind: [rest_of(row, one) for one in whole[kind]] for kind, row in rows.items()}
        case "reply" if "job" in (item.get("ok") or {}) and item["ok"]["job"] is not None:
            return {**item, "ok": item["ok"] | {"job": rest_of(JOB, item["ok"]["job"])}}
    return item


def rest_of(whole: Item, item: Item) -> Item:
    given = {key: value for key, value in item.items() if key != "…"}
    return whole | given if "…" in item else given
