"""A bare loop of ``fdatasync``: what the disk allows to whoever waits for it."""

from __future__ import annotations

import os
import time

from benchmarks.store import opened

FRAME = b"\0" * (4096 + 24)
"""What one page is in the write-ahead log."""


def sync(writers: int, times: int) -> float:
    """Seconds for ``times`` where each ``fdatasync`` carries one of each writer, and a page for it."""
    with opened.folder() as path, (path / "log").open("wb", buffering=0) as log:
        log.write(FRAME * 1024)  # the file has its length: what follows overwrites
        os.fdatasync(log.fileno())
        log.seek(0)
        began = time.perf_counter()
        for number in range(-(-times // writers)):
            if number % 256 == 0:
                log.seek(0)
            log.write(FRAME)
            os.fdatasync(log.fileno())
        return time.perf_counter() - began
