"""What lies beside the jobs in memory: completions, questions, signals, and keys cancelled too early."""

from __future__ import annotations

from collections.abc import Callable

from trouper.store.completions import MemoryCompletions
from trouper.store.questions import MemoryQuestions
from trouper.store.signals import MemorySignals


class MemoryBeside:
    """The part of ``Tables`` for them."""

    def __init__(self, name_of: Callable[[str], str]) -> None:
        """``name_of``: that of the job with this id."""
        self._tombstones: dict[tuple[str, str], float] = {}
        self.completions = MemoryCompletions(name_of)
        self.questions = MemoryQuestions()
        self.signals = MemorySignals()

    # --- keys that were cancelled before their job came ---

    def tombstone(self, user: str, key: str) -> float | None:
        return self._tombstones.get((user, key))

    def put_tombstone(self, user: str, key: str, expires_at: float, *, now: float, most: int) -> None:
        self._tombstones[user, key] = expires_at
        for place in [place for place, end in self._tombstones.items() if end <= now]:
            del self._tombstones[place]
        of_user = sorted((end, place) for place, end in self._tombstones.items() if place[0] == user)
        for _, place in of_user[: max(0, len(of_user) - most)]:
            del self._tombstones[place]

    def remove_tombstone(self, user: str, key: str) -> None:
        self._tombstones.pop((user, key), None)

    def _remembered(self, now: float) -> list[tuple[str, str]]:
        return [place for place, end in self._tombstones.items() if end > now]

    # --- all of them ---

    def _jumped_beside(self, by_s: float) -> None:
        for place in self._tombstones:
            self._tombstones[place] += by_s
        self.completions.clock_jumped(by_s)

    def _beside(self) -> dict[str, int]:
        """How many there are of each."""
        return {
            "tombstones": len(self._tombstones),
            "completions": len(self.completions),
            "signals": len(self.signals),
            "questions": len(self.questions),
        }
