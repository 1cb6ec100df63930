"""The subscriber channel and the output heads, driven by hand: no runtime, no store, no ``await``."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actors.channel_world import World, outputs_of
from trouper.actors.attempt import Progress
from trouper.actors.channel import TooManyAttached
from trouper.actors.channel_items import (
    END_BYTES,
    EndItem,
    GoneItem,
    OutputItem,
    Part,
    ProgressItem,
    RewindItem,
)
from trouper.actors.options import ChannelLimits
from trouper.store.protocol import OutputHead, OutputRange
from trouper.store.records import Job, JobState


@pytest.mark.clause("O2")
def test_a_late_reader_gets_the_complete_gap_in_one_range() -> None:
    world = World()
    world.claim(0)
    world.append("a", "b", "é", ("source", "{}"), "c", "d")
    channel = world.channel()
    channel.attach("j", 1, 1)
    parts: list[Part] = ["bé", ("source", "{}"), "cd"]
    assert outputs_of(world.take(channel)) == [
        OutputItem("j", 1, 1, 6, parts, len("bé".encode()) + len("source{}") + len("cd"))
    ]
    world.append("e", "f")
    assert [(item.start, item.end, item.parts) for item in outputs_of(world.take(channel))] == [
        (6, 8, ["ef"])
    ]


@pytest.mark.clause("O2")
def test_nothing_is_taken_before_it_is_committed() -> None:
    world = World()
    world.claim(0)
    channel = world.channel()
    channel.attach("j", 1, 0)
    world.log.append("written, not committed")
    assert world.take(channel) == []


@pytest.mark.clause("O3")
def test_a_cursor_of_an_older_attempt_is_rewound_and_waits_for_the_new_attach() -> None:
    world = World()
    world.claim(0)
    world.append("a", "b", "c")
    channel = world.channel()
    channel.attach("j", 1, 0)
    world.take(channel)
    world.claim(2)
    world.append("C", "D")
    assert world.take(channel) == [RewindItem("j", 2, 2)]
    world.append("E")
    assert world.take(channel) == []
    channel.attach("j", 2, 2)
    assert [item.parts for item in outputs_of(world.take(channel))] == [["CDE"]]


@pytest.mark.clause("O3")
def test_a_cursor_keeps_no_more_than_every_later_attempt_kept() -> None:
    world = World()
    world.claim(0)
    world.append(*"abcdef")
    world.claim(5)
    world.claim(2)
    world.append(*"CDE")
    world.claim(4)  # more than the one before kept, of which the cursor knows nothing
    channel = world.channel()
    channel.attach("j", 1, 4)
    assert world.take(channel) == [RewindItem("j", 4, 2)]
    channel.attach("j", 3, 1)
    assert world.take(channel) == [RewindItem("j", 4, 1)]


@pytest.mark.clause("O3")
@pytest.mark.parametrize(("attempt", "n"), [(1, 99), (9, 1)])
def test_a_cursor_that_the_log_never_had_keeps_nothing(attempt: int, n: int) -> None:
    world = World()
    world.claim(0)
    world.append("a")
    channel = world.channel()
    channel.attach("j", attempt, n)
    assert world.take(channel) == [RewindItem("j", 1, 0)]


@pytest.mark.clause("O3")
def test_no_frame_spans_the_latest_savepoint() -> None:
    world = World()
    world.claim(0)
    world.append(*"abcdef")
    world.change(savepoint=4, entries=6)
    channel = world.channel()
    channel.attach("j", 1, 0)
    assert [(i.start, i.end) for i in outputs_of(world.take(channel))] == [(0, 4), (4, 6)]


@pytest.mark.clause("E2")
def test_a_message_with_output_in_it_takes_no_entry_that_does_not_fit() -> None:
    world = World()
    world.claim(0)
    world.append("a" * 300, "b" * 60, "c" * 60)
    world.change(savepoint=1, entries=3)
    channel = world.channel()
    channel.attach("j", 1, 0)
    world.serve_pages()
    assert outputs_of(list(channel.take(320))) == []
    world.serve_pages()
    sent = [[item.sent for item in outputs_of(list(channel.take(limit)))] for limit in (320, 50, 1)]
    assert sent == [[300], [360], [420]]  # one always fits, and only one


@pytest.mark.clause("O4")
def test_a_session_that_does_not_ack_stops_at_its_window_and_goes_on_where_it_stopped() -> None:
    world = World(ChannelLimits(window_bytes=1000))
    world.claim(0)
    channel = world.channel()
    channel.attach("j", 1, 0)
    for _ in range(100):
        world.append("x" * 100)
    got = outputs_of(world.take(channel))
    assert got[-1].sent == 1000
    assert channel.statistics().in_flight_bytes == 1000
    channel.ack(1000, 0)
    more = outputs_of(world.take(channel))
    assert (more[0].start, more[-1].sent) == (got[-1].end, 2000)
    channel.ack(1500, 0)  # of all so far, not of what came last
    assert channel.statistics().in_flight_bytes == 500
    assert outputs_of(world.take(channel))[-1].sent == 2500
    channel.ack(1500, 0)
    assert channel.statistics().in_flight_bytes == 1000


@pytest.mark.clause("O4")
def test_a_slow_session_holds_cursors_only_however_much_is_produced() -> None:
    world = World()
    world.claim(0)
    channel = world.channel()
    channel.attach("j", 1, 0)
    world.take(channel)
    before = channel.statistics()
    for _ in range(10_000):
        world.append("token ")
    assert attrs.evolve(channel.statistics(), dirty=before.dirty) == before


@pytest.mark.clause("O6")
def test_the_end_comes_last_and_once_and_detaches() -> None:
    world = World()
    world.claim(0)
    world.append("ab")
    channel = world.channel()
    channel.attach("j", 1, 0)
    world.end()
    items = world.take(channel)
    assert items[-1] == EndItem("j", 1, 1, "f" * 64, JobState.COMPLETED, 2 + END_BYTES)
    assert [type(item) for item in items] == [OutputItem, EndItem]
    assert channel.statistics().attached == 0


@pytest.mark.clause("N5")
@pytest.mark.parametrize("visible", [True, False])
def test_an_end_is_seen_only_by_the_ack_of_a_session_that_is_visible_then(visible: bool) -> None:
    world = World()
    world.claim(0)
    world.append("ab")
    channel = world.channel(visible=not visible)
    channel.attach("j", 1, 0)
    world.end()
    sent = world.take(channel)[-1].sent  # type: ignore[attr-defined]
    channel.ack(2, 0)  # of the output, not of the end
    assert world.owner.seen_jobs == []
    channel.set_visible(visible)
    channel.ack(sent, 0)
    assert world.owner.seen_jobs == (["j"] if visible else [])


def test_an_ack_of_what_was_never_sent_is_refused_naming_what_is_legal() -> None:
    world = World()
    world.claim(0)
    channel = world.channel()
    with pytest.raises(ValueError, match="legal are 0 to 0"):
        channel.ack(1, 0)
    channel.attach("j", 1, 0)
    world.append("abc")
    world.take(channel)
    channel.ack(3, 0)
    with pytest.raises(ValueError, match="legal are 3 to 3"):
        channel.ack(2, 0)


@pytest.mark.clause("E1")
def test_the_output_of_another_user_is_gone_as_if_there_were_none() -> None:
    world = World()
    world.claim(0)
    world.append("secret")
    channel = world.channel("eve")
    channel.attach("j", 0, 0)
    channel.attach("nonsense", 0, 0)
    assert world.take(channel) == [GoneItem("j", "unknown"), GoneItem("nonsense", "unknown")]


@pytest.mark.clause("E2")
def test_a_session_may_attach_only_so_many_outputs() -> None:
    channel = World().channel()
    for number in range(256):
        channel.attach(f"j{number}", 0, 0)
    channel.attach("j0", 0, 0)
    with pytest.raises(TooManyAttached, match=r"^256 outputs are attached: legal are 256 \(attachments\)$"):
        channel.attach("k", 0, 0)
    channel.detach("j7")
    channel.attach("k", 0, 0)


def test_the_last_progress_is_sent_at_attach_and_then_the_latest_only() -> None:
    world = World()
    world.claim(0)
    first = world.channel()
    first.attach("j", 1, 0)
    world.take(first)
    world.outputs.progressed(Progress("j", 1, 1, 3, None))
    world.outputs.progressed(Progress("j", 1, 2, 3, "two"))
    second = world.channel()
    second.attach("j", 1, 0)
    expected = [ProgressItem("j", 1, 2, 3, "two")]
    assert world.take(first) == expected
    assert world.take(second) == expected
    assert world.take(first) == []


def test_outputs_take_turns_when_one_message_cannot_hold_them_all() -> None:
    world = World()
    world.claim(0)
    world.append("x" * 5000, "y" * 5000)
    other = Job(id="k", user="ada", name="reply", attempt=1, keeps=(0,), state=JobState.RUNNING, feed_seq=1)
    channel = world.channel()
    channel.attach("j", 1, 0)
    channel.attach("k", 1, 0)
    world.others["k"] = OutputHead(other, 1)
    world.serve_pages()
    for job_id, entries in (("j", tuple(world.log)), ("k", ("small",))):
        head = world.outputs.get(job_id)
        assert head is not None
        head.add_page(OutputRange(1, 0, entries))
    frames = [item.job_id for _ in range(3) for item in outputs_of(list(channel.take(5000)))]
    assert frames == ["j", "k", "j"]


@pytest.mark.clause("E2")
def test_a_head_is_dropped_with_its_last_watcher() -> None:
    world = World()
    world.claim(0)
    channel = world.channel()
    channel.attach("j", 0, 0)
    assert len(world.outputs) == 1
    channel.close()
    assert len(world.outputs) == 0


# --- everything together, against the plainest model ---

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 400)),
        st.tuples(st.just("claim"), st.integers(0, 10)),
        st.tuples(st.just("take"), st.integers(1, 900)),
        st.tuples(st.just("ack"), st.just(0)),
        st.tuples(st.just("reconnect"), st.just(0)),
    ),
    max_size=40,
)


@pytest.mark.clause("O2", "O3")
@settings(max_examples=150, deadline=None)
@given(_STEPS)
def test_what_a_session_holds_is_a_prefix_of_the_log_whatever_happens(steps: list[tuple[str, int]]) -> None:
    world = World(ChannelLimits(window_bytes=1000))
    world.claim(0)
    channel = world.channel()
    channel.attach("j", 0, 0)
    attempt, frames = 0, [(0, "")]

    def apply(items: list[object]) -> None:
        nonlocal attempt, frames
        for item in items:
            match item:
                case RewindItem(attempt=now, keep=keep):
                    frames = [frame for frame in frames if frame[0] <= keep]
                    attempt = now
                    channel.attach("j", now, frames[-1][0])
                case OutputItem(attempt=of, start=start, end=end, parts=parts):
                    assert (of, start) == (attempt, frames[-1][0])
                    frames.append((end, frames[-1][1] + "".join(map(str, parts))))

    for step, number in steps:
        match step:
            case "append":
                world.append(f"{len(world.log)}.{world.job.attempt} ".ljust(number))
            case "claim":
                world.claim(min(number, len(world.log)))
            case "take":
                world.serve_pages()
                apply(list(channel.take(number)))
            case "ack":
                channel.ack(channel.statistics().sent_bytes, 0)
            case _:
                channel.close()
                channel = world.channel()
                channel.attach("j", attempt, frames[-1][0])
        n, text = frames[-1]
        if attempt == world.job.attempt:
            assert text == "".join(map(str, world.log[:n]))
    for _ in range(200):
        channel.ack(channel.statistics().sent_bytes, 0)
        apply(world.take(channel))
    assert frames[-1][1] == "".join(map(str, world.log))


@pytest.mark.clause("O2")
def test_a_page_whose_reader_left_is_asked_for_again_by_the_next_one() -> None:
    world = World()
    world.claim(0)
    channel, stays = world.channel(), world.channel()
    stays.attach("j", 1, 0)
    world.append("a")
    world.serve_pages()
    channel.attach("j", 1, 0)
    stays.close()
    channel.take(100)
    assert channel.awaits_page  # so that a session is sent it at once, when it comes
    assert world.wanted.pop() == ("ada", "j", 0)  # and nobody ever answers
    channel.close()
    late = world.channel()
    late.attach("j", 1, 0)
    assert [item.parts for item in outputs_of(world.take(late))] == [["a"]]
    assert not late.awaits_page
