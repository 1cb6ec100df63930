"""A disk that hangs: who waits is told in time, a close leaves the thread, and the file stays owned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.store.support import PROMPT_OPTIONS, GateThread, Source, World, admission
from trouper.store.errors import StoreAbandoned, StoreInUse, StoreUnavailable
from trouper.store.protocol import Admitted

T = TypeVar("T")

ANSWER_S, CLOSE_S = 6.0, 5.0
OPTIONS = attrs.evolve(PROMPT_OPTIONS, answer_s=ANSWER_S, close_s=CLOSE_S)


class HungThread(GateThread):
    """What it is stuck in returns when the disk answers, whether somebody waits for it or not."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._under_way: Callable[[], object] | None = None
        self._then: Callable[[], object] | None = None

    async def run(self, call: Callable[[], T]) -> T:
        if self._then is None:
            self._under_way = call
        return await super().run(call)

    def abandon(self, then: Callable[[], object]) -> None:
        super().abandon(lambda: None)
        self._then = then
        self.gate.set()

    def answer(self) -> None:
        """The disk answers."""
        self.shut = False
        self.gate.set()
        if self._then is not None:
            assert self._under_way is not None
            self._under_way()
            self._then()


@attrs.define
class Life:
    """One run of a store, and what it raised."""

    world: World
    thread: HungThread
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    raised: Exception | None = None
    ended: trio.Event = attrs.field(factory=trio.Event)

    async def run(self, **task_status: Any) -> None:
        try:
            with self.scope:
                await self.world.store.run(**task_status)
        except StoreAbandoned as error:
            self.raised = error
        self.ended.set()

    async def hang(self) -> None:
        """The disk hangs with an admission, of which nobody will hear."""

        async def admit() -> None:
            with pytest.raises(StoreUnavailable, match="the outcome is unknown"):
                await self.world.admit("under way")

        self.thread.shut = True
        self.world._nursery.start_soon(admit)
        await self.thread.entered.wait()


@asynccontextmanager
async def life(folder: Path, **options: Any) -> AsyncIterator[Life]:
    async with trio.open_nursery() as nursery:
        thread = HungThread("hung")
        own = attrs.evolve(OPTIONS, **options)
        world = World("sqlite", folder, nursery, options=own, open_thread=lambda _: thread)
        one = Life(world, thread)
        await nursery.start(one.run)
        yield one
        one.scope.cancel()


def beside(life: Life) -> World:
    """Another store on the same file."""
    return World("sqlite", life.world.path.parent, life.world._nursery, open_thread=GateThread)


# --- while it runs ---


@pytest.mark.clause("E1")
async def test_who_waits_for_a_disk_that_hangs_is_told_in_time_and_who_comes_then_at_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    told: dict[str, tuple[float, str]] = {}

    async def admit(world: World, id: str) -> None:
        began = trio.current_time()
        with pytest.raises(StoreUnavailable) as refused:
            await world.admit(id)
        told[id] = (trio.current_time() - began, str(refused.value))

    async with life(tmp_path) as one:
        world, thread = one.world, one.thread
        source = Source(world.store, await world.start("j0"))
        thread.shut = True
        async with trio.open_nursery() as callers:
            callers.start_soon(admit, world, "under way")
            await thread.entered.wait()
            callers.start_soon(admit, world, "behind it")
            source.write("a")
        for id, says in (("under way", "the outcome is unknown"), ("behind it", "nothing was done")):
            after_s, text = told[id]
            assert ANSWER_S * 5 / 6 - 0.01 <= after_s <= ANSWER_S
            assert text.startswith(f"{says}: {world.path} has not answered for ")
        await trio.sleep(100 - ANSWER_S)
        await admit(world, "late")
        assert told["late"][0] == 0.0
        statistics = world.store.statistics()
        assert statistics["call_ms"] == pytest.approx(100_000, abs=ANSWER_S * 1000)
        assert statistics["call_ms_max"] == 1000 * ANSWER_S
        told_of = len(world.notices)
        thread.answer()
        await source.until(1)
        assert world.store.statistics()["call_ms"] == 0
        assert [job.id for job in world.notices[told_of].jobs] == ["under way"], "and everybody hears of it"
        assert isinstance(await world.store.admit(admission("again")), Admitted)
        admitted = [id for id in (*told, "again") if await world.store.job(id) is not None]
        assert admitted == ["under way", "again"]


