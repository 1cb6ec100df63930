"""When output is committed: at once, with the tick, or before it."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from tests.store.support import ENGINES, PROMPT_OPTIONS, Fault, Source, opened
from trouper.store.protocol import APPENDED, Append, AppendFailed, Refused

on_each_engine = pytest.mark.parametrize("engine", ENGINES)


@on_each_engine
@pytest.mark.clause("O5")
async def test_output_goes_at_once_after_a_silence_and_then_once_per_tick(
    engine: str, tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = await opened(
        tmp_path, nursery, engine=engine, options=attrs.evolve(PROMPT_OPTIONS, commit_tick_s=0.025)
    )
    source = Source(world.store, await world.start("j1"))
    for _ in range(2):
        await trio.sleep(10)
        before = trio.current_time()
        assert await source.commit("first") == APPENDED
        assert trio.current_time() == before, "the first after a silence does not wait"
        commits = len(world.notices)
        for _ in range(100):
            await trio.sleep(0.005)
            source.write("more")
        assert 18 <= len(world.notices) - commits <= 21


@on_each_engine
@pytest.mark.clause("E2")
async def test_output_that_runs_out_of_room_goes_before_the_tick(
    engine: str, tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = await opened(
        tmp_path, nursery, engine=engine, options=attrs.evolve(PROMPT_OPTIONS, commit_tick_s=60.0)
    )
    first, other = [Source(world.store, await world.start(f"j{place}")) for place in range(2)]
    assert await first.commit("at once") == APPENDED
    began = trio.current_time()
    for _ in range(3):
        other.write("beside it")
        first.write("more than half full")
        world.store.dirty(first, urgent=True)
        await first.until(first.start + 1)
        assert other.results[-1] == APPENDED, "it takes all along"
    assert trio.current_time() == began
    first.write("no hurry")
    await trio.sleep(59)
    assert first.pending == ["no hurry"]


@pytest.mark.clause("E1", "E2")
async def test_who_runs_out_of_room_does_not_hurry_a_store_that_is_down(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    fault = Fault()
    options = attrs.evolve(PROMPT_OPTIONS, retry_base_s=8.0, retry_max_s=8.0)
    world = await opened(tmp_path, nursery, fault=fault, options=options)
    source = Source(world.store, await world.start("j1"))
    fault.at["output.appended"] = 1
    assert isinstance(await source.commit("a"), AppendFailed)
    for _ in range(7):
        world.store.dirty(source, urgent=True)
        await trio.sleep(1)
    assert len(source.results) == 1
    await source.until(1)
    assert source.results[1:] == [APPENDED]


async def test_ticks_of_memory_end_with_those_in_which_sessions_are_flushed(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    tick_s = 0.025
    options = attrs.evolve(PROMPT_OPTIONS, commit_tick_s=tick_s)
    world = await opened(tmp_path, nursery, engine="memory", options=options)
    source = Source(world.store, await world.start("j1"))
    for silence_s in (10.01, 0.1, 1.007):
        await trio.sleep(silence_s)
        await source.commit("at once")
        for _ in range(3):
            await trio.sleep(0.003)
            await source.commit("with the tick")
            ticks = trio.current_time() / tick_s
            assert ticks == pytest.approx(round(ticks))


@on_each_engine
async def test_a_read_does_not_make_pending_output_go_early(
    engine: str, tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = await opened(
        tmp_path, nursery, engine=engine, options=attrs.evolve(PROMPT_OPTIONS, commit_tick_s=0.025)
    )
    source = Source(world.store, await world.start("j1"))
    await source.commit("first")
    source.write("second")
    for _ in range(10):
        await world.store.job("j1")
    assert source.in_flight == ()
    assert source.pending == ["second"]


@on_each_engine
async def test_a_store_that_ends_commits_what_waited_for_the_tick(
    engine: str, tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    options = attrs.evolve(PROMPT_OPTIONS, commit_tick_s=60.0)
    world = await opened(tmp_path, nursery, engine=engine, options=options)
    sources = [Source(world.store, await world.start(f"j{place}")) for place in range(3)]
    for source in sources:
        await source.commit("first")
        source.write("second")
    await world.close()
    assert [source.results for source in sources] == [[APPENDED, APPENDED]] * 3


async def test_who_goes_on_writing_is_asked_with_each_tick_and_left_alone_once_it_had_nothing(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    class Counting(Source):
        asked = 0

        def take(self) -> Append | None:
            self.asked += 1
            return super().take()

    options = attrs.evolve(PROMPT_OPTIONS, commit_tick_s=0.025)
    world = await opened(tmp_path, nursery, options=options)
    source = Counting(world.store, await world.start("j1"))
    await source.commit("told of")
    for number in range(1, 9):
        source.pending.append("not told of")
        await trio.sleep(0.027)
        assert (source.asked, len(source.results)) == (1 + number, 1 + number)
    commits = world.store.statistics()["commits"]
    await trio.sleep(60)
    source.pending.append("not told of")
    await trio.sleep(60)
    assert source.asked == 10, "once in vain"
    assert world.store.statistics()["commits"] == commits, "to ask in vain is no commit"
    before = trio.current_time()
    assert await source.commit("told of") == APPENDED
    assert trio.current_time() == before, "which is a silence like any other"


@pytest.mark.clause("E1")
async def test_who_was_refused_is_not_asked_again_with_the_tick(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = await opened(tmp_path, nursery, options=attrs.evolve(PROMPT_OPTIONS, commit_tick_s=0.025))
    source = await world.write(await world.start("j1"), "a")
    source.start = 9
    assert isinstance(await source.commit("b"), Refused)
    source.pending.append("c")
    await trio.sleep(60)
    assert source.pending == ["c"]
