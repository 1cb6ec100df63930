"""The store goes wrong at each point of a stop, in each way, on each engine: what is promised is kept.

What could be recorded was; of what could not the runtime says so as it ends, and the next start counts it as
the death of a process. No job is lost or ended twice, nobody was told more than is remembered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

import trouper
from tests.faults.outages import HANGING, Kind, MemoryOutage, SqliteOutage
from tests.faults.play import SLOW_CLOSE_S, TEXT, Play, Scene
from tests.faults.stage import CLOSE_S, Stage, check, insist, submit
from trouper.actors.reports import ReportKind
from trouper.simulation import World, simulate
from trouper.store.errors import StoreUnavailable
from trouper.supervisor.refusals import Draining

Point = Callable[[Play], Awaitable[None]]
Engine = type[MemoryOutage] | type[SqliteOutage]


async def running(play: Play) -> None:
    """It runs when the runtime is stopped, and is to be released."""

    async def meanwhile(_: trouper.Runtime) -> None:
        play.begin()

    await play.first_life(meanwhile)
    left = play.left()
    if play.kind is Kind.DOWN:
        assert left == ("running" if play.down else "queued"), "what can be recorded is, as soon as it can"
    assert left in ("running", "queued")
    ended = await play.second_life("completed")
    if play.kind is not Kind.HANGS_AND_WRITES:  # there it may still be recorded as the disk answers
        assert ended.attempts_used == (left == "running"), "only what nobody recorded counts as a death"
    assert TEXT.startswith(play.before)


async def cancelled(play: Play) -> None:
    """Somebody was told that it will be cancelled; then the store goes wrong, and the runtime stops."""

    async def meanwhile(runtime: trouper.Runtime) -> None:
        assert (await runtime.cancel(play.job)).answer == "accepted"
        play.begin()

    await play.first_life(meanwhile)
    play.left()
    await play.second_life("cancelled")
    assert play.scene.runs == 1, "what was accepted is never run again"


async def cancelling(play: Play) -> None:
    """The cancel itself meets the outage: who is told that it is accepted can rely on that."""
    answers: list[str] = []

    async def meanwhile(runtime: trouper.Runtime) -> None:
        play.begin()
        try:
            answers.append((await runtime.cancel(play.job)).answer)
        except StoreUnavailable:
            answers.append("unavailable")

    await play.first_life(meanwhile)
    play.left()
    play.outage.end()
    async with play.stage.runtime(play.scene.job()) as runtime:
        ended = await insist(lambda: runtime.wait(play.job))
    if play.down:
        assert answers == ["unavailable"]
        assert ended.state.value == "completed"
    elif answers == ["accepted"]:
        assert ended.state.value == "cancelled"
    assert ended.state.value in ("cancelled", "completed")


async def finishing(play: Play) -> None:
    """The function has returned, and that is not recorded when the runtime stops."""
    returned = trio.Event()

    async def wait(_: trouper.JobContext) -> None:
        play.scene.going.set()
        await returned.wait()

    play.scene.at_first = wait

    async def meanwhile(_: trouper.Runtime) -> None:
        play.begin()
        returned.set()
        await trio.sleep(0.5)

    await play.first_life(meanwhile)
    left = play.left()
    if play.down:
        assert left == "running"
    ended = await play.second_life("completed")
    assert ended.result == '"told"'
    if play.down:
        assert (play.scene.runs, ended.attempts_used) == (2, 1)


async def submitting(play: Play) -> None:
    """A submit is under way. Who did not hear of it submits again with the same key, and has one job."""

    async def meanwhile(runtime: trouper.Runtime) -> None:
        play.begin()
        with trio.move_on_after(60):
            try:
                await runtime.submit(runtime._tree.specs["tale"].call(), user="ada", idempotency_key="b")
            except (StoreUnavailable, Draining):
                pass
            else:
                assert not play.down, "nothing is admitted that is not remembered"

    await play.first_life(meanwhile)
    play.left()
    play.outage.end()
    async with play.stage.runtime(play.scene.job()) as runtime:
        spec = runtime._tree.specs["tale"]
        again = await submit(runtime, spec.call(), "b")
        await check(runtime, again, state="completed", text=TEXT)
        await check(runtime, play.job, state="completed", text=TEXT)
        assert len(await insist(lambda: runtime.jobs("ada"))) == 2


async def charging(play: Play) -> None:
    """It is inside of an unsafe step: whatever is recorded, that step is not begun again."""

    async def charge(ctx: trouper.JobContext) -> None:
        async with ctx.unsafe("charge card"):
            play.scene.going.set()
            await trio.sleep_forever()

    play.scene.at_first = charge

    async def meanwhile(_: trouper.Runtime) -> None:
        play.begin()

    await play.first_life(meanwhile)
    play.left()
    ended = await play.second_life("lost")
    assert (ended.reason, play.scene.runs) == ("unsafe:charge card", 1)


async def hooking(play: Play) -> None:
    """The job has ended and its hook runs. It runs again at the next start, which is told of it."""

    async def nothing(_: trouper.JobContext) -> None:
        await trio.lowlevel.checkpoint()

    play.scene.at_first, play.scene.has_hook = nothing, True

    async def meanwhile(_: trouper.Runtime) -> None:
        play.begin()

    await play.first_life(meanwhile)
    told = [report for report in play.stage.reports if report.kind is ReportKind.UNRECORDED]
    if play.down:
        assert [report.child for report in told] == [play.job]
        assert "the next start counts it as a try" in told[0].reason
    play.outage.end()
    async with play.stage.runtime(play.scene.job()) as runtime:
        await play.scene.hooked_again.wait()
        assert await runtime.dead_completions() == ()
        await check(runtime, play.job, state="completed", text=TEXT)


async def asking(play: Play) -> None:
    """It asks a person: once, however often it has to run for that; and it goes on with the answer."""
    answered = trio.Event()

    async def ask(ctx: trouper.JobContext) -> None:
        if play.scene.runs == 1:
            play.scene.going.set()
            await answered.wait()
        assert await ctx.ask_user("Go on?", key="k", schema={"type": "boolean"}) is True

    play.scene.at_first, play.scene.always = ask, True

    async def meanwhile(_: trouper.Runtime) -> None:
        play.begin()
        answered.set()
        await trio.sleep(0.5)

    await play.first_life(meanwhile)
    left = play.left()
    _, used = play.outage.row(play.job)  # a store that crashed before the stop has ended an attempt
    ended = await answer_it(play)
    assert ended.attempts_used == used + (left == "running"), "only what nobody recorded counts as a death"
    assert play.scene.runs in (2, 3), "before it asked, and with the answer; between them to ask, if need be"


async def answering(play: Play) -> None:
    """It waits for a person, who answers while the store goes wrong: told that it is accepted, it is."""

    async def ask(ctx: trouper.JobContext) -> None:
        play.scene.going.set()
        assert await ctx.ask_user("Go on?", key="k", schema={"type": "boolean"}) is True

    play.scene.at_first, play.scene.always = ask, True
    told: list[str] = []

    async def meanwhile(runtime: trouper.Runtime) -> None:
        play.begin()
        with trio.move_on_after(60):
            try:
                told.append(await runtime.answer(play.job, "k", value=True))
            except (StoreUnavailable, Draining):
                told.append("unavailable")

    await play.first_life(meanwhile)
    if play.down:
        assert told == ["unavailable"]
    if told == ["accepted"]:
        await play.second_life("completed", told=("ended", "question"))
    else:
        await answer_it(play)


async def answer_it(play: Play) -> trouper.Job:
    """In the next life: see that it asks, answer as often as one who is not told, and see that it ends."""
    play.outage.end()
    async with play.stage.runtime(play.scene.job()) as runtime:
        with trio.move_on_after(60):
            while not (row := await insist(lambda: runtime.job(play.job))) or row.state.value != "completed":
                await insist(lambda: runtime.answer(play.job, "k", value=True))
                await trio.sleep(0.5)
        return await check(runtime, play.job, state="completed", text=TEXT, told=("ended", "question"))


POINTS: tuple[Point, ...] = (
    running,
    cancelled,
    cancelling,
    finishing,
    submitting,
    charging,
    hooking,
    asking,
    answering,
)

OUTAGES = [
    (engine, kind)
    for engine in (MemoryOutage, SqliteOutage)
    for kind in Kind
    if engine is SqliteOutage or kind not in HANGING
]


@pytest.mark.clause("E1", "E3", "J2", "J5", "J8", "S5")
@pytest.mark.parametrize(("engine", "kind"), OUTAGES)
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.__name__)
def test_a_store_that_goes_wrong_at_any_point_of_a_stop_loses_and_doubles_nothing(
    point: Point, kind: Kind, engine: Engine, tmp_path: Path
) -> None:
    play_at_a_stop(point, kind, engine, tmp_path, back_s=None)


@pytest.mark.clause("E1", "E3", "J2", "J5", "J8", "S5")
@pytest.mark.parametrize("back_s", [0.3, 4.0, 9.0, 12.0])
@pytest.mark.parametrize(("engine", "kind"), [each for each in OUTAGES if each[1] is not Kind.CRASHED])
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.__name__)
def test_a_store_that_comes_back_in_the_middle_of_a_stop_loses_and_doubles_nothing(
    point: Point, kind: Kind, back_s: float, engine: Engine, tmp_path: Path
) -> None:
    play_at_a_stop(point, kind, engine, tmp_path, back_s=back_s)


def play_at_a_stop(point: Point, kind: Kind, engine: Engine, folder: Path, *, back_s: float | None) -> None:
    async def whole(world: World) -> None:
        async def wait(_: trouper.JobContext) -> None:
            play.scene.going.set()
            await trio.sleep_forever()

        outage = engine(folder)
        slow = kind is Kind.SLOW and engine is MemoryOutage
        stage = Stage(world, outage.open, close_s=SLOW_CLOSE_S if slow else CLOSE_S)
        play = Play(stage, outage, kind, Scene(wait), back_s)
        await point(play)
        if kind in (Kind.DOWN, *HANGING):
            # What was handed over to a disk that hangs is waited for, and that may seem stuck.
            assert stage.of_ours(stuck=kind is Kind.DOWN) == [], "an outage is a value, and no crash"
        left = [report for report in stage.reports if report.kind is ReportKind.ABANDONED]
        if kind in HANGING and back_s is None:
            assert len(left) == 1, "and that is told, once"
        elif kind in HANGING and back_s == 12.0:
            assert len(left) <= 1, "it comes back about when nobody waits any more"
        elif kind is not Kind.SLOW:
            assert left == []

    report = simulate(whole, seed=point.__name__)
    assert report.left == ()