@pytest.mark.clause("E1")
async def test_a_caller_that_is_cancelled_is_kept_by_a_disk_that_hangs_no_longer_than_the_others(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with life(tmp_path) as one:
        one.thread.shut = True
        began = trio.current_time()
        with trio.move_on_after(1) as scope:
            await one.world.admit("under way")
        assert scope.cancelled_caught
        assert 1 < trio.current_time() - began <= ANSWER_S
        one.thread.answer()


@pytest.mark.clause("E1")
async def test_a_disk_that_is_only_slow_lets_nobody_go(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with life(tmp_path) as one:
        thread = one.thread

        async def slowly() -> None:
            for _ in range(5):
                await thread.entered.wait()
                thread.entered = trio.Event()
                await trio.sleep(ANSWER_S * 0.8)
                gate, thread.gate = thread.gate, trio.Event()
                gate.set()

        thread.shut = True
        async with trio.open_nursery() as together:
            together.start_soon(slowly)
            for number in range(5):
                await one.world.admit(f"j{number}")
            thread.shut = False


# --- at its end ---


@pytest.mark.clause("S5")
async def test_a_close_leaves_a_thread_that_does_not_return_and_the_file_with_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with life(tmp_path) as one:
        source = await one.world.write(await one.world.start("j0"), "acknowledged")
        await one.hang()
        source.write("not")
        began = trio.current_time()
        one.scope.cancel()
        await one.ended.wait()
        assert trio.current_time() - began == pytest.approx(CLOSE_S)
        assert "was left with a commit of 1 operations. Nothing" in str(one.raised)
        assert "\n" not in str(one.raised)
        other = beside(one)
        with pytest.raises(StoreInUse, match="which is this one: maybe by a thread that was left"):
            await other.open()
        one.thread.answer()
        await other.open()
        assert await other.log("j0") == ("acknowledged",)
        assert await other.store.job("under way") is not None, "of which nobody knew"
        await other.close()


@pytest.mark.clause("S5")
async def test_what_was_taken_when_the_thread_was_left_is_as_it_was_for_as_long_as_that_may_read_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with life(tmp_path) as one:
        source = await one.world.write(await one.world.start("j0"), "a")
        results = len(source.results)
        one.thread.shut = True
        source.write("b")
        await one.thread.entered.wait()
        one.scope.cancel()
        await one.ended.wait()
        assert len(source.results) == results
        one.thread.answer()
        other = beside(one)
        await other.open()
        assert await other.log("j0") == ("a", "b")
        await other.close()


@pytest.mark.clause("S5")
async def test_a_disk_that_answers_before_the_close_is_over_is_waited_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with life(tmp_path) as one:
        source = await one.world.write(await one.world.start("j0"), "a")
        one.thread.shut = True
        source.write("b")
        await one.thread.entered.wait()
        source.write("c")
        one.scope.cancel()
        await trio.sleep(CLOSE_S * 0.9)
        one.thread.answer()
        await one.ended.wait()
        assert one.raised is None
        other = beside(one)
        await other.open()
        assert await other.log("j0") == ("a", "b", "c")
        await other.close()


@pytest.mark.clause("S5")
async def test_an_opening_that_hangs_ends_soon_after_it_is_cancelled_and_what_it_opened_is_closed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    for calls in range(4):  # the file is looked for, the lock is opened, taken, the database is opened
        async with trio.open_nursery() as nursery:
            thread = HungThread("hung")
            world = World("sqlite", tmp_path, nursery, options=OPTIONS, open_thread=lambda _: thread)  # noqa: B023
            one = Life(world, thread)
            run, left = thread.run, calls

            async def count(call: Callable[[], T], run: Any = run) -> T:
                nonlocal left
                thread.shut, left = left == 0, left - 1  # noqa: B023
                return await run(call)  # type: ignore[no-any-return]

            thread.run = count  # type: ignore[method-assign]
            nursery.start_soon(one.run)
            await thread.entered.wait()
            await trio.sleep(60)
            began = trio.current_time()
            one.scope.cancel()
            await one.ended.wait()
            assert trio.current_time() - began == pytest.approx(CLOSE_S)
            assert isinstance(one.raised, StoreAbandoned)
            thread.answer()
            other = beside(one)
            await other.open()
            await other.close()


@pytest.mark.clause("S5")
async def test_a_store_that_crashes_while_its_disk_hangs_ends_in_time_too(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What crashed it is not lost beside what was left."""

    def broken(notice: object) -> None:
        one.thread.shut = True  # the next call is the close
        raise RuntimeError("a listener's own fault")

    async with life(tmp_path) as one:
        one.world.store.listen(broken)
        began = trio.current_time()
        await one.world.admit("j0")
        await one.ended.wait()
        assert trio.current_time() - began == pytest.approx(CLOSE_S)
        assert one.raised is not None
        assert isinstance(one.raised.__context__, ExceptionGroup)
        await wait_all_tasks_blocked()
        one.thread.answer()
