"""What a client says of itself: all of it in the hello, later what has changed. No ``await``."""

from __future__ import annotations

from typing import Any

from trouper.transport.client_options import checked_coalesce
from trouper.transport.client_views import WireItem


class ClientHello:
    """The token, whether a person sees the session, and for how long its output may be gathered."""

    def __init__(self, token: str | None, *, visible: bool, coalesce_ms: int | None) -> None:
        self._token = token
        self._visible = bool(visible)  # the wire takes nothing that is only true enough
        self._coalesce_ms = checked_coalesce(coalesce_ms)
        self.closed()

    def opened(self) -> None:
        """A connection is there: everything is to be said."""
        self._open = self._hello_due = True

    def closed(self) -> None:
        """There is none: whatever changes is said by the next hello."""
        self._open = self._hello_due = self._visible_due = self._coalesce_due = False

    def set_visible(self, visible: bool) -> None:
        if bool(visible) != self._visible:
            self._visible = bool(visible)
            self._visible_due = self._open

    def set_coalesce(self, ms: int | None) -> None:
        """Raises ``ValueError`` for what the server would refuse."""
        if checked_coalesce(ms) != self._coalesce_ms:
            self._coalesce_ms = ms
            self._coalesce_due = self._open

    @property
    def due(self) -> bool:
        """Whether ``take`` has something to give."""
        return self._hello_due or self._visible_due or self._coalesce_due

    def take(self, feed: WireItem | None) -> list[dict[str, Any]]:
        """What is to be said now; ``feed`` is the cursor for the hello."""
        hello, visible, coalesce = self._hello_due, self._visible_due, self._coalesce_due
        self._hello_due = self._visible_due = self._coalesce_due = False
        if hello:
            item: dict[str, Any] = {"t": "hello", "visible": self._visible, "feed": feed}
            if self._token is not None:
                item["token"] = self._token
            if self._coalesce_ms is not None:
                item["coalesce_ms"] = self._coalesce_ms
            return [item]
        items: list[dict[str, Any]] = []
        if visible:
            items.append({"t": "visible", "visible": self._visible})
        if coalesce:
            items.append({"t": "coalesce", "ms": self._coalesce_ms})
        return items
