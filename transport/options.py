"""Every bound of a gateway, with its unit."""

from __future__ import annotations

from typing import Any

import attrs

from trouper.store.checks import wrong_count, wrong_number
from trouper.transport.errors import GatewayError

ENTRY_BYTES = 16 * 1024
"""The largest entry of an output (UTF-8 bytes); one whole entry always fits into a message."""


def _check_number(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if (legal := wrong_number(value)) is not None:
        raise GatewayError(f"GatewayOptions.{attribute.name} is {value!r}; {legal}")


def _check_count(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if (legal := wrong_count(value)) is not None:
        raise GatewayError(f"GatewayOptions.{attribute.name} is {value!r}; {legal}")


def _number(default: float) -> float:
    field: float = attrs.field(default=default, validator=_check_number)
    return field


def _count(default: int) -> int:
    field: int = attrs.field(default=default, validator=_check_count)
    return field


@attrs.frozen(kw_only=True)
class GatewayOptions:
    """What a gateway allows. Sizes are in bytes, durations in seconds."""

    max_connections: int = _count(10_000)
    """TCP connections at a time; a further one is answered 503."""
    max_inbound_bytes: int = _count(64 * 1024)
    """A client's WebSocket message (UTF-8 bytes)."""
    max_message_bytes: int = _count(256 * 1024)
    """Payload in one message of the server, before escaping; one whole item always fits. A peer gets no
    more than what it takes in a second, by its acks, and at least one entry."""
    max_pending_commands: int = _count(64)
    """Commands of a session without a reply; the next ones are answered ``busy`` …"""
    flood_commands: int = _count(128)
    """… and when this many replies are owed, the connection is closed with 4009."""
    max_early_items: int = _count(512)
    """Items that a client sends behind its hello before it is welcomed; beyond: closed with 4009."""
    max_early_bytes: int = _count(1024 * 1024)
    """Messages that hold such items; while more than this waits, the session is not read."""
    max_reply_bytes: int = _count(1024 * 1024)
    """The rows of one list reply, encoded; a longer list is cut (one row always fits). While more than
    this waits to be sent, no further command of the session is carried out; and when refusals given at
    once come to more than this, not taken, the connection is closed with 4009."""

    direct_writes: bool = True
    """Whether a message that can be written at once is, instead of by a task that is woken for it: measured
    at less than half of the processor time for a token. Never on TLS or Windows."""

    tick_s: float = _number(0.025)
    """Output of a busy session goes once per tick."""
    hidden_tick_s: float = _number(0.5)
    """… that of a session which nobody sees once in this time."""
    max_tick_s: float = _number(0.1)
    """A tick is stretched up to this when flushing takes more than a quarter of it."""
    beat_s: float = _number(25.0)
    """Between two beats of the server."""
    silence_s: float = _number(35.0)
    """A connection that was not heard of for this long is dropped."""
    hello_s: float = _number(10.0)
    """From the upgrade to the client's hello."""
    authenticate_s: float = _number(10.0)
    """For ``authenticate`` to answer."""
    close_s: float = _number(2.0)
    """For the closing handshake; then the stream is closed without it."""
    stop_s: float = _number(1.0)
    """For all sessions to be told 4001 when the gateway stops."""

    max_head_bytes: int = _count(16 * 1024)
    """The head of an HTTP request."""
    max_body_bytes: int = _count(64 * 1024)
    """The body of an HTTP request."""
    max_file_bytes: int = _count(8 * 1024 * 1024)
    """A file of the static directory; larger ones are not served."""
    file_cache_bytes: int = _count(32 * 1024 * 1024)
    """Files of the static directory that are kept in memory, those asked for last; one that is being sent is
    there once, however many take it and however long."""
    head_s: float = _number(10.0)
    """From the first byte of a request's head to its last; and for the body again."""
    idle_s: float = _number(30.0)
    """Between two requests on a connection that is kept alive."""
    response_s: float = _number(30.0)
    """For a handler of ``routes`` to answer, and again for the peer to take the response."""

    content_security_policy: str = (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'none'"
    )
    """Sent with every response that does not bring its own."""
