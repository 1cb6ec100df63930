"""What can go wrong at the edge.

    TrouperError
    └── TransportError
        ├── MissingExtra          a library of the extra ``trouper[websocket]`` is not installed
        ├── GatewayError          the gateway cannot be set up as asked (also a ValueError)
        └── ProtocolBroken        the peer broke the wire protocol; has the close code
            └── MessageTooLarge

A client's mistake is never an exception of the server: ``ProtocolBroken`` is caught where the
connection ends, and becomes its close code and reason.
"""

from __future__ import annotations

from trouper.store.errors import TrouperError
from trouper.transport.codes import CloseCode


class TransportError(TrouperError):
    """Something of the edge failed."""


class MissingExtra(TransportError, ImportError):
    """A library that only the gateway and the client need is not installed."""

    def __init__(self, library: str) -> None:
        super().__init__(
            f"{library} is not installed; the gateway needs an extra: pip install 'trouper[websocket]'"
        )


class GatewayError(TransportError, ValueError):
    """A gateway cannot be set up as asked; the message names what was wrong and what is legal."""


class ProtocolBroken(TransportError):
    """The peer broke the wire protocol. The message names what was wrong and what is legal."""

    code = CloseCode.PROTOCOL


class MessageTooLarge(ProtocolBroken):
    """An inbound message beyond its bound."""

    code = CloseCode.TOO_LARGE
