"""The output of running jobs in SQLite: one journal row a commit, folded into blocks per job.

A row per job and commit would cost half a core at a thousand jobs. So a commit writes one journal
row with all jobs' new entries, and a job's entries are written as a block of its own once there is
enough of them; a journal row goes when all of it lies in blocks. What is not folded yet is held in
memory too (the *tail*), so that neither folding nor reading looks at the journal: it is read once,
at the next open.

What memory holds must follow the transaction: every change leaves a step in ``_undo``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import attrs
import orjson

from trouper.store.errors import StoreCorrupt
from trouper.store.options import StoreOptions
from trouper.store.output_log import OutputHash
from trouper.store.protocol import APPENDED_ASKS_AGAIN, Append, Appended, Refused
from trouper.store.records import Entry, Job, entry_bytes
from trouper.store.sqlite_blocks import cut_blocks, grow_last_block, read_blocks
from trouper.store.tables import Head, encode_entries, payload_of


@attrs.define(eq=False)
class LogHead(Head):
    """A running job's log: its first ``folded`` entries lie in blocks, the rest is ``tail``."""

    ord: int
    folded: int
    tail: list[Entry] = attrs.field(factory=list)
    tail_bytes: int = 0
    """About the size of the tail's encoding: its payload, quotes and commas."""
    first_seq: int = 0
    """The journal row that holds the first entry of the tail."""


_AROUND_ENTRY = 3  # quotes and a comma
_LATE_PART = 4  # of the time that a log may stay in the journal, the last of so many parts
_DELETED_PART = 8  # of the rows that the journal may have, as many are deleted at a time

_Item = tuple[int, int, int, int, Sequence[Entry]]
"""What a journal row holds of one append: jobs.ord, attempt, start, used_ms, entries."""


@attrs.define
class _Grown:
    """The appends of one commit, in columns: to make an object for each would cost as much as they do."""

    heads: list[LogHead] = attrs.field(factory=list)
    items: list[_Item] = attrs.field(factory=list)
    used_ms: list[int] = attrs.field(factory=list)
    """The running time of each head before."""
    full: list[LogHead] = attrs.field(factory=list)
    """Heads with enough for a block."""

    def take_back(self) -> list[LogHead]:
        """Have every head as it was; which they are."""
        for head, item, used_ms in reversed(list(zip(self.heads, self.items, self.used_ms, strict=True))):
            start, entries = item[2], item[4]
            del head.tail[len(head.tail) - len(entries) :]
            head.tail_bytes -= payload_of(entries) + _AROUND_ENTRY * len(entries)
            head.entries = start
            head.used_ms = used_ms
        return self.heads


