"""The client's copy of an output against the plainest gateway, over the worst of networks."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.transport import client_wire as wire
from tests.transport.client_model import Gateway, Reader, deliver, read_all, tokens
from trouper.store.records import Entry

few = st.integers(1, 6)


class CopyOfAnOutput(RuleBasedStateMachine):
    """Whatever happens, the copy is a prefix of the log of its attempt, and ends equal to it."""

    def __init__(self) -> None:
        super().__init__()
        self.gateway = Gateway()
        self.core = wire.make_core(output_buffer_bytes=1500, max_bounds=8)
        self.core.opened()
        self.output = self.core.open_output("j1", 0, 0)
        self.reader = Reader()
        self.serial = 0
        self.of_a_lost_past = False
        """What the client holds may be what a backup never had, and nobody could tell it yet."""
        self.gateway.claim(0)
        self.all_is_exchanged()

    # --- the job --------------------------------------------------------------------------------

    def the_job_writes(self, count: int, events: bool) -> None:
        for _ in range(count):
            self.serial += 1  # no two entries are alike, so nothing passes for what it is not
            text = f"é{self.serial};"
            entry: Entry = ("event", f'"{text}"') if events and self.serial % 3 == 0 else text
            self.gateway.log.append(entry)

    @precondition(lambda self: not self.gateway.ended)
    @rule(share=st.integers(1, 16))
    def the_next_attempt_is_claimed(self, share: int) -> None:
        self.gateway.claim(len(self.gateway.log) * share // 16)

    @precondition(lambda self: len(self.gateway.log) > 30)
    @rule()
    def the_job_ends(self) -> None:
        self.gateway.ended = True

    @precondition(lambda self: len(self.gateway.log) > 12 and not self.gateway.ended)
    @rule()
    def the_database_is_another_one(self) -> None:
        self.gateway.begin_again()
        self.reconnect()

    @precondition(lambda self: not self.gateway.ended)
    @rule(back=st.integers(0, 3), written=st.integers(0, 20))
    def the_database_is_restored_from_a_backup(self, back: int, written: int) -> None:
        self.gateway.restore(max(0, self.gateway.attempt - back), written)
        held, n = self.output.attempt, self.output.entries
        self.of_a_lost_past |= held > self.gateway.attempt or n > len(self.gateway.logs[held])
        self.what_began_again_is_of_this_past()
        self.reconnect()

    def what_began_again_is_of_this_past(self) -> None:
        if self.output.entries == 0:
            self.of_a_lost_past = False

    # --- the network ----------------------------------------------------------------------------

    @rule(most=few)
    def the_gateway_sends(self, most: int) -> None:
        self.gateway.send(most)

    @rule(count=few)
    def items_arrive(self, count: int) -> None:
        deliver(self.core, self.gateway, count, self.what_began_again_is_of_this_past)

    @rule()
    def the_client_s_items_arrive(self) -> None:
        self.gateway.take(self.core.take())

    @rule()
    def all_is_exchanged(self) -> None:
        """The network is as it mostly is."""
        for _ in range(3):
            self.gateway.take(self.core.take())
            self.gateway.send(2)
            deliver(self.core, self.gateway, 100, self.what_began_again_is_of_this_past)

    @precondition(lambda self: self.gateway.attempt > 0 and not self.gateway.ended)
    @rule(count=few, events=st.booleans(), most=few, arrive=st.booleans())
    def the_job_writes_and_it_is_sent(self, count: int, events: bool, most: int, arrive: bool) -> None:
        self.the_job_writes(count, events)
        for _ in range(3):
            self.gateway.send(most)
        if arrive:
            self.all_is_exchanged()
            self.the_application_reads_all()

    @rule()
    def the_connection_is_cut(self) -> None:
        self.gateway.hang_up()
        self.reconnect()

    def reconnect(self) -> None:
        self.core.closed(None)
        self.core.opened()

    @rule(index=st.integers(0, 5))
    def a_frame_is_lost(self, index: int) -> None:
        frames = [item for item in self.gateway.under_way if item["t"] == "output"]
        if index < len(frames):
            self.gateway.under_way.remove(frames[index])

    @rule(index=st.integers(0, 5))
    def an_item_comes_twice(self, index: int) -> None:
        places = [n for n, item in enumerate(self.gateway.under_way) if item["t"] in ("output", "rewind")]
        if index < len(places):
            place = places[index]
            self.gateway.under_way.insert(place, self.gateway.under_way[place])

    @rule(index=st.integers(0, 2))
    def a_rewind_comes_again_later(self, index: int) -> None:
        rewinds = [item for item in self.gateway.under_way if item["t"] == "rewind"]
        if index < len(rewinds):
            self.gateway.under_way.append(rewinds[index])

    # --- the application ------------------------------------------------------------------------

    @rule(count=few)
    def the_application_reads(self, count: int) -> None:
        for _ in range(count):
            item = self.core.read(self.output)
            if item is not None:
                self.reader.add(item)

    @rule()
    def the_application_reads_all(self) -> None:
        read_all(self.core, self.output, self.reader)
        self.the_copy_is_a_prefix()

    @invariant()
    def the_copy_is_a_prefix(self) -> None:
        if not self.output.drained or self.of_a_lost_past:
            return
        attempt, n = self.output.attempt, self.output.entries
        if self.core.welcomed and self.core.feed.epoch == self.gateway.name:
            assert self.reader.copy == (tokens(self.gateway.logs[attempt][:n]) if n else [])

    def teardown(self) -> None:
        """The job ends and the network gets well: the copy is the log."""
        self.gateway.ended = True
        for beat in range(12):
            if beat and self.core.welcomed:
                self.core.received([{"t": "beat"}])
            for _ in range(len(self.gateway.log) + 12):
                self.all_is_exchanged()
                read_all(self.core, self.output, self.reader)
                if self.output.ended:
                    break
        assert self.output.failure is None
        assert self.reader.end is not None
        assert self.reader.end.verified
        assert self.reader.copy == tokens(self.gateway.log)
        self.gateway.take(self.core.take())
        assert self.gateway.acked == self.gateway.sent


CopyOfAnOutput.TestCase.settings = settings(max_examples=200, stateful_step_count=50)
TestTheCopyOfAnOutputIsAlwaysAPrefixAndEndsEqual = CopyOfAnOutput.TestCase
