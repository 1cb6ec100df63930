"""Who a session belongs to: what the application's ``authenticate`` sees, and what it may answer."""

from __future__ import annotations

import inspect
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


async def user_of(authenticate: Authenticate, hello: Hello) -> str | None:
    """The user that ``authenticate`` names; None if none.

    Raises ``GatewayError`` for an answer that is not a name, and whatever ``authenticate`` raises.
    """
    answer = authenticate(hello)
    user: object = await answer if inspect.isawaitable(answer) else answer
    if user is None:
        return None
    if not isinstance(user, str) or not 1 <= len(user) <= MAX_USER_CHARS:
        raise GatewayError(
            f"authenticate gave {user!r:.60}; legal is None or a string of 1 to {MAX_USER_CHARS} characters"
        )
    return user
