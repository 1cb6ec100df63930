"""Where the outputs stand: one ``OutputHead`` for each job that runs here or that somebody watches.

No ``await``. After each commit the heads move and mark the channels that watch them, without a
message (the hot path). A range that is not in memory is asked for with ``on_page_wanted``; whoever
serves that (the user's notifier) reads it from the store and gives it to ``add_page``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import attrs

from trouper.actors.attempt import Progress
from trouper.actors.channel_items import OutputItem, Part
from trouper.actors.pace import Pace
from trouper.store.output_log import OutputLog
from trouper.store.protocol import CommitNotice, OutputRange
from trouper.store.protocol import OutputHead as StoredHead
from trouper.store.records import Entry, Job, entry_bytes, keep_after

_READ_ENTRIES = 4096  # entries looked at in one go; the byte limit cuts finer


class Watcher(Protocol):
    """A channel, as a head sees it."""

    user: str

    def output_changed(self, job_id: str) -> None: ...


@attrs.define
class Piece:
    """Neighbouring entries of a log, as one frame holds them."""

    job_id: str
    attempt: int
    start: int
    end: int
    parts: list[Part]
    size: int
    """Payload, in bytes of UTF-8."""
    latest: OutputItem | None = None
    """What a session was given of it last. Who has been sent as much is given the same one, so that what is
    made of it is made once."""

    def item(self, sent: int) -> OutputItem:
        """What a session is given with which it has been sent ``sent`` bytes."""
        if self.latest is None:
            item = OutputItem(self.job_id, self.attempt, self.start, self.end, self.parts, sent)
        else:
            item = self.latest.for_sent(sent)
        self.latest = item
        return item

    @staticmethod
    def of(job_id: str, attempt: int, start: int, entries: list[Entry], budget: int) -> Piece:
        """As many of ``entries`` as fit into ``budget`` bytes, at least one."""
        try:
            text = "".join(entries)  # type: ignore[arg-type]  # an event is no text, and says so
            size = len(text) if text.isascii() else len(text.encode())
            if size <= budget:
                return Piece(job_id, attempt, start, start + len(entries), [text], size)
        except TypeError:
            pass
        parts: list[Part] = []
        texts: list[str] = []
        size = taken = 0
        for entry in entries:
            entry_size = entry_bytes(entry)
            if taken and size + entry_size > budget:
                break
            size += entry_size
            taken += 1
            if isinstance(entry, str):
                texts.append(entry)
                continue
            if texts:
                parts.append("".join(texts))
                texts = []
            parts.append(entry)
        if texts:
            parts.append("".join(texts))
        return Piece(job_id, attempt, start, start + taken, parts, size)


class OutputHead:
    """The committed output of one job, as far as this node needs it.

    ``loaded`` is False until the row is known: then ``attempt`` and ``entries`` mean nothing yet.
    """

    def __init__(self, job_id: str, pages_max: int) -> None:
        self.job_id = job_id
        self.job: Job | None = None
        self.loaded = False
        self.ended = False
        self.missing = False
        """The store knows no such job."""
        self.damaged = False
        """Part of the output cannot be read."""
        self.attempt = -1
        self.entries = 0
        self.log: OutputLog | None = None
        self.progress: Progress | None = None
        self.watchers: dict[Watcher, None] = {}
        self.quiet: dict[Watcher, None] = {}
        """Those that are to be told when it grows. The others look by themselves."""
        self._pages: OrderedDict[int, list[Entry]] = OrderedDict()
        self._pages_max = pages_max
        self._wanted: int | None = None
        self._piece: Piece | None = None
        """The last that was read, for the next session at the same cursor."""

    @property
    def pages(self) -> int:
        """Pages of older output in memory."""
        return len(self._pages)

    def keep_for(self, attempt: int, entries: int) -> int:
        """What a reader at a cursor of another attempt, or beyond the log, may keep (O3)."""
        assert self.job is not None
        if attempt == self.attempt and entries > self.entries:
            return 0  # a cursor that this log never had
        return keep_after(self.job.keeps, attempt, entries)

    # --- moving ---

    def row_changed(self, job: Job) -> None:
        """Take over the row unless a newer one is known: reads and commits may arrive crossed."""
        if self.job is not None and job.feed_seq <= self.job.feed_seq:
            return
        self.job = job
        self.loaded = True
        self.ended = job.state.terminal
        self.missing = False
        if job.attempt > self.attempt:
            self.attempt, self.entries = job.attempt, job.entries
            self._pages.clear()
            self._wanted = None
            self.damaged = False
            self.progress = None
        elif job.state.terminal:
            self.entries = max(self.entries, job.entries)

    def grew(self, attempt: int, entries: int) -> None:
        if attempt == self.attempt:
            self.entries = max(self.entries, entries)
        elif attempt > self.attempt:
            self.attempt, self.entries = attempt, entries
            self._pages.clear()

    def mark_watchers(self) -> None:
        """Tell all of them: something changed that they do not look for by themselves."""
        self.quiet.clear()
        for watcher in list(self.watchers):
            watcher.output_changed(self.job_id)

    def mark_quiet(self) -> None:
        """Tell those that it has grown."""
        quiet, self.quiet = self.quiet, {}
        for watcher in quiet:
            watcher.output_changed(self.job_id)

    # --- reading ---

    def read(self, start: int, limit: int) -> list[Entry] | None:
        """Committed entries from ``start``, at most ``limit``, at least one; None: not in memory."""
        if self.log is not None and self.log.attempt == self.attempt:
            entries = self.log.read(start, limit)
            if entries:
                return entries
        for page_start, page in reversed(self._pages.items()):
            if page_start <= start < page_start + len(page):
                self._pages.move_to_end(page_start)
                return page[start - page_start : start - page_start + limit]
        return None

    def piece(self, start: int, budget: int) -> Piece | None:
        """Committed entries from ``start``, at most of ``budget`` bytes, at least one; None: not in memory.

        If the latest savepoint is ahead, it ends there at the latest: no frame spans it (O3). All sessions
        at one cursor are given the same one, made once.
        """
        savepoint = self.log.savepoint if self.log is not None else self.job.savepoint if self.job else 0
        end = savepoint if start < savepoint < self.entries else self.entries
        last = self._piece
        if (
            last is not None
            and last.start == start
            and last.end == end
            and last.attempt == self.attempt
            and last.size <= budget
        ):
            return last
        entries = self.read(start, min(_READ_ENTRIES, end - start))
        if entries is None:
            return None
        piece = Piece.of(self.job_id, self.attempt, start, entries, budget)
        self._piece = piece if len(self.watchers) > 1 else None
        return piece

    def want(self, start: int) -> bool:
        """Whether a page from ``start`` must be asked for now (single-flight)."""
        if self._wanted is not None:
            return False
        self._wanted = start
        return True

    @property
    def waits(self) -> bool:
        """Whether the row or a page was asked for and has not come."""
        return self._wanted is not None

    def page_failed(self) -> None:
        self._wanted = None

    def add_page(self, page: OutputRange) -> None:
        self._wanted = None
        if page.attempt == self.attempt and page.entries:
            self._put(page.start, list(page.entries))

    def close_log(self) -> None:
        """The attempt's actor is gone: keep its tail as a page for those who are reading it."""
        if self.log is None:
            return
        start, entries = self.log.tail()
        if entries and self.watchers and self.log.attempt == self.attempt:
            self._put(start, entries)
        self.log = None

    def _put(self, start: int, entries: list[Entry]) -> None:
        self._pages[start] = entries
        self._pages.move_to_end(start)
        while len(self._pages) > self._pages_max:
            self._pages.popitem(last=False)


