"""The contract of every engine: appending to logs and reading them."""

from __future__ import annotations

import pytest

from trouper.store.contract.world import Source, World, clause, options
from trouper.store.protocol import (
    APPENDED,
    Append,
    Appended,
    AppendFailed,
    CommitNotice,
    EndingKind,
    RefusalReason,
    Refused,
)
from trouper.store.records import Entry


@clause("O2")
async def test_a_source_is_told_before_the_listeners_and_both_before_who_waits(world: World) -> None:
    job = await world.start("j1")
    source = Source(world.store, job)
    order: list[str] = []

    def listener(notice: CommitNotice) -> None:
        assert source.results == [APPENDED]
        order.append(f"notice {dict(notice.outputs)}")

    world.store.listen(listener)
    await source.commit("a", ("event", '{"x":1}'))
    await world.store.job("j1")
    order.append("waiter")
    assert order == ["notice {'j1': (1, 2)}", "waiter"]
    assert await world.log("j1") == ("a", ("event", '{"x":1}'))


async def test_a_commit_of_output_does_not_move_the_feed(world: World) -> None:
    job = await world.start("j1")
    before = await world.store.snapshot("ada", 50)
    await world.write(job, "a")
    assert (await world.store.snapshot("ada", 50)).seq == before.seq
    assert world.notices[-1].feeds == {}


async def test_the_row_of_a_running_job_shows_the_committed_entries_and_running_time(world: World) -> None:
    job = await world.start("j1")
    source = Source(world.store, job)
    source.used_ms = 77
    await source.commit("a", "b", "c")
    row = await world.row("j1")
    assert (row.entries, row.used_ms) == (3, 77)
    head = await world.store.output_head("j1")
    assert head is not None
    assert (head.entries, head.job) == (3, row)
    assert await world.store.output_head("nobody") is None


async def test_what_was_written_while_a_source_was_told_goes_with_the_next_commit(world: World) -> None:
    class Chatty(Source):
        def settled(self, result: object) -> None:
            super().settled(result)  # type: ignore[arg-type]
            if self.start < 3:
                self.write("more")

    source = Chatty(world.store, await world.start("j1"))
    await source.commit("a")
    await source.until(3)
    assert await world.log("j1") == ("a", "more", "more")


@clause("O2")
@pytest.mark.parametrize("start", [3, 9, -1])
async def test_an_append_that_leaves_a_gap_is_refused_with_the_length(world: World, start: int) -> None:
    job = await world.start("j1")
    await world.write(job, "a", "b")
    answer = await Source(world.store, job, start=start).commit("c")
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.entries) == (RefusalReason.GAP, 2)
    assert await world.log("j1") == ("a", "b")


@clause("O2")
async def test_an_append_repeated_after_an_unknown_outcome_adds_only_what_is_new(world: World) -> None:
    job = await world.start("j1")
    await world.write(job, "a", ("e", "1"))
    assert await Source(world.store, job).commit("a", ("e", "1"), "new") == APPENDED
    assert await Source(world.store, job).commit("a", ("e", "1"), "new") == APPENDED
    assert await world.log("j1") == ("a", ("e", "1"), "new")


async def test_an_append_over_other_entries_is_refused(world: World) -> None:
    job = await world.start("j1")
    await world.write(job, "a", "b")
    answer = await Source(world.store, job).commit("a", "X", "new")
    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.GAP
    assert await world.log("j1") == ("a", "b")


@clause("E1")
@pytest.mark.parametrize("poison", ["\ud800", ("name", "\udfff"), 7, ("one",), ["a", "b"]])
async def test_a_poisoned_append_fails_alone_and_says_which_entry(world: World, poison: Entry) -> None:
    sick, well = await world.start("j1"), await world.start("j2")
    bad, good = Source(world.store, sick), Source(world.store, well)
    bad.write("fine", poison)
    assert await good.commit("fine") == APPENDED
    (answer,) = bad.results
    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.POISONED
    assert "entry 1" in answer.detail
    assert (await world.log("j1"), await world.log("j2")) == ((), ("fine",))


