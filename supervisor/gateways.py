"""Running a gateway as a child of the runtime, for ``serve`` to wait for."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from trouper.supervisor.child_spec import ChildExit, ChildSpec, ExitReason
from trouper.supervisor.dynamic import DynamicSupervisor
from trouper.supervisor.errors import SupervisorStopped
from trouper.supervisor.refusals import GatewayFailed

_RETRY_S = 0.1  # while the supervisor is itself being started again


async def run_gateway(gateways: DynamicSupervisor, spec: ChildSpec, stopping: Callable[[], bool]) -> None:
    """Run ``spec`` under ``gateways`` until it returns or the runtime is ``stopping``.

    If the supervisor is itself started again (the store had crashed), so is the gateway. Raises
    ``GatewayFailed`` if it crashed too often. **Cancellation**: it is stopped in order first.
    """
    while not stopping():
        last = await _run_once(gateways, spec)
        if last is None:
            await trio.sleep(_RETRY_S)
        elif last.crash is not None:
            raise GatewayFailed(f"{spec.name!r} crashed too often: {last.crash.summary}")
        elif last.reason is ExitReason.RETURNED:
            return


async def _run_once(gateways: DynamicSupervisor, spec: ChildSpec) -> ChildExit | None:
    """How it ended for good; None if its supervisor was not there to run it."""
    over = trio.Event()
    last: ChildExit | None = None

    def ended(exit: ChildExit | None) -> None:
        nonlocal last
        last = exit
        over.set()

    try:
        await gateways.start_child(attrs.evolve(spec, on_ended=ended))
        await over.wait()
    except SupervisorStopped:
        return None
    finally:
        with trio.CancelScope(shield=True):
            await gateways.terminate_child(spec.name)
    return last
