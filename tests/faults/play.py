"""A play of two lives: a job, a runtime that stops while its store goes wrong, and the next start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

import trouper
from tests.faults.faulty import SLOW_S
from tests.faults.outages import Kind, Outage
from tests.faults.stage import CLOSE_S, RETRY, Stage, check, submit
from trouper.actors.output_pieces import Transcript
from trouper.actors.reports import ReportKind
from trouper.store.errors import StoreUnavailable
from trouper.supervisor.refusals import Draining

TEXT = "once upon a time"
SLOW_CLOSE_S = CLOSE_S + 3 * SLOW_S
"""An engine that has no thread to leave is waited for: what was handed over, and the last commit."""

UNHEARD = (Kind.UNKNOWN, Kind.SLOW, Kind.HANGS_AND_WRITES)
"""Something may be recorded of which nobody hears."""


@attrs.define
class Scene:
    """What the job of a run does at the stop, and what it has done."""

    at_first: Callable[[trouper.JobContext], Awaitable[None]]
    going: trio.Event = attrs.field(factory=trio.Event)
    runs: int = 0
    always: bool = False
    """It does that in each of its attempts."""

    hooks: list[str] = attrs.field(factory=list)
    hooked_again: trio.Event = attrs.field(factory=trio.Event)
    has_hook: bool = False

    def job(self) -> trouper.JobSpec[..., str]:
        @trouper.job(retry=RETRY)
        async def tale(ctx: trouper.JobContext) -> str:
            self.runs += 1
            if ctx.saved is None:
                await ctx.write("once upon ")
                await ctx.savepoint("half")
            if self.runs == 1 or self.always:
                await self.at_first(ctx)
            await ctx.write("a time")
            return "told"

        async def hook(job: trouper.Job) -> None:
            self.hooks.append(job.id)
            if len(self.hooks) == 1:
                self.going.set()
                await trio.sleep_forever()
            self.hooked_again.set()

        if self.has_hook:
            tale.on_ended(hook)
        return tale


@attrs.define
class Play:
    """One run: a scene, its store, and when that goes wrong."""

    stage: Stage
    outage: Outage
    kind: Kind
    scene: Scene
    back_s: float | None = None
    """The store is well again so many seconds after it went wrong: in the middle of the stop."""
    job: str = ""
    before: str = ""
    """What somebody held who read along when the runtime ended."""
    _nursery: trio.Nursery = attrs.field(init=False)
    _reports_before: int = 0
    """The stop."""

    @property
    def down(self) -> bool:
        """Nothing at all can be recorded at the stop."""
        return self.kind is Kind.DOWN and self.back_s is None

    def begin(self) -> None:
        """The store goes wrong."""
        self.outage.begin(self.kind)
        if self.back_s is not None:
            self._nursery.start_soon(self._come_back, self.back_s)

    async def _come_back(self, after_s: float) -> None:
        await trio.sleep(after_s)
        self.outage.end()

    async def first_life(self, meanwhile: Callable[[trouper.Runtime], Awaitable[None]]) -> None:
        """Begin the job, see it run, let ``meanwhile`` happen, and stop."""
        held = Transcript()
        async with trio.open_nursery() as nursery, self.stage.runtime(self.scene.job()) as runtime:
            self._nursery = nursery
            spec = runtime._tree.specs["tale"]
            self.job = await submit(runtime, spec.call(), "a")

            async def read_along() -> None:
                try:
                    async for piece in runtime.read(self.job):
                        held.add(piece)
                except (Draining, StoreUnavailable):
                    pass

            nursery.start_soon(read_along)
            await self.scene.going.wait()
            await trio.sleep(0.2)
            await meanwhile(runtime)
            self._reports_before = len(self.stage.reports)
        self.before = held.text

    def left(self) -> str:
        """How the row was left; of one that still runs, and of no other, it was said that it is not recorded
        (of an answer that did not come nobody knows)."""
        state, _ = self.outage.row(self.job)
        reports = self.stage.reports[self._reports_before :]
        told = {str(report.child) for report in reports if report.kind is ReportKind.UNRECORDED}
        assert state != "running" or self.job in told, "its end was not recorded, and nobody was told"
        if self.kind not in UNHEARD:
            assert [self.outage.row(job)[0] for job in told] == ["running"] * len(told)
        return state

    async def second_life(self, state: str, told: tuple[str, ...] = ("ended",)) -> trouper.Job:
        self.outage.end()
        async with self.stage.runtime(self.scene.job()) as runtime:
            told = () if state == "cancelled" else told
            text = TEXT if state == "completed" else "once upon "
            return await check(runtime, self.job, state=state, text=text, told=told)
