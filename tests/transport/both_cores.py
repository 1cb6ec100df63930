"""The server's side and the client's, whole but for the waiting: a session, a channel, outputs and a feed at
one end, the client's core at the other, and between them what is under way.

The database is the plainest there can be: rows in a dict, each with the seq of its last change, and the log
of each attempt as it was.
"""

from __future__ import annotations

import hashlib
import json

import attrs

from trouper.actors.channel import SubscriberChannel
from trouper.actors.channel_items import FeedChanges, FeedSnapshot
from trouper.actors.feed import FeedWindow
from trouper.actors.options import ChannelLimits
from trouper.actors.outputs import Outputs
from trouper.store.protocol import Changes, CommitNotice, OutputHead, OutputRange, Snapshot
from trouper.store.records import Counts, Entry, Job, JobState
from trouper.transport.client_core import ClientCore
from trouper.transport.client_events import Broken
from trouper.transport.messages import Welcome
from trouper.transport.options import GatewayOptions
from trouper.transport.session import Session
from trouper.transport.session_ports import Authenticate, Close

LIMITS = ChannelLimits(window_bytes=300, pages=2, feed_resume_rows=3)


def sha256(log: list[Entry]) -> str:
    digest = hashlib.sha256()
    for entry in log:
        digest.update(entry.encode() if isinstance(entry, str) else f"\0{entry[0]}\0{entry[1]}\0".encode())
    return digest.hexdigest()


class Database:
    """What is remembered. ``j1`` is the job that is watched; others only change their rows."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.seq = 0
        self.floor = 0
        self.rows: dict[str, Job] = {}
        self.logs: list[list[Entry]] = [[]]
        """The log of each attempt, from 0 (queued)."""
        self.change("j1", state=JobState.QUEUED)

    @property
    def log(self) -> list[Entry]:
        return self.logs[-1]

    @property
    def job(self) -> Job:
        return self.rows["j1"]

    def change(self, id: str, **fields: object) -> Job:
        self.seq += 1
        row = self.rows.get(id, Job(id=id, user="ada", name="reply"))
        self.rows[id] = attrs.evolve(row, feed_seq=self.seq, **fields)  # type: ignore[arg-type]
        return self.rows[id]

    def remove(self, id: str) -> None:
        del self.rows[id]
        self.seq += 1
        self.floor = self.seq

    def since(self, seq: int) -> Changes | None:
        changed = [row for row in self.rows.values() if row.feed_seq > seq]
        if not self.floor <= seq <= self.seq or len(changed) > LIMITS.feed_resume_rows:
            return None
        return Changes(seq, self.seq, tuple(sorted(changed, key=lambda row: row.feed_seq)), (), Counts())

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.seq, tuple(row for row in self.rows.values() if not row.state.terminal), (), Counts()
        )


class Node:
    """One life of the server, with at most one connection to it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.wanted: list[tuple[str, int]] = []
        self.openings: list[SubscriberChannel] = []
        self.outputs = Outputs(LIMITS.pages, lambda user, job, start: self.wanted.append((job, start)))
        self.window = FeedWindow(LIMITS.feed_resume_rows)
        self.channel: SubscriberChannel | None = None
        self.session: Session | None = None
        self.hello: Authenticate | None = None
        self.closed: Close | None = None
        self.now = 0.0

    # --- as the owner of its channel ---

    def feed_wanted(self, channel: SubscriberChannel) -> None:
        self.openings.append(channel)

    def seen(self, channel: SubscriberChannel, job_id: str) -> bool:
        return True

    # --- the connection ---

    def connected(self) -> None:
        self.hang_up()
        clock = lambda: self.now  # noqa: E731
        self.session = Session(GatewayOptions(), lambda: None, self._fault, clock, clock)

    def hang_up(self) -> None:
        if self.session is not None:
            self.session.end()
        if self.channel is not None:
            self.channel.close()
        self.session = self.channel = self.hello = None

    @staticmethod
    def _fault(what: str, error: Exception) -> None:
        raise AssertionError(what) from error

    def receive(self, text: str) -> None:
        if self.session is None:
            return
        self.now += 0.01
        for action in self.session.receive(text):
            if isinstance(action, Authenticate):
                self.hello = action
            elif isinstance(action, Close):
                self.closed = action

    def authenticated(self) -> None:
        if self.session is None or self.hello is None or self.channel is not None:
            return
        feed = self.hello.hello.feed
        self.channel = SubscriberChannel(
            "s",
            "ada",
            epoch=self.database.epoch,
            cursor=None if feed is None else (feed.epoch, feed.seq),
            visible=True,
            wants_feed=True,
            outputs=self.outputs,
            owner=self,
            limits=LIMITS,
        )
        self.openings.append(self.channel)
        welcome = Welcome(
            session="s",
            user="ada",
            epoch=self.database.epoch,
            now=self.now,
            beat_ms=25000,
            silence_ms=35000,
            window=LIMITS.window_bytes,
        )
        for action in self.session.opened(self.channel, welcome):
            assert not isinstance(action, Close), action

    def send(self) -> bytes | None:
        return None if self.session is None else self.session.take_message()

    # --- the store's answers ---

    def committed(self, *jobs: Job, grew: bool = False) -> None:
        outputs = {"j1": (self.database.job.attempt, len(self.database.log))} if grew else {}
        self.outputs.committed(CommitNotice(outputs, jobs, {}, False))

    def feed_moves(self) -> None:
        """The notifier reads what is new."""
        if self.window.seq is None or self.window.seq >= self.database.seq:
            return
        changes = self.database.since(self.window.seq)
        if changes is None:
            self.window.start(self.database.seq, Counts())
        else:
            self.window.merge(changes)
        if self.channel is not None:
            self.channel.feed_changed()

    def answer(self) -> None:
        """The oldest wish of each kind."""
        if self.openings:
            self._open_feed(self.openings.pop(0))
        if self.wanted:
            self._read_output(*self.wanted.pop(0))

    def _open_feed(self, channel: SubscriberChannel) -> None:
        if channel.closed:
            return
        cursor, database = channel.cursor, self.database
        slot: FeedChanges | FeedSnapshot = FeedSnapshot(database.epoch, database.snapshot())
        if cursor is not None and cursor[0] == database.epoch:
            changes = database.since(cursor[1])
            if changes is not None:
                slot = FeedChanges(database.epoch, changes)
        if self.window.seq is None:
            self.window.start(database.seq, Counts())
        channel.feed_opened(self.window, slot, cursor)

    def _read_output(self, job_id: str, start: int) -> None:
        head = self.outputs.get(job_id)
        if head is None:
            return
        database = self.database
        if start < 0:
            self.outputs.loaded(job_id, OutputHead(database.job, len(database.log)))
        else:
            page = tuple(database.log[start : start + 7])
            head.add_page(OutputRange(database.job.attempt, start, page))
            head.mark_watchers()


class Line:
    """What is under way between the client and a node, in order, both ways."""

    def __init__(self, core: ClientCore) -> None:
        self.core = core
        self.up: list[str] = []
        self.down: list[bytes] = []

    def cut(self) -> None:
        self.up.clear()
        self.down.clear()

    def client_says(self) -> None:
        if items := self.core.take():
            self.up.append(json.dumps(items))

    def node_says(self, node: Node) -> None:
        if (message := node.send()) is not None:
            self.down.append(message)

    def up_arrives(self, node: Node) -> None:
        if self.up:
            node.receive(self.up.pop(0))

    def down_arrives(self) -> None:
        if self.down:
            events = self.core.received(json.loads(self.down.pop(0)))
            assert not any(isinstance(event, Broken) for event in events), events
