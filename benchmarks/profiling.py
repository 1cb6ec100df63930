"""Where our own time goes, as text."""

from __future__ import annotations

import cProfile
import io
import pstats
from pathlib import Path

from benchmarks.measuring import OURS, Suite

LINES = 30
"""Of each measure: the functions that took most by themselves."""


def profile(suite: Suite, scale: float) -> str:
    """Our contender of each rate, under cProfile. The numbers are larger than without: compare shares."""
    if suite.profile is not None:
        return suite.profile(scale)
    blocks = []
    for measure in suite.measures:
        ours = next(contender for contender in measure.contenders if contender.name == OURS)
        if measure.of_costs:
            continue
        times = max(1, round(measure.times * scale))
        profiler = cProfile.Profile()
        profiler.runcall(ours.take, times)
        blocks.append(f"== {measure.name}, {times} times\n\n{as_text(profiler)}")
    return "\n".join(blocks)


def as_text(profiler: cProfile.Profile | str) -> str:
    """A profile, or the file that cProfile wrote it to, as text."""
    stream = io.StringIO()
    # strip_dirs: file names alone, so that the text says nothing of the machine.
    pstats.Stats(profiler, stream=stream).strip_dirs().sort_stats("tottime").print_stats(LINES)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip() + "\n"


def write_profile(suite: Suite, scale: float, path: Path) -> None:
    """Profile a suite into a file."""
    path.write_text(profile(suite, scale), encoding="utf-8")
