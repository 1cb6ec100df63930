"""The disk that is measured: what it allows to whoever waits for it, by a bare loop of ``fdatasync``."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.store import opened

MOUNTS = Path("/proc/mounts")

FRAME = b"\0" * (4096 + 24)
"""What one page is in the write-ahead log."""


def sync(writers: int, times: int) -> float:
    """Seconds for ``times`` where each ``fdatasync`` carries one of each writer, and one page for all."""
    syncs = -(-times // writers)
    with opened.folder() as path, (path / "log").open("wb", buffering=0) as log:
        log.write(FRAME * 1024)  # the file has its length: what follows overwrites
        os.fdatasync(log.fileno())
        log.seek(0)
        began = time.perf_counter()
        for number in range(syncs):
            if number % 256 == 0:
                log.seek(0)
            log.write(FRAME)
            os.fdatasync(log.fileno())
        return (time.perf_counter() - began) * times / (syncs * writers)


def file_system() -> str | None:
    """The kind that temporary files lie on: on one in memory nothing waits for a disk."""
    if not MOUNTS.exists():
        return None
    folder = Path(tempfile.gettempdir()).resolve()
    mounts = [line.split()[1:3] for line in MOUNTS.read_text(encoding="utf-8").splitlines()]
    above = [(len(place), kind) for place, kind in mounts if folder.is_relative_to(place)]
    return max(above)[1] if above else None