class Outputs:
    """The heads by job id. A head lives while its job runs here or a channel watches it.

    ``on_page_wanted`` is called with (user of the channel that wants it, job id, start), where start
    -1 asks for the row.
    """

    def __init__(self, pages_max: int, on_page_wanted: Callable[[str, str, int], None]) -> None:
        self._heads: dict[str, OutputHead] = {}
        self._pages_max = pages_max
        self._on_page_wanted = on_page_wanted
        self.pace = Pace()
        """Shared by all who write here."""

    def __len__(self) -> int:
        return len(self._heads)

    def statistics(self) -> dict[str, int]:
        """How many heads there are, and the most that one of them holds."""
        logs = [head.log.statistics() for head in self._heads.values() if head.log is not None]
        return {
            "heads": len(self._heads),
            "logs": len(logs),
            "pending_bytes_most": max((log.pending_bytes for log in logs), default=0),
            "tail_bytes_most": max((log.tail_bytes for log in logs), default=0),
            "bytes_most": max((log.bytes_total for log in logs), default=0),
            "pages_most": max((head.pages for head in self._heads.values()), default=0),
        }

    def get(self, job_id: str) -> OutputHead | None:
        return self._heads.get(job_id)

    def committed(self, notice: CommitNotice) -> None:
        """The step after each commit: move the heads, mark the channels."""
        heads = self._heads
        for job in notice.jobs:
            if (head := heads.get(job.id)) is not None:
                head.row_changed(job)
        for job_id, (attempt, entries) in notice.outputs.items():
            if (head := heads.get(job_id)) is not None:
                if attempt == head.attempt:  # the hot path: nobody is called who looks by himself
                    if entries > head.entries:
                        head.entries = entries
                    if head.quiet:
                        head.mark_quiet()
                else:
                    head.grew(attempt, entries)
                    head.mark_watchers()
        for job in notice.jobs:
            if (head := heads.get(job.id)) is not None:
                head.mark_watchers()

    # --- the job actor's side ---

    def open_log(self, job: Job, log: OutputLog) -> None:
        head = self._head(job.id)
        head.row_changed(job)
        head.log = log

    def close_log(self, log: OutputLog) -> None:
        head = self._heads.get(log.job_id)
        if head is not None and head.log is log:
            head.close_log()
            self._drop_if_idle(head)

    def progressed(self, progress: Progress) -> None:
        head = self._heads.get(progress.job_id)
        if head is not None and head.attempt == progress.attempt:
            head.progress = progress
            head.mark_watchers()

    # --- the channels' side ---

    def watch(self, job_id: str, watcher: Watcher) -> OutputHead:
        """The head of a job, with ``watcher`` among its own. If it is not loaded, it is asked for."""
        head = self._head(job_id)
        head.watchers[watcher] = None
        self.want_row(head, watcher.user)
        return head

    def want_row(self, head: OutputHead, user: str) -> None:
        if not head.loaded and head.want(-1):
            self._on_page_wanted(user, head.job_id, -1)

    def unwatch(self, job_id: str, watcher: Watcher) -> None:
        head = self._heads.get(job_id)
        if head is not None:
            head.watchers.pop(watcher, None)
            head.quiet.pop(watcher, None)
            if head.waits:  # who was to serve that may be gone with this reader: the next one asks
                head.page_failed()
                for other in head.watchers:
                    self.want_row(head, other.user)
                head.mark_watchers()
            self._drop_if_idle(head)

    def want_page(self, head: OutputHead, start: int, user: str) -> None:
        if head.want(start):
            self._on_page_wanted(user, head.job_id, start)

    def loaded(self, job_id: str, stored: StoredHead | None) -> None:
        """The answer to a wish for a row (``start`` -1)."""
        head = self._heads.get(job_id)
        if head is None:
            return
        head.page_failed()
        if stored is None:
            head.missing = True
        else:
            head.row_changed(stored.job)
            head.grew(stored.job.attempt, stored.entries)
        head.mark_watchers()

    def _head(self, job_id: str) -> OutputHead:
        head = self._heads.get(job_id)
        if head is None:
            head = self._heads[job_id] = OutputHead(job_id, self._pages_max)
        return head

    def _drop_if_idle(self, head: OutputHead) -> None:
        if not head.watchers and head.log is None:
            self._heads.pop(head.job_id, None)