class SqliteLog:
    """Heads, journal and blocks. Lives on the store's thread."""

    def __init__(self, connection: sqlite3.Connection, options: StoreOptions) -> None:
        self._db = connection
        self._options = options
        self._heads: dict[str, LogHead] = {}
        self._unfolded: dict[str, LogHead] = {}
        """Heads with a tail, in the order of ``first_seq``."""
        self._seq = 0
        self._oldest = 1
        self._grown = _Grown()
        """What this commit appends, before all else that it does."""
        self._undo: list[Callable[[], None]] = []
        self._folding = False
        """Whether this commit has put something into blocks."""
        self.blocks_written = 0
        self.head = self._heads.get

    # --- following the transaction ---

    def mark(self) -> int:
        """A place to roll back to."""
        return len(self._undo)

    def roll_back(self, mark: int) -> None:
        """Undo what was done in memory since ``mark``."""
        while len(self._undo) > mark:
            self._undo.pop()()
        # Put in order again, once, whatever was undone.
        unfolded = [head for head in self._heads.values() if head.tail]
        unfolded.sort(key=lambda head: head.first_seq)
        self._unfolded = {head.job_id: head for head in unfolded}

    def failed(self) -> None:
        """Nothing of this commit is durable: undo all of it."""
        self.roll_back(0)
        for head in self._grown.take_back():
            if not head.tail:
                self._unfolded.pop(head.job_id, None)
        self.committed()

    def committed(self) -> None:
        """The transaction is durable: there is no way back."""
        self._undo.clear()
        self._grown = _Grown()
        self._folding = False

    # --- heads ---

    def set_used_ms(self, head: LogHead, used_ms: int) -> None:
        if head.used_ms != used_ms:
            self._undo.append(partial(setattr, head, "used_ms", head.used_ms))
            head.used_ms = used_ms

    def begin(self, ord: int, job: Job) -> None:
        """Open a head at ``job.entries``, all of which must lie in blocks, and cut what is beyond."""
        self.cut(ord, job.entries)
        head = LogHead(
            job_id=job.id,
            attempt=job.attempt,
            fence=job.fence,
            entries=job.entries,
            used_ms=job.used_ms,
            ord=ord,
            folded=job.entries,
        )
        self._heads[job.id] = head
        self._undo.append(lambda: self._drop(head))

    def settle(self, job_id: str) -> None:
        """Fold what there is and close the head."""
        head = self._heads.get(job_id)
        if head is not None:
            self._fold(head)
            self._drop(head)
            self._undo.append(lambda: self._heads.__setitem__(job_id, head))

    def _drop(self, head: LogHead) -> None:
        self._heads.pop(head.job_id, None)
        self._unfolded.pop(head.job_id, None)

    def append(self, head: LogHead, entries: Sequence[Entry], payload: int, used_ms: int, /) -> None:
        """Add entries to a tail, and to the journal row of this commit."""
        start, tail, grown = head.entries, head.tail, self._grown
        grown.heads.append(head)
        grown.items.append((head.ord, head.attempt, start, used_ms, entries))
        grown.used_ms.append(head.used_ms)
        if not tail:
            self._begin_tail(head)
        tail += entries
        head.tail_bytes += payload + _AROUND_ENTRY * len(entries)
        if head.tail_bytes >= self._options.block_bytes:
            grown.full.append(head)
        head.entries = start + len(entries)
        head.used_ms = used_ms

    def append_all(
        self,
        requests: Sequence[Append],
        outputs: dict[str, tuple[int, int]],
        judge: Callable[[Append], Appended | Refused],
    ) -> list[Appended | Refused]:
        """Append as nearly all do: texts, by the attempt that runs, at the end of its log. What is anything
        else is for ``judge`` (``transactions.append``) to say. (What ``append`` does is here once more: to
        call it for each job would cost a tenth of all this.)"""
        heads, grown, block_bytes = self._heads, self._grown, self._options.block_bytes
        add_head, add_item, add_used = grown.heads.append, grown.items.append, grown.used_ms.append
        settled: list[Appended | Refused] = []
        for request in requests:
            head, start, entries = heads.get(request.job_id), request.start, request.entries
            if head is None or head.fence != request.fence or head.entries != start or not entries:
                settled.append(judge(request))
                continue
            try:
                text = "".join(entries)  # type: ignore[arg-type]  # an event is no text, and says so
                size = len(text) if text.isascii() else len(text.encode())
            except (TypeError, UnicodeEncodeError):
                settled.append(judge(request))
                continue
            used_ms, before, tail = request.used_ms, head.used_ms, head.tail
            if used_ms > before:
                head.used_ms = used_ms
            else:
                used_ms = before
            if not tail:
                self._begin_tail(head)
            tail += entries
            head.tail_bytes = size = head.tail_bytes + size + _AROUND_ENTRY * len(entries)
            if size >= block_bytes:
                grown.full.append(head)
            head.entries = end = start + len(entries)
            attempt = head.attempt
            add_head(head)
            add_item((head.ord, attempt, start, used_ms, entries))
            add_used(before)
            outputs[head.job_id] = (attempt, end)
            settled.append(APPENDED_ASKS_AGAIN)
        return settled

    def _begin_tail(self, head: LogHead) -> None:
        head.first_seq = self._seq + 1
        self._unfolded[head.job_id] = head

    # --- the end of a commit ---

    def flush(self) -> None:
        """Write this commit's journal row, and fold what has become enough or old."""
        grown = self._grown
        for head in grown.full:
            self._fold(head)
        items = grown.items
        if self._folding:
            both = zip(grown.heads, items, strict=True)
            items = [item for head, item in both if head.folded <= item[2]]
        # All in one call: for each job by itself the encoding costs more than the entries.
        seq = self._seq
        if items:
            seq += 1
            self._db.execute("INSERT INTO journal (seq, body) VALUES (?, ?)", (seq, orjson.dumps(items)))
        oldest = self._trim(seq)
        if (seq, oldest) != (self._seq, self._oldest):
            self._undo.append(partial(self._go_back, self._seq, self._oldest))
            self._seq, self._oldest = seq, oldest

    def _go_back(self, seq: int, oldest: int) -> None:
        self._seq, self._oldest = seq, oldest

    def _trim(self, seq: int) -> int:
        """Keep the journal short; give the oldest row that is left.

        Jobs that began together grow old together: were they all folded in the commit that must be rid of
        them, whatever else it carries would wait for thousands of blocks. So each of the commits before
        takes its share of those that are nearly as old.
        """
        most = self._options.journal_rows_max
        soon = most // _LATE_PART
        share = 1 + len(self._unfolded) // max(1, soon)
        while self._unfolded:
            straggler = next(iter(self._unfolded.values()))
            age = seq - straggler.first_seq
            if age < most and (age < most - soon or share == 0):
                break
            share = max(0, share - 1)
            self._fold(straggler)
        oldest = next(iter(self._unfolded.values()), None)
        needed = seq + 1 if oldest is None else oldest.first_seq
        # Rows go several at a time, or when none is needed any more; not all that there are, since SQLite
        # may write zeros over each page of them.
        several = max(1, most // _DELETED_PART)
        if needed == self._oldest or (self._unfolded and needed - self._oldest < several):
            return self._oldest
        needed = min(needed, self._oldest + several)
        self._db.execute("DELETE FROM journal WHERE seq < ?", (needed,))
        return needed

    def _fold(self, head: LogHead) -> None:
        if not head.tail:
            return
        self._folding = True
        self._undo.append(partial(self._unfold, head, head.folded, head.tail, head.tail_bytes))
        body = encode_entries(head.tail)
        if not grow_last_block(
            self._db, head.ord, head.folded, head.entries, body, self._options.block_bytes
        ):
            self._db.execute(
                'INSERT INTO blocks (job, start, "end", body) VALUES (?, ?, ?, ?)',
                (head.ord, head.folded, head.entries, body),
            )
            self.blocks_written += 1
        self._db.execute(
            "UPDATE jobs SET entries = ?, used_ms = ? WHERE ord = ?", (head.entries, head.used_ms, head.ord)
        )
        head.folded = head.entries
        head.tail = []
        head.tail_bytes = 0
        self._unfolded.pop(head.job_id, None)

    def _unfold(self, head: LogHead, folded: int, tail: list[Entry], tail_bytes: int) -> None:
        head.folded, head.tail, head.tail_bytes = folded, tail, tail_bytes

    # --- blocks ---

    def cut(self, ord: int, keep: int) -> None:
        """Cut a log without a head to ``keep`` entries."""
        cut_blocks(self._db, ord, keep)

    def read(self, ord: int, job_id: str, start: int, max_bytes: int) -> list[Entry]:
        page: list[Entry] = []
        size = 0
        for entry in self._entries(ord, self._heads.get(job_id), start):
            size += entry_bytes(entry)
            if page and size > max_bytes:
                break
            page.append(entry)
        return page

    def _entries(self, ord: int, head: LogHead | None, start: int) -> Iterator[Entry]:
        if head is None or start < head.folded:
            end = start
            for at, entries in read_blocks(self._db, ord, start):
                yield from entries[max(0, start - at) :]
                end = at + len(entries)
            if head is not None and end != head.folded:
                raise StoreCorrupt(f"the output of a job ends at {end}, not at {head.folded}")
        if head is not None:
            yield from head.tail[max(0, start - head.folded) :]

    def hash(self, ord: int) -> tuple[int, str]:
        """(entries, SHA-256) of a log without a head; what cannot be read is cut and set aside."""
        output_hash = OutputHash()
        count = 0
        try:
            for _, entries in read_blocks(self._db, ord, 0):
                for entry in entries:
                    output_hash.update(entry)
                count += len(entries)
        except StoreCorrupt as error:
            self._db.execute(
                "INSERT INTO set_aside (source, detail, body) SELECT 'blocks', ?, body FROM blocks"
                ' WHERE job = ? AND "end" > ?',
                (f"job {ord} from entry {count}: {error}", ord, count),
            )
            self._db.execute('DELETE FROM blocks WHERE job = ? AND "end" > ?', (ord, count))
        return count, output_hash.hexdigest()

    def statistics(self) -> dict[str, int]:
        return {
            "heads": len(self._heads),
            "unfolded_bytes": sum(head.tail_bytes for head in list(self._unfolded.values())),
            "journal_rows": max(0, self._seq - self._oldest + 1),
            "journal_rows_max": self._options.journal_rows_max,
            "blocks_written": self.blocks_written,
        }
