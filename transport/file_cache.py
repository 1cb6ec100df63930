"""The contents of files, in memory once for all who are sent them.

What was asked for lately is kept, up to a bound. What is being sent is found again as well, by weak
references, though it was put out of the cache or never fitted: a thousand readers that take their time
over a file hold one copy, and of a file that changed meanwhile one of each version.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

import attrs

Version = tuple[int, int, int, int]
"""What changes with a file: its number, size, and times in ns."""

SETTLED_S = 2.0
"""Two writes in one tick of the file system's clock leave one version, if the size stays: 2 s is the longest
tick that is known (FAT). One that is younger is read again, and compared."""

_Key = tuple[Path, Version]


@attrs.define(eq=False)
class CachedFile:
    """Shared by all who are sent it, for as long as one of them holds this object."""

    content: bytes
    etag: str
    """Quoted, of the content's SHA-256."""
    settled: bool = False
    """Whether its version was old enough, when it was read, so that no later write leaves the same."""


class FileCache:
    """``max_bytes``: of contents that are kept though nobody is sent them. ``wall()``: seconds since the
    epoch, by the clock that the times of files are by."""

    def __init__(self, max_bytes: int, wall: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._wall = wall
        self._kept: OrderedDict[_Key, CachedFile] = OrderedDict()
        """The one asked for last at the end."""
        self._living: WeakValueDictionary[_Key, CachedFile] = WeakValueDictionary()
        self.kept_bytes = 0

    @property
    def living_bytes(self) -> int:
        """Of all contents in memory: those that are kept, and those that somebody is being sent."""
        return sum(len(file.content) for file in list(self._living.values()))

    def get(self, path: Path) -> CachedFile:
        """The file as it is on disk now. Raises ``OSError``."""
        key = (path, _version(path))
        file = self._living.get(key)
        if file is None or not file.settled:
            settled = self._wall() - max(key[1][2:]) / 1e9 >= SETTLED_S
            content = path.read_bytes()
            read = CachedFile(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
            if _version(path) != key[1]:
                return read  # it was written to while it was read: whoever asks next reads it again
            if file is None or file.etag != read.etag:
                for old in [kept for kept in self._kept if kept[0] == path]:
                    self._drop(old)
                self._living[key] = file = read
            file.settled = settled
        self._keep(key, file)
        return file

    def _keep(self, key: _Key, file: CachedFile) -> None:
        if len(file.content) > self._max_bytes:
            return
        if key not in self._kept:
            self._kept[key] = file
            self.kept_bytes += len(file.content)
        self._kept.move_to_end(key)
        while self.kept_bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: _Key) -> None:
        self.kept_bytes -= len(self._kept.pop(key).content)


def _version(path: Path) -> Version:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
