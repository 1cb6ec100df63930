"""Where our server's time goes, under cProfile: the numbers are larger than without, compare shares."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.delivery.running import Server, running
from benchmarks.delivery.scenario import Scenario
from benchmarks.measuring import OURS
from benchmarks.profiling import as_text

WHAT = {
    "100 streams, a source each": Scenario(streams=100, source="each"),
    "100 streams, one source": Scenario(streams=100, source="one"),
    "fan-out to 300": Scenario(sessions=300, source="one"),
}


def profile(scale: float) -> str:
    """Each of the above, of the whole process of the server; of smaller ``scale`` shorter."""
    if sys.platform != "linux":
        return "cannot be told here\n"
    blocks = []
    server = Server.python(OURS, "ours", "trouper")
    with tempfile.TemporaryDirectory(prefix="trouper-bench-") as folder:
        for number, (name, scenario) in enumerate(WHAT.items()):
            out = Path(folder) / f"{number}.profile"
            with running(server, scenario, "-m", "cProfile", "-o", str(out)) as run:
                run.tell("connect", count=scenario.streams * scenario.sessions)
                run.go()
                run.tell("measure", warm_up_s=0.3, seconds=min(4.0, max(0.5, 16 * scale)))
                run.end(30)
            text = as_text(str(out)).partition("\n")[2]  # the first line names the file
            blocks.append(f"== {name}\n\n{text.lstrip()}")
    return "\n".join(blocks)
