"""Who a session belongs to: what the application's ``authenticate`` sees, and what it may answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs

from trouper.transport.errors import GatewayError
from trouper.transport.http import Request

MAX_USER_CHARS = 200


@attrs.frozen(kw_only=True)
class Hello:
    """A client that says hello. ``authenticate`` gives the name of its user, or None."""

    token: str | None = attrs.field(repr=False)
    """The ``token`` of the client's first item."""
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Of the upgrade request, names in lower case."""
    cookies: Mapping[str, str] = attrs.field(repr=False)
    path: str
    """Path and query that were asked."""
    peer: str
    """The address that the connection came from."""


Authenticate = Callable[[Hello], "str | Awaitable[str | None] | None"]
"""Synchronous or asynchronous. None: not authenticated. An exception closes this session alone."""


def hello_of(request: Request, token: str | None) -> Hello:
    return Hello(
        token=token,
        headers=request.headers,
        cookies=request.cookies,
        path=request.target,
        peer=request.peer,
    )


def checked_user(answer: object) -> str | None:
    """The user that ``authenticate`` named; None if none. Raises ``GatewayError`` for what is not a name."""
    if answer is None or (isinstance(answer, str) and 1 <= len(answer) <= MAX_USER_CHARS):
        return answer
    raise GatewayError(
        f"authenticate gave {answer!r:.60}; legal is None or a string of 1 to {MAX_USER_CHARS} characters"
    )
