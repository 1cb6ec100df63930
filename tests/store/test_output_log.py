"""The log of a running attempt, with a store that is played by hand."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trouper.store.output_log import ENTRY_BYTES_MAX, OutputHash, OutputLog, split_text
from trouper.store.protocol import (
    APPENDED,
    APPENDED_ASKS_AGAIN,
    Append,
    Appended,
    AppendFailed,
    RefusalReason,
    Refused,
)
from trouper.store.records import Entry, Job, entry_bytes


def make_log(tail_bytes_max: int = 1000, *, pending_bytes_max: int = 10_000) -> tuple[OutputLog, list[str]]:
    told: list[str] = []
    log = OutputLog(
        Job(id="j", user="ada", name="reply", attempt=2, fence=7, entries=3, savepoint=3),
        OutputHash(),
        on_dirty=lambda _, urgent: told.append("urgent" if urgent else "dirty"),
        on_change=lambda: told.append("changed"),
        used_ms=lambda: 42,
        pending_bytes_max=pending_bytes_max,
        tail_bytes_max=tail_bytes_max,
    )
    return log, told


def put(log: OutputLog, entry: Entry) -> bool:
    return log.append(entry, entry_bytes(entry))


@pytest.mark.clause("O1")
def test_the_payload_of_an_entry_is_its_bytes_of_utf8() -> None:
    assert [entry_bytes(entry) for entry in ("é", "😀", ("né", '"😀"'))] == [2, 4, 9]


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=50), st.integers(0, 2000))
def test_splitting_loses_nothing_and_every_piece_fits(text: str, times: int) -> None:
    pieces = split_text(text * times)
    assert "".join(piece for piece, _ in pieces) == text * times
    assert all(0 < size == len(piece.encode()) <= ENTRY_BYTES_MAX for piece, size in pieces)


@pytest.mark.clause("O1")
def test_a_lone_surrogate_is_refused_naming_its_place() -> None:
    with pytest.raises(ValueError, match=r"lone surrogate \(U\+D83D\) at index 2"):
        split_text("ab\ud83d")


@pytest.mark.clause("O2")
def test_readers_find_only_what_was_settled() -> None:
    log, _ = make_log()
    put(log, "a")
    assert log.take() == Append("j", 7, 3, ["a"], 42)
    put(log, "b")
    assert log.take() is None  # one append is under way at a time
    assert (log.entries, log.committed, log.read(3, 9)) == (5, 3, [])
    log.settled(APPENDED)
    assert (log.committed, log.read(3, 9), log.pending_bytes) == (4, ["a"], 1)


def test_what_could_not_be_committed_is_offered_again_in_order() -> None:
    log, _ = make_log()
    put(log, "a")
    log.take()
    put(log, "b")
    log.settled(AppendFailed("disk full"))
    assert log.failure == "disk full"
    assert log.take() == Append("j", 7, 3, ["a", "b"], 42)


def test_after_a_refusal_nothing_more_is_offered() -> None:
    log, told = make_log()
    put(log, "a")
    log.take()
    log.settled(Refused(RefusalReason.FENCED))
    put(log, "b")
    assert log.take() is None
    assert told == ["dirty", "changed", "dirty"]


@pytest.mark.clause("E2")
def test_the_tail_in_memory_is_bounded_and_older_entries_are_not_invented() -> None:
    log, _ = make_log(tail_bytes_max=100)
    for number in range(100):
        put(log, f"{number:010}")
        log.take()
        log.settled(APPENDED)
    assert log.statistics().tail_bytes <= 200
    start, entries = log.tail()
    assert entries == [f"{n:010}" for n in range(start - 3, 100)]
    assert log.read(start - 1, 1) is None


def test_an_append_that_goes_through_is_told_of_if_that_is_awaited_or_news() -> None:
    log, told = make_log()

    def append(result: Appended | AppendFailed) -> int:
        put(log, "a")
        log.take()
        before = told.count("changed")
        log.settled(result)
        return told.count("changed") - before

    assert append(APPENDED) == 0
    log.awaited = True
    assert [append(APPENDED), append(APPENDED)] == [1, 0]
    down = AppendFailed("disk full")
    assert [append(down), append(down), append(APPENDED), append(APPENDED)] == [1, 1, 1, 0]


@pytest.mark.clause("E2")
def test_a_log_is_full_with_more_pending_than_may_be_until_enough_of_it_is_committed() -> None:
    log, _ = make_log(pending_bytes_max=100)
    assert [put(log, "x" * size) for size in (60, 40, 1, 30)] == [False, False, True, True]
    log.take()
    assert put(log, "y" * 60)
    log.settled(AppendFailed("disk full"))
    assert log.full
    log.take()
    assert put(log, "z" * 40)
    log.settled(APPENDED)
    assert not log.full
    assert (log.pending_bytes, put(log, "\u00e9" * 30), put(log, "!")) == (40, False, True)


@pytest.mark.clause("E2")
def test_of_much_that_came_at_once_the_end_stays_in_memory() -> None:
    log, _ = make_log(tail_bytes_max=20_000)
    for entries in ([f"{n:010}" for n in range(100)], [f"{n:010}" for n in range(100, 10_000)]):
        for entry in entries:
            put(log, entry)
        log.take()
        log.settled(APPENDED)
    start, tail = log.tail()
    assert (start - 3, len(tail)) == (8_000, 2_000)
    assert tail == [f"{n:010}" for n in range(8_000, 10_000)]
    assert log.statistics().tail_bytes == 20_000
    assert log.sha256() == hashlib.sha256("".join(f"{n:010}" for n in range(10_000)).encode()).hexdigest()


def test_an_append_is_left_as_it_is_until_it_is_settled() -> None:
    log, _ = make_log()
    put(log, "a")
    request = log.take()
    assert request is not None
    put(log, "b")
    assert (request.start, request.entries) == (3, ["a"])
    log.settled(APPENDED)
    assert log.take() == Append("j", 7, 4, ["b"], 42)


@pytest.mark.clause("O6")
def test_the_hash_is_over_texts_and_events_as_the_protocol_says() -> None:
    hasher = OutputHash()
    for entry in ("h\u00e9", "llo", ("source", '{"a":1}')):
        hasher.update(entry)
    expected = hashlib.sha256("h\u00e9llo".encode() + b'\0source\0{"a":1}\0')
    assert hasher.hexdigest() == expected.hexdigest()


@pytest.mark.clause("O6")
@pytest.mark.parametrize("tail_bytes_max", [10, 100_000])
def test_the_hash_is_over_all_entries_wherever_they_are_on_their_way(tail_bytes_max: int) -> None:
    log, _ = make_log(tail_bytes_max)
    expected = OutputHash()
    entries: list[Entry] = ["é" * 700, ("source", '{"a":1}'), "plain", "x" * 3000]
    for number in range(40):
        entry = entries[number % 4]
        expected.update(entry)
        put(log, entry)
        if number % 3 == 0:
            log.take()
        if number % 3 == 2:
            log.settled(AppendFailed("disk full") if number % 2 else APPENDED)
        assert log.sha256() == expected.hexdigest()
        assert log.bytes_total == expected.payload_bytes


def test_the_store_is_told_once_of_what_it_has_not_asked_for_yet() -> None:
    log, told = make_log()
    put(log, "a")
    put(log, "b")
    assert told == ["dirty"]
    log.take()
    put(log, "c")  # not in what is under way: it must be asked for by itself
    assert told == ["dirty", "dirty"]


def test_the_store_is_urged_when_a_log_is_half_full_and_nothing_is_under_way() -> None:
    log, told = make_log(pending_bytes_max=100)
    assert [put(log, "x" * size) for size in (50, 1, 20)] == [False, False, False]
    assert told == ["dirty", "urgent"]
    log.take()
    assert [put(log, "y" * size) for size in (10, 19, 1)] == [False, False, True]
    assert told[2:] == ["dirty"], "what is under way makes room"
    log.settled(APPENDED)
    assert [put(log, "z" * size) for size in (20, 1)] == [False, False]
    assert told[3:] == ["urgent"], "once more than half is pending again"


def test_a_store_that_asks_again_by_itself_is_told_only_after_it_has_asked_in_vain() -> None:
    log, told = make_log(pending_bytes_max=100)
    for entry in "abc":
        put(log, entry)
        assert log.take() is not None
        log.settled(APPENDED_ASKS_AGAIN)
    assert told == ["dirty"], "of the first"
    assert log.take() is None
    put(log, "d")
    put(log, "e")
    assert told == ["dirty"] * 2
    log.take()
    log.settled(APPENDED)
    put(log, "f")
    assert told == ["dirty"] * 3, "this time it does not ask"


@pytest.mark.clause("E2")
def test_a_store_that_asks_again_by_itself_is_urged_all_the_same() -> None:
    log, told = make_log(pending_bytes_max=100)
    put(log, "a")
    log.take()
    log.settled(APPENDED_ASKS_AGAIN)
    assert [put(log, "x" * size) for size in (50, 1, 20)] == [False] * 3
    assert told == ["dirty", "urgent"]


def test_what_comes_while_an_append_is_under_way_is_told_of_whatever_becomes_of_that() -> None:
    for result in (APPENDED, APPENDED_ASKS_AGAIN, AppendFailed("disk full")):
        log, told = make_log()
        put(log, "a")
        log.take()
        put(log, "b")
        log.settled(result)
        assert told.count("dirty") == 2
        request = log.take()
        assert request is not None
        assert request.entries[-1] == "b"
