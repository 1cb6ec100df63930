"""The gateway says what the traces of the protocol have it say."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.traces import stage as staging
from tests.traces.reading import Trace, read_traces
from tests.traces.setups import setup_of
from tests.traces.stage import Cues, Stage

OURS = [trace for trace in read_traces() if "server" in trace.judges]


@pytest.mark.clause("J6", "N2", "N3", "N5", "O1", "O2", "O3", "O6", "E1")
@pytest.mark.parametrize("trace", OURS, ids=lambda trace: trace.name)
async def test_the_gateway_keeps_to_each_trace_of_the_protocol(trace: Trace, tmp_path: Path) -> None:
    staging.CUES[:] = [Cues()]
    with trio.fail_after(60):
        stage = Stage(tmp_path, setup_of(trace))
        await stage.open()
        try:
            for line in trace.lines:
                match line.kind:
                    case "<":
                        await stage.hear(line.items)
                    case "(":
                        await stage.happen(line.text)
                    case "x":
                        await stage.hear_the_end(int(line.text))
                    case "=":
                        pass  # what a client holds is a client's
                    case _:
                        await stage.say(line)
        finally:
            await stage.close()  # noqa: ASYNC102  # a test's own time-out bounds it
