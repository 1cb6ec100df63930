"""Server and client cores against each other: whatever is cut, late or begun anew, the copy is a prefix."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.transport.both_cores import Database, Line, Node, sha256
from tests.transport.client_model import Reader, read_all, tokens
from tests.transport.client_wire import make_core
from trouper.store.records import Entry, JobState

few = st.integers(1, 6)


class BothCores(RuleBasedStateMachine):
    """A job, a feed, two ends and a bad line between them."""

    def __init__(self) -> None:
        super().__init__()
        self.databases = 1
        self.database = Database("e1")
        self.node = Node(self.database)
        self.core = make_core(output_buffer_bytes=4000, max_bounds=8)
        self.line = Line(self.core)
        self.serial = 0
        self.output = self.core.open_output("j1", 0, 0)
        self.reader = Reader()
        self.connect()

    def connect(self) -> None:
        self.node.hang_up()
        self.line.cut()
        self.core.closed(None)
        self.node.connected()
        self.core.opened()

    # --- what is remembered ---

    @precondition(lambda self: self.database.job.state is JobState.RUNNING)
    @rule(count=st.integers(1, 12), events=st.booleans(), heard=st.booleans())
    def the_job_writes_and_mostly_it_is_heard(self, count: int, events: bool, heard: bool) -> None:
        self.the_job_writes(count, events)
        if heard:
            self.all_is_heard()

    def all_is_heard(self) -> None:
        for _ in range(3):
            self.all_is_well_for_a_while()
        self.the_application_reads()
        self.the_copy_is_a_prefix_of_the_log_of_its_attempt()

    def the_job_writes(self, count: int, events: bool) -> None:
        for _ in range(count):
            self.serial += 1  # no two entries are alike, so nothing passes for what it is not
            text = f"é{self.serial};"
            entry: Entry = ("event", f'"{text}"') if events and self.serial % 3 == 0 else text
            self.database.log.append(entry)
        self.node.committed(grew=True)

    @precondition(lambda self: not self.database.job.state.terminal)
    @rule(share=st.integers(0, 8))
    def the_next_attempt_is_claimed(self, share: int) -> None:
        database = self.database
        keep = len(database.log) * share // 8
        database.logs.append(database.log[:keep])
        job = database.job
        fields = {"attempt": job.attempt + 1, "keeps": (*job.keeps, keep), "savepoint": keep, "entries": keep}
        self.node.committed(database.change("j1", state=JobState.RUNNING, **fields))

    @precondition(lambda self: self.database.job.state is JobState.RUNNING)
    @rule(first=st.integers(0, 8), second=st.integers(0, 8), count=st.integers(1, 12), heard=st.booleans())
    def two_attempts_die_while_nothing_is_heard(
        self, first: int, second: int, count: int, heard: bool
    ) -> None:
        if heard:
            self.all_is_heard()
        self.the_next_attempt_is_claimed(first)
        self.the_job_writes(count, False)
        self.the_next_attempt_is_claimed(second)
        self.the_job_writes(count, False)
        if heard:
            self.all_is_heard()

    @precondition(lambda self: self.database.job.state is JobState.RUNNING)
    @rule()
    def the_job_saves(self) -> None:
        entries = len(self.database.log)
        self.node.committed(self.database.change("j1", savepoint=entries, entries=entries))

    @precondition(lambda self: self.database.job.state is JobState.RUNNING and len(self.database.log) > 20)
    @rule()
    def the_job_ends(self) -> None:
        self.end()

    def end(self) -> None:
        log = self.database.log
        fields = {"entries": len(log), "sha256": sha256(log)}
        self.node.committed(self.database.change("j1", state=JobState.COMPLETED, **fields))

    @rule(which=few, ended=st.booleans())
    def another_row_changes(self, which: int, ended: bool) -> None:
        state = JobState.COMPLETED if ended else JobState.RUNNING
        self.node.committed(self.database.change(f"other{which}", state=state))

    @rule(which=few)
    def another_row_is_removed(self, which: int) -> None:
        if f"other{which}" in self.database.rows:
            self.database.remove(f"other{which}")

    @precondition(lambda self: len(self.database.log) > 12)
    @rule()
    def the_database_is_another_one(self) -> None:
        self.databases += 1
        attempts, entries = self.database.job.attempt, len(self.database.log)
        self.database = Database(f"e{self.databases}")
        self.node = Node(self.database)
        for _ in range(attempts):  # a cursor of the one before would pass for one of this
            self.the_next_attempt_is_claimed(8)
            self.the_job_writes(entries, False)
        self.connect()

    # --- the server and the line ---

    @rule()
    def the_server_is_killed_and_started_again(self) -> None:
        self.node = Node(self.database)
        self.connect()

    @rule()
    def the_connection_is_cut(self) -> None:
        self.connect()

    @rule()
    def the_client_is_who_it_says(self) -> None:
        self.node.authenticated()

    @rule()
    def the_store_answers(self) -> None:
        self.node.answer()

    @rule()
    def the_notifier_reads_the_feed(self) -> None:
        self.node.feed_moves()

    @rule()
    def the_server_says_what_is_due(self) -> None:
        self.line.node_says(self.node)

    @rule()
    def the_client_says_what_is_due(self) -> None:
        self.line.client_says()

    @rule(count=few)
    def messages_reach_the_client(self, count: int) -> None:
        for _ in range(count):
            self.line.down_arrives()

    @precondition(lambda self: bool(self.line.down) and b"welcome" not in self.line.down[0])
    @rule()
    def a_message_comes_twice(self) -> None:
        self.line.down.insert(0, self.line.down[0])

    @rule(count=few)
    def messages_reach_the_server(self, count: int) -> None:
        for _ in range(count):
            self.line.up_arrives(self.node)

    @rule()
    def all_is_well_for_a_while(self) -> None:
        for _ in range(6):
            self.line.client_says()
            self.line.up_arrives(self.node)
            self.node.authenticated()
            self.node.answer()
            self.node.feed_moves()
            self.line.node_says(self.node)
            self.line.down_arrives()

    @rule()
    def the_application_reads(self) -> None:
        read_all(self.core, self.output, self.reader)

    # --- what holds ---

    @invariant()
    def neither_end_finds_fault_with_the_other(self) -> None:
        assert self.node.closed is None
        assert self.core.reattached == 0

    @invariant()
    def the_copy_is_a_prefix_of_the_log_of_its_attempt(self) -> None:
        if self.core.feed.epoch != self.database.epoch or not self.output.drained:
            return
        attempt, n = self.output.attempt, self.output.entries
        held = tokens(self.database.logs[attempt][:n]) if n else []
        assert self.reader.copy == held

    @invariant()
    def nothing_is_known_that_was_not_so(self) -> None:
        if self.core.feed.epoch == self.database.epoch:
            assert (self.core.feed.seq or 0) <= self.database.seq
            for row in self.core.feed.jobs.values():
                assert row.seq <= self.core.feed.seq

    def teardown(self) -> None:
        """The job ends and the line gets well: both ends hold the same."""
        if self.database.job.state is JobState.QUEUED:
            self.the_next_attempt_is_claimed(0)
        if self.database.job.state is JobState.RUNNING:
            self.the_job_writes(3, True)
            self.end()
        for _ in range(100):
            self.all_is_well_for_a_while()
            read_all(self.core, self.output, self.reader)
        assert self.output.failure is None
        assert self.reader.end is not None
        assert self.reader.end.verified
        assert self.reader.copy == tokens(self.database.log)
        assert (self.core.feed.epoch, self.core.feed.seq) == (self.database.epoch, self.database.seq)
        known = {id: row.state for id, row in self.core.feed.jobs.items()}
        for id, row in self.database.rows.items():
            if not row.state.terminal or id in known:
                assert known[id] == row.state
        assert self.node.channel is not None
        assert self.node.channel.statistics().in_flight_bytes == 0


BothCores.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestWhateverIsCutBothCoresHoldTheSameInTheEnd = pytest.mark.clause("O2", "O3", "O6", "N2", "N3")(
    BothCores.TestCase
)
