"""What the connections of a gateway share, and what each tells of itself."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from trouper.transport.alarms import Alarms
from trouper.transport.auth import Authenticate
from trouper.transport.options import GatewayOptions
from trouper.transport.ports import GatewayRuntime
from trouper.transport.session_state import SessionState
from trouper.transport.ticker import Ticker


@attrs.frozen(kw_only=True)
class ConnectionPorts:
    """What all connections of a gateway share."""

    runtime: GatewayRuntime
    authenticate: Authenticate
    options: GatewayOptions
    window_bytes: int
    """Told in ``welcome``; the runtime's channels keep to it."""
    ticker: Ticker
    alarms: Alarms
    wall: Callable[[], float]
    """The clock that the times of rows are by, in seconds since the epoch."""
    on_crash: Callable[[str, Exception], None]
    """Told what failed, and how."""


@attrs.frozen
class ConnectionStatistics:
    """``pending_bytes``: of the outbox; ``reply_bytes``: replies that wait to be taken; ``early_bytes``:
    messages that wait for the welcome."""

    state: SessionState
    pending_bytes: int
    sent_bytes: int
    owed_replies: int
    reply_bytes: int
    early_bytes: int