@clause("O2")
async def test_who_is_told_that_it_is_asked_again_need_not_say_that_it_has_more(world: World) -> None:
    class Relying(Source):
        def settled(self, result: Appended | Refused | AppendFailed) -> None:
            super().settled(result)
            if self.start < 3:
                self.pending.append("more")
                if not (isinstance(result, Appended) and result.asks_again):
                    self.store.dirty(self)

    source = Relying(world.store, await world.start("j1"))
    source.write("a")
    await source.until(3)
    assert await world.log("j1") == ("a", "more", "more")


async def test_a_source_that_was_refused_is_not_asked_again_by_itself(world: World) -> None:
    class Stubborn(Source):
        def take(self) -> Append:
            return Append(self.job.id, self.job.fence, 5, ("x",), 1)

    source = Stubborn(world.store, await world.start("j1"))
    await source.commit()
    for _ in range(5):
        await world.store.job("j1")
    assert len(source.results) == 1


# --- reading ------------------------------------------------------------------------------------


async def test_a_page_holds_at_least_one_entry_and_no_more_than_was_asked_for(world: World) -> None:
    job = await world.start("j1")
    await world.write(job, "four", ("ab", "cd"), "é", "x")
    for start, max_bytes, expected in (
        (0, 4, ("four",)),
        (0, 1, ("four",)),
        (0, 8, ("four", ("ab", "cd"))),
        (1, 6, (("ab", "cd"), "é")),
        (2, 100, ("é", "x")),
        (4, 100, ()),
        (99, 100, ()),
    ):
        page = await world.store.read_output("j1", start, max_bytes)
        assert page is not None
        assert (page.attempt, page.start, page.entries) == (1, start, expected)
    assert await world.store.read_output("nobody", 0, 100) is None


@clause("O2")
async def test_a_long_log_is_read_whole_wherever_its_parts_lie(world: World) -> None:
    job = await world.start("j1", options=options(attempts=3))
    source = Source(world.store, job)
    expected: list[Entry] = []
    for round in range(60):
        entries = [f"{round}:{part}:" + "x" * 200 for part in range(round % 17 + 1)]
        entries += [("event", str(round))] * (round % 3)  # type: ignore[list-item]
        await source.commit(*entries)
        expected += entries
        if round % 20 == 7:
            assert await world.log("j1", page_bytes=700) == tuple(expected)
    many = [f"{number}," for number in range(3000)]
    await source.commit(*many)
    expected += many
    for start in range(0, len(expected), 137):
        page = await world.store.read_output("j1", start, 1 << 20)
        assert page is not None
        assert list(page.entries) == expected[start:]
    await world.savepoint(job, len(expected))
    await source.commit(*["z" * 5000] * 20)
    await world.restart()
    (again,) = (await world.store.claim(1)).started
    await world.write(again, "next")
    assert await world.log("j1", page_bytes=4096) == (*expected, "next")
    await world.end(again)
    assert await world.log("j1") == (*expected, "next")


@clause("O3")
async def test_logs_are_cut_at_any_savepoint_and_grow_on_from_there(world: World) -> None:
    job = await world.start("j1", options=options(attempts=99))
    expected: list[Entry] = []
    for attempt in range(1, 8):
        kept = [f"{attempt}:{part}" for part in range(attempt * 3)]
        await world.write(job, *kept)
        expected += kept
        await world.savepoint(job, len(expected))
        await world.write(job, *["dropped"] * attempt)
        if attempt % 2:
            await world.end(job, EndingKind.CRASHED, retry_after_s=0.0)
        else:
            await world.restart()
        (job,) = (await world.store.claim(1)).started
        assert job.keeps[-1] == job.entries == len(expected)
        assert await world.log("j1") == tuple(expected)


async def test_many_jobs_write_at_once(world: World) -> None:
    jobs = [await world.start(f"j{place}") for place in range(20)]
    sources = [Source(world.store, job) for job in jobs]
    for round in range(10):
        for place, source in enumerate(sources):
            source.write(f"{round}.{place}")
        await world.store.job("j0")
    for place, job in enumerate(jobs):
        await world.end(job, entries=10)
        assert await world.log(job.id) == tuple(f"{round}.{place}" for round in range(10))
