"""Who waits for the end of a job: an event each, looked at in the step after each commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Waiters:
    """Those who wait, by job id. No entry is left when nobody does."""

    def __init__(self) -> None:
        self._events: dict[str, dict[trio.Event, None]] = {}

    @contextmanager
    def waiting(self, job_id: str) -> Iterator[trio.Event]:
        """An event that is set when the job may have ended."""
        event = trio.Event()
        events = self._events.setdefault(job_id, {})
        events[event] = None
        try:
            yield event
        finally:
            del events[event]
            if not events and self._events.get(job_id) is events:
                del self._events[job_id]

    def wake(self, job_id: str) -> None:
        """The job has ended."""
        for event in self._events.get(job_id, ()):
            event.set()

    def wake_all(self) -> None:
        """Some commit may not have been told of: everybody looks again."""
        for events in self._events.values():
            for event in events:
                event.set()
