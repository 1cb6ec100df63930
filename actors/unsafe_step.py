"""The step of an attempt that must not be repeated: from its begin until a savepoint is behind it.

That it has ended is not enough to forget it: an attempt that goes on from an earlier savepoint would come to
it again. So the row is marked until there is a savepoint, made as the step's last act or after it, and no
attempt follows one that breaks off before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

TAKE_BACK_S: Final = 1.0  # for taking back the mark of a step that did not begin


class UnsafeStep:
    """The one step of an attempt; a next one may follow it, none begins inside of it.

    ``mark(step)`` records in the job's row which step is not to be repeated (None: there is none); ``safe``
    is called when there is none any more.
    """

    def __init__(self, mark: Callable[[str | None], Awaitable[None]], safe: Callable[[], None]) -> None:
        self._mark = mark
        self._safe = safe
        self.name: str | None = None
        """The step that an attempt after this one might repeat."""
        self.under_way = False
        self._saved_inside = False

    @property
    def place(self) -> str:
        """Where the job is with it, for people."""
        return (
            f"{'inside of' if self.under_way else 'without a savepoint behind'} the unsafe step {self.name!r}"
        )

    async def begin(self, step: str) -> None:
        """Record that it begins. **Cancellation**: it does not begin, and the mark is taken back."""
        before, self.name, self.under_way, self._saved_inside = self.name, step, True, False
        try:
            await self._mark(step)
        except BaseException:
            # It will not begin. The mark may be there all the same: try to take it back, not for long.
            with trio.move_on_after(TAKE_BACK_S, shield=True):
                await self._mark(before)
            self.name, self.under_way = before, False
            if before is None:
                self._safe()
            raise

    async def end(self) -> None:
        """It has ended. **Cancellation**: it counts as under way, which is the safe side."""
        if self._saved_inside:
            await self._forget()
        else:
            self.under_way = False

    async def saved(self) -> None:
        """A savepoint was made. **Cancellation**: the mark stays, which is the safe side."""
        if self.under_way:
            self._saved_inside = True
        elif self.name is not None:
            await self._forget()

    async def _forget(self) -> None:
        await self._mark(None)
        self.name, self.under_way = None, False
        self._safe()
