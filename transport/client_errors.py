"""What can go wrong for somebody who uses the client.

    TrouperError
    ├── MissingLibrary        an optional library is not installed (also an ImportError)
    └── ClientError
        ├── ClientStopped     the connection ended in a way that the client does not come back from
        ├── CommandFailed     the server answered a command with an error
        ├── CommandRefused    the command cannot be sent at all (too large, not JSON)
        ├── AttachRefused     this output cannot be attached (open already, or too many are)
        ├── OutputGone        there is no such output for this user
        ├── OutputCorrupt     the output does not have the hash that the server tells, twice
        └── ServerFault       what the server sent breaks the protocol

A lost connection is no error: the client comes back by itself, and what was asked goes on.
"""

from __future__ import annotations

from trouper.store.errors import TrouperError


class MissingLibrary(TrouperError, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


class ClientError(TrouperError):
    """The base of the client's errors."""


class ClientStopped(ClientError):
    """The client has no connection and will not make another one.

    ``code`` is the close code (45xx: the server does not want it back; None: the client's
    ``async with`` has ended).
    """

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"the client has stopped ({code}): {reason}" if code else reason)
        self.code = code
        self.reason = reason


class CommandFailed(ClientError):
    """The server's answer to a command is an error; ``code`` is one of the protocol's."""

    def __init__(self, code: str, message: str, retryable: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable


class CommandRefused(ClientError):
    """The command cannot be sent: it is not JSON, or larger than a message may be."""


class AttachRefused(ClientError):
    """The output cannot be attached: it is open in this client already, or too many are."""


class OutputGone(ClientError):
    """There is no such output for this user (any more); ``reason`` ``internal``: it cannot be sent."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"the output of job {job_id!r} cannot be had by this user: {reason}")
        self.job_id = job_id
        self.reason = reason


class OutputCorrupt(ClientError):
    """All of an output was received, twice, and has another hash than the server tells."""

    def __init__(self, job_id: str, expected: str, found: str) -> None:
        super().__init__(
            f"the output of job {job_id!r} should have the hash {expected} but has {found},"
            " after it was fetched a second time"
        )
        self.job_id = job_id
        self.expected = expected
        self.found = found


class ServerFault(ClientError):
    """The server sent something that breaks the protocol; the message names the place."""
