"""Bytes for each of many, in a process of its own: memory that was freed earlier would hide what is new.

python -m benchmarks.footprint benchmarks.actors.ours:idle 1000 traced
"""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATM = Path("/proc/self/statm")
PAGE_BYTES = 4096

Idle = Callable[[int, Callable[[], None]], None]
"""``idle(count, look)`` makes what is measured, and calls ``look`` before and after it made ``count``."""


def traced() -> int:
    """Bytes of Python objects, as tracemalloc has them."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def resident() -> int:
    """Bytes of the process in memory, thread stacks and free lists included."""
    gc.collect()
    return int(STATM.read_text(encoding="ascii").split()[1]) * PAGE_BYTES


LOOKS: dict[str, Callable[[], int]] = {"traced": traced, "resident": resident}


def taker(place: str, look: str) -> Callable[[int], float | None]:
    """What a ``Contender`` takes: the bytes for each of so many made by ``place`` (``module:function``)."""

    def take(count: int) -> float | None:
        if look == "resident" and not STATM.exists():
            return None
        command = (sys.executable, "-m", "benchmarks.footprint", place, str(count), look)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr}")
        return float(done.stdout)

    return take


def main() -> None:
    """The process of its own: prints the bytes for each."""
    place, count, look = sys.argv[1:]
    module, _, function = place.partition(":")
    idle: Idle = getattr(importlib.import_module(module), function)
    if look == "traced":
        tracemalloc.start()
    seen: list[int] = []
    idle(int(count), lambda: seen.append(LOOKS[look]()))
    before, after = seen
    print((after - before) / int(count))


if __name__ == "__main__":
    main()
