"""What this process has begun of what it claimed: how a claim without an answer costs nothing.

A claim may have been committed though its answer was lost, and then rows are claimed of which nobody here
knows. Only this process can tell them from those that it runs, so it tells the store with its next claim,
which gives the others back. (A claim that is repeated under an id of its own, as queues in the cloud have it,
would need that id in every row; what a process has begun, it knows without.)
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager

from trouper.store import leases


class Begun:
    """Of jobs their attempts, or of hooks their tries. It outlives the actor that claims."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._boots: set[int] = set()
        self.unsure = False
        """Whether the last claim was not answered."""

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, of: tuple[str, int]) -> bool:
        return self._numbers.get(of[0]) == of[1]

    def begin(self, job_id: str, number: int) -> None:
        """Attempt or try ``number`` begins."""
        self._numbers[job_id] = number

    def over(self, job_id: str) -> None:
        """What was begun last of it is not claimed any more, or never began."""
        self._numbers.pop(job_id, None)

    def keep(self, boot: int, claimed: Container[str]) -> None:
        """Forget what is not ``claimed`` any more under ``boot``, by whomever it was ended. Not before a
        claim under it was answered: until then what ran under the boot before may still have to be told."""
        if not self.unsure and self._boots <= {boot}:
            self._numbers = {id: number for id, number in self._numbers.items() if id in claimed}

    @contextmanager
    def claiming(self, boot: int) -> Iterator[leases.Begun | None]:
        """A claim under ``boot``: what to tell the store with it. One whose block an exception leaves was not
        answered."""
        self._boots.add(boot)
        sure = not self.unsure and len(self._boots) == 1
        self.unsure = True
        yield None if sure else leases.Begun(tuple(self._boots), frozenset(self._numbers.items()))
        self.unsure = False
        self._boots = {boot}
