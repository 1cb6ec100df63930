"""The Python client says what the traces of the protocol have it say, and holds what they have it hold."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.traces.reading import Item, Line, Trace, difference, read_traces
from tests.transport.client_model import Reader, Token
from tests.transport.client_wire import make_core
from trouper.transport.client_core import ClientCore
from trouper.transport.client_errors import OutputCorrupt, OutputGone
from trouper.transport.client_events import Broken
from trouper.transport.client_output import OutputState

THEIRS = [trace for trace in read_traces() if "client" in trace.judges]
OWN = frozenset({"hello", "ack", "beat", "resync"})
"""What a client says by itself; an attach is so too if the output is open already."""


THEMSELVES = {f"{kind}{n}": f"{kind}{n}" for kind in "sejn" for n in range(10)}
"""A client is told the names as they are."""


def without_nulls(item: Item) -> Item:
    """A field that may be absent may be null."""
    return {key: value for key, value in item.items() if value is not None}


class Application:
    """What has been opened, and what it was given."""

    def __init__(self, core: ClientCore) -> None:
        self.core = core
        self.outputs: dict[str, OutputState] = {}
        self.readers: dict[str, Reader] = {}
        self.ids: dict[str, str] = {}
        """The trace's id of a command → the client's."""

    def ask(self, item: Item) -> None:
        """The application's part in ``item``."""
        match item:
            case {"t": "attach", "job": job, "attempt": attempt, "n": n}:
                self.outputs[job] = self.core.open_output(job, attempt, n)
                self.readers[job] = Reader()
            case {"t": "detach", "job": job}:
                self.core.close_output(self.outputs.pop(job))
            case {"t": "visible", "visible": visible}:
                self.core.set_visible(visible)
            case {"t": "coalesce", "ms": ms}:
                self.core.set_coalesce(ms)
            case _:
                fields = {key: value for key, value in item.items() if key not in ("t", "id")}
                self.ids[item["id"]] = self.core.command(item["t"], fields)

    def holds(self, job: str) -> tuple[list[Any], str]:
        """The parts that it holds of an output, and how that stands."""
        output, reader = self.outputs[job], self.readers[job]
        while (piece := self.core.read(output)) is not None:
            reader.add(piece)
        if reader.end is not None:
            return parts_of(reader.copy), "end" if reader.end.verified else "unverified"
        match output.failure:
            case OutputGone():
                return parts_of(reader.copy), "gone"
            case OutputCorrupt():
                return parts_of(reader.copy), "corrupt"
        return parts_of(reader.copy), "open"


def parts_of(copy: list[Token]) -> list[Any]:
    parts: list[Any] = []
    for token in copy:
        if isinstance(token, str) and parts and isinstance(parts[-1], str):
            parts[-1] += token
        else:
            parts.append(token if isinstance(token, str) else list(token))
    return parts


class Play:
    """One trace, with a client under it."""

    def __init__(self) -> None:
        self.core = make_core()
        self.app = Application(self.core)
        self.open = False

    def line(self, line: Line) -> None:
        match line.kind:
            case ">":
                self.says(line.items)
            case "<":
                self.hears(line.items)
            case "=":
                self.holds(line.text)
            case "(" if line.text.startswith("the connection is cut"):
                self.core.closed(None)
                self.open = False

    def says(self, items: list[Item]) -> None:
        if not self.open:
            self.core.opened()
            self.open = True
        said = self.core.take()
        for item in items:
            if not any(self._same(item, one) for one in said) and not self._own(item):
                self.app.ask(item)
                said += self.core.take()
        assert len(said) == len(items), f"said {said} instead of {items}"
        for item in items:
            assert any(self._same(item, one) for one in said), f"{item} was not said, but {said}"
        if items[0]["t"] == "hello":
            assert said[0]["t"] == "hello"

    def _own(self, item: Item) -> bool:
        return item["t"] in OWN or (item["t"] == "attach" and item["job"] in self.app.outputs)

    def _same(self, page: Item, said: Item) -> bool:
        wanted = {**page, "id": self.app.ids.get(page["id"], "")} if "id" in page else page
        return difference(without_nulls(wanted), without_nulls(said), dict(THEMSELVES)) is None

    def hears(self, items: list[Item]) -> None:
        assert self.core.take() == [], "it said what the trace has not"
        known = [{**item, "id": self.app.ids[item["id"]]} if item["t"] == "reply" else item for item in items]
        next_seq = {"prev": self.core.feed.seq, "seq": self.core.feed.seq + 1}
        whole = [filled(item, next_seq) for item in known]
        events = self.core.received(orjson.loads(orjson.dumps(whole)))
        assert not any(isinstance(event, Broken) for event in events), events

    def holds(self, text: str) -> None:
        job, _, rest = text.partition(" ")
        parts, _, state = rest.rpartition(" ")
        assert self.app.holds(job) == (orjson.loads(parts), state)


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
    """What a trace leaves out, with something in its place."""
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


@pytest.mark.clause("N3", "O2", "O3", "O6")
@pytest.mark.parametrize("trace", THEIRS, ids=lambda trace: trace.name)
def test_the_python_client_keeps_to_each_trace_of_the_protocol(trace: Trace) -> None:
    play = Play()
    for line in trace.lines:
        play.line(line)
    assert play.core.take() == [], "it said what the trace has not"
