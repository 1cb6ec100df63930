"""One owner for a database file: a lock on ``<file>.lock``, held for as long as it is open.

The system lets go of it when the process ends, however it ends; so what runs under another boot's
number is known to be orphaned, and nothing has to time out. The lock belongs to the open file, not
to the process: a second runtime of the same process meets it too.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from trouper.store.errors import StoreRefused

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


class FileLock:
    """The lock of one database. Its methods block: they are for the store's thread."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptor: int | None = None

    def open(self) -> None:
        """Open its file, which is made if need be. Raises ``StoreRefused`` where it cannot be.
        **Resources**: ``release``."""
        path = Path(f"{self._database}.lock")
        try:
            if not self._database.parent.is_dir():
                folder, name = self._database.parent, self._database.name
                raise StoreRefused(f"there is no directory {folder} to hold the database {name}")
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise StoreRefused(f"cannot write beside the database: {path}: {error.strerror}") from error

    def take(self) -> bool:
        """Whether it is ours now; if not, somebody else has it. Raises ``StoreRefused`` where nothing can be
        locked."""
        assert self._descriptor is not None
        try:
            _try_lock(self._descriptor)
        except OSError as error:
            if error.errno not in _HELD:
                raise StoreRefused(f"cannot lock {self._database}.lock: {error.strerror}") from error
            return False
        with suppress(OSError):  # only for whoever waits; that a disk is full is the database's to say
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.truncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        return True

    def owner(self) -> str:
        """The id of the process that has it, for people."""
        assert self._descriptor is not None
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        pid = os.read(self._descriptor, 32).decode(errors="replace").strip()
        ours = ", which is this one: maybe by a thread that was left with its disk"
        return f"process {pid or 'unknown'}{ours if pid == str(os.getpid()) else ''}"

    def release(self) -> None:
        """Let go of it, if it is ours, and close its file, which stays: only its lock means anything."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
