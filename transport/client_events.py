"""What the client's core tells its shell, one frozen class each."""

from __future__ import annotations

import attrs

from trouper.transport.client_errors import CommandFailed
from trouper.transport.client_output import OutputState
from trouper.transport.client_views import WireItem


@attrs.frozen
class Welcomed:
    session: str
    user: str
    epoch: str


@attrs.frozen
class Replied:
    id: str
    ok: WireItem | None
    error: CommandFailed | None


@attrs.frozen
class FeedChanged:
    pass


@attrs.frozen
class OutputChanged:
    output: OutputState


@attrs.frozen
class ItemRefused:
    """An ``error`` item: something without an id could not be carried out."""

    code: str
    message: str


@attrs.frozen
class Broken:
    """The server broke the protocol: this connection is to be dropped."""

    reason: str


CoreEvent = Welcomed | Replied | FeedChanged | OutputChanged | ItemRefused | Broken
