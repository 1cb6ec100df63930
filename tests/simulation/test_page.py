"""docs/simulation.md: what it shows works as it is written there."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from tests.meta.source import ROOT
from tests.meta.test_house import fenced
from trouper import simulation
from trouper.actors.actor import Actor
from trouper.actors.reports import Report
from trouper.simulation import Crash
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.supervisor import Supervisor

PAGE = (ROOT / "docs" / "simulation.md").read_text(encoding="utf-8")


class Parser(Actor[str]):
    async def receive(self, message: str) -> None:
        await trio.sleep(float(message))


def test_the_example_of_the_page_runs_as_it_is_written() -> None:
    (example,) = fenced(PAGE, "python")
    names: dict[str, Any] = {
        "Parser": Parser,
        "Report": Report,
        "Supervisor": Supervisor,
        "actor_child": actor_child,
        "lines": ["1", "2", "0.5"],
        "trio": trio,
    }
    exec(example, names)
    report = simulation.simulate(names["scenario"], seed=7, plan=[Crash("top/parser#1", 3)])
    assert report.fired == (Crash("top/parser#1", 3),)
    assert any("on purpose" in told.reason for told in report.result)


def test_every_fault_of_the_kit_has_a_row_on_the_page() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(rows) == len(simulation.Fault.__args__)
    for fault, row in zip(simulation.Fault.__args__, rows, strict=True):
        fields = ", ".join(field.name for field in attrs.fields(fault))
        assert row.startswith(f"| `{fault.__name__}({fields})` |")
