"""What a job writes, counted, and kept in a file of its own too where that is asked for.

The transcript is there for tests and for the curious: what a page shows at the end must equal it, by hash.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import trio


class Writes(Protocol):
    """As much of a job's context as a page needs."""

    @property
    def job_id(self) -> str: ...
    async def write(self, text: str) -> None: ...


class Page:
    """The text of one job.

    Args:
        written: UTF-8 bytes that earlier attempts wrote up to the savepoint that this one goes on from.
        folder: where the transcript is kept, as ``<job id>.md``; None for none.

    **Resources**: no file is open between two calls.
    """

    def __init__(self, ctx: Writes, *, written: int = 0, folder: Path | None = None) -> None:
        self._ctx = ctx
        self._path = None if folder is None else folder / f"{ctx.job_id}.md"
        self.written = written
        """UTF-8 bytes so far: part of the state to save."""

    async def begin(self) -> None:
        """Cut the transcript to where this attempt goes on: what came after is written again.

        If an earlier attempt kept none, the part before would be missing: then there is none.
        """
        if self._path is not None and not await trio.to_thread.run_sync(_cut, self._path, self.written):
            self._path = None

    async def write(self, text: str) -> None:
        """Write ``text`` to the job's output and to the transcript.

        **Cancellation**: it is in both or in neither. (The transcript comes first: once it has the text,
        ``ctx.write`` puts the text into the output even if it is cancelled. If the process dies between
        the two, the next attempt cuts it off.)
        """
        if self._path is not None:
            await trio.to_thread.run_sync(_append, self._path, text)
        self.written += len(text.encode())
        await self._ctx.write(text)


def _cut(path: Path, length: int) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if file.seek(0, 2) < length:
            return False
        file.truncate(length)
    return True


def _append(path: Path, text: str) -> None:
    with path.open("ab") as file:
        file.write(text.encode())
