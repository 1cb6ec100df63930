"""What was written from the page alone is judged by the page's traces, as every client is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.independent.client import Client, Item, Output
from tests.traces.playing import Play, joined
from tests.traces.reading import Trace, read_traces

THEIRS = [trace for trace in read_traces() if "client" in trace.judges]
STANDS = {None: "open", "verified": "end", "unverified": "unverified", "corrupt": "corrupt"}


class Independent:
    """The client without its socket: what it would send is kept."""

    def __init__(self) -> None:
        self.client = Client(0, "")
        self.ids: dict[str, str] = {}
        self._said: list[Item] = []

    @property
    def seq(self) -> int:
        return self.client.feed["seq"] if self.client.feed else 0

    @property
    def open_outputs(self) -> set[str]:
        return set(self.client.outputs)

    def opened(self) -> None:
        self._said = self.client.greet()
        del self._said[0]["token"]  # traces are of a gateway that asks for none

    def cut(self) -> None:
        self._said = []

    def take(self) -> list[Item]:
        said, self._said = self._said, []
        return said

    def hear(self, items: list[Item]) -> None:
        self._said += self.client.hear(items)

    def ask(self, item: Item) -> None:
        match item:
            case {"t": "attach", "job": job, "attempt": attempt, "n": n}:
                self.client.outputs[job] = Output(job, attempt, n)
                self._said.append(self.client.outputs[job].attach())
            case {"t": "detach" | "visible" | "coalesce"}:
                self.client.outputs.pop(item.get("job", ""), None)
                self._said.append(item)
            case _:
                fields = {key: value for key, value in item.items() if key not in ("t", "id")}
                command = self.client.command(item["t"], **fields)
                self.ids[item["id"]] = command["id"]
                self._said.append(command)

    def holds(self, job: str) -> tuple[list[Any], str]:
        output = self.client.outputs[job]
        return joined(output.parts), STANDS.get(output.ended, "gone")


@pytest.mark.clause("N3", "O2", "O3", "O6")
@pytest.mark.parametrize("trace", THEIRS, ids=lambda trace: trace.name)
def test_the_client_of_the_page_keeps_to_each_trace_of_the_protocol(trace: Trace) -> None:
    Play(Independent()).play(trace.lines)
