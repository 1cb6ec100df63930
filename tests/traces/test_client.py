"""The Python client says what the traces of the protocol have it say, and holds what they have it hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.traces.playing import Play, joined
from tests.traces.reading import Item, Trace, read_traces
from tests.transport.client_model import Reader
from tests.transport.client_wire import make_core
from trouper.transport.client_errors import OutputCorrupt, OutputGone
from trouper.transport.client_events import Broken
from trouper.transport.client_output import OutputState

THEIRS = [trace for trace in read_traces() if "client" in trace.judges]


class PythonClient:
    """Its core, what has been opened, and what that was given."""

    def __init__(self) -> None:
        self.core = make_core()
        self.ids: dict[str, str] = {}
        self._outputs: dict[str, OutputState] = {}
        self._readers: dict[str, Reader] = {}

    @property
    def seq(self) -> int:
        return self.core.feed.seq

    @property
    def open_outputs(self) -> set[str]:
        return set(self._outputs)

    def opened(self) -> None:
        self.core.opened()

    def cut(self) -> None:
        self.core.closed(None)

    def take(self) -> list[Item]:
        return self.core.take()

    def hear(self, items: list[Item]) -> str | None:
        events = self.core.received(items)
        return next((event.reason for event in events if isinstance(event, Broken)), None)

    def ask(self, item: Item) -> None:
        match item:
            case {"t": "attach", "job": job, "attempt": attempt, "n": n}:
                self._outputs[job] = self.core.open_output(job, attempt, n)
                self._readers[job] = Reader()
            case {"t": "detach", "job": job}:
                self.core.close_output(self._outputs.pop(job))
            case {"t": "visible", "visible": visible}:
                self.core.set_visible(visible)
            case {"t": "coalesce", "ms": ms}:
                self.core.set_coalesce(ms)
            case _:
                fields = {key: value for key, value in item.items() if key not in ("t", "id")}
                self.ids[item["id"]] = self.core.command(item["t"], fields)

    def holds(self, job: str) -> tuple[list[Any], str]:
        output, reader = self._outputs[job], self._readers[job]
        while (piece := self.core.read(output)) is not None:
            reader.add(piece)
        parts = joined(reader.copy)
        if reader.end is not None:
            return parts, "end" if reader.end.verified else "unverified"
        match output.failure:
            case OutputGone():
                return parts, "gone"
            case OutputCorrupt():
                return parts, "corrupt"
        return parts, "open"


@pytest.mark.clause("N3", "O2", "O3", "O6")
@pytest.mark.parametrize("trace", THEIRS, ids=lambda trace: trace.name)
def test_the_python_client_keeps_to_each_trace_of_the_protocol(trace: Trace) -> None:
    Play(PythonClient()).play(trace.lines)
