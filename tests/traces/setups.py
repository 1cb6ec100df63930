"""How the server of a trace is set up, where that has it otherwise than usual."""

from __future__ import annotations

import attrs

import trouper
from tests.traces.reading import Trace
from trouper.store.options import StoreOptions
from trouper.transport.options import GatewayOptions


@attrs.frozen(kw_only=True)
class Setup:
    runtime: trouper.RuntimeOptions = attrs.field(factory=trouper.RuntimeOptions)
    store: StoreOptions = StoreOptions()
    gateway: GatewayOptions = GatewayOptions()
    sessions: int = 0
    """So many are open already."""
    full: bool = False
    """Somebody else's job runs, in the one place that there is."""


FREE = "a place is free: the job starts"
_FULL = Setup(runtime=trouper.RuntimeOptions(max_running=1), full=True)
SETUPS = {
    FREE: _FULL,
    "one job may be queued, and none may start": attrs.evolve(
        _FULL, runtime=trouper.RuntimeOptions(max_running=1, max_queued=1)
    ),
    "one job of a user may be queued, and none may start": attrs.evolve(
        _FULL, runtime=trouper.RuntimeOptions(max_running=1, max_queued_per_user=1)
    ),
    "one message to a job may be pending": Setup(store=StoreOptions(signals_pending_max=1)),
    "as many sessions are open as may be": Setup(runtime=trouper.RuntimeOptions(max_sessions=1), sessions=1),
    "beats come often": Setup(gateway=GatewayOptions(beat_s=0.05)),
    "silence is judged soon": Setup(gateway=GatewayOptions(beat_s=0.05, silence_s=0.3)),
}
"""By what stands in parentheses; the first such line of a trace decides."""


def setup_of(trace: Trace) -> Setup:
    said = [line.text for line in trace.lines if line.kind == "("]
    return next((SETUPS[text] for text in said if text in SETUPS), Setup())
