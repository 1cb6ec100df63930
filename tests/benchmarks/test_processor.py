"""Who had the processors, by the kernel's counts."""

from __future__ import annotations

import os
from collections.abc import Iterator

from benchmarks.processor import Others, busy_s

HZ = os.sysconf("SC_CLK_TCK")


def stat(user_s: int, nice_s: int = 0, system_s: int = 0, steal_s: int = 0) -> str:
    """Two cores, the second of which has worked that long; all else is idle, or interrupts."""
    user, nice, system, steal = (HZ * seconds for seconds in (user_s, nice_s, system_s, steal_s))
    second = f"cpu1 {user} {nice} {system} 900000 80000 7000 6000 {steal} 0 0"
    return f"cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 {99 * HZ} 0 0 0 0 0 0 0 0 0\n{second}\nintr 1 2 3\n"


def others(*stats: str | None, ours_s: float = 0.0, seconds: float = 10.0, cores: int = 1) -> Others:
    texts, times, used = iter(stats), iter((100.0, 100.0 + seconds)), iter((5.0, 5.0 + ours_s))
    taken: Iterator[float] = times
    return Others(range(2 - cores, 2), lambda: next(used), lambda: next(texts), lambda: next(taken))


def test_a_core_is_busy_with_programs_and_when_its_host_takes_it() -> None:
    assert busy_s(stat(1, 2, 3, 4), {1}) == 10
    assert busy_s(stat(1), {0, 1}) == 100


def test_others_had_what_ours_did_not_have() -> None:
    assert others(stat(50), stat(56, steal_s=2), ours_s=3.0).share() == 0.5
    assert others(stat(50), stat(56, steal_s=2), ours_s=3.0, cores=2).share() == 0.25


def test_others_had_nothing_when_ours_is_counted_finer_than_the_kernel_counts() -> None:
    assert others(stat(50), stat(53), ours_s=3.01).share() == 0


def test_nothing_is_told_where_the_kernel_does_not_count() -> None:
    assert others(None, None).share() is None
