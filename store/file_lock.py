"""One owner for a database file: a lock on ``<file>.lock``, held for as long as it is open.

The system lets go of it when the process ends, however it ends; so what runs under another boot's
number is known to be orphaned, and nothing has to time out. The lock belongs to the open file, not
to the process: a second runtime of the same process meets it too.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from trouper.store.errors import StoreInUse, StoreRefused

_POLL_S = 0.05
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""What a lock that somebody else holds is told as, on one system or another."""

if sys.platform == "win32":
    import msvcrt

    # A locked range cannot be read by others there, and the owner's pid must be.
    _LOCK_AT = 1 << 30

    def _try_lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCK_AT, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _open_lock(database: Path) -> int:
    path = Path(f"{database}.lock")
    try:
        if not database.parent.is_dir():
            raise StoreRefused(
                f"there is no directory {database.parent} to hold the database {database.name}"
            )
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise StoreRefused(f"cannot write beside the database: {path}: {error.strerror}") from error


def _owner(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"


@asynccontextmanager
async def exclusive(database: Path, wait_s: float) -> AsyncIterator[None]:
    """Own ``database`` inside the ``async with``.

    Waits up to ``wait_s`` seconds for another owner, then raises ``StoreInUse`` naming its process
    id; raises ``StoreRefused`` where the lock file cannot be made or locked. **Cancellation**: nothing is
    held. **Resources**: the lock file stays, empty of meaning; only its lock counts.
    """
    descriptor = _open_lock(database)
    try:
        give_up_at = trio.current_time() + wait_s
        while True:
            try:
                _try_lock(descriptor)
                break
            except OSError as error:
                if error.errno not in _HELD:
                    raise StoreRefused(f"cannot lock {database}.lock: {error.strerror}") from error
                if trio.current_time() >= give_up_at:
                    raise StoreInUse(
                        f"{database} is in use by another runtime (process {_owner(descriptor)}), "
                        f"which did not end within {wait_s:g} s"
                    ) from error
            await trio.sleep(_POLL_S)
        with suppress(OSError):  # only for whoever waits; that a disk is full is the database's to say
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
