"""Programs to be run in a simulation: the usual shapes of supervision, each telling what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import attrs
import trio

import trouper
from trouper.actors.actor import Actor, StopReason
from trouper.actors.ask import Request
from trouper.actors.errors import ActorCrashed, ActorStopped, AskTimeout
from trouper.actors.ledger import Sums, assert_balanced, every_mailbox
from trouper.actors.reports import Report as CrashReport
from trouper.actors.reports import ReportKind
from trouper.simulation import SimulatedCrash, World
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.base import BaseSupervisor
from trouper.supervisor.child_spec import ChildExit
from trouper.supervisor.errors import StartFailed
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.keyed import KeyedSupervisor
from trouper.supervisor.strategy import Strategy
from trouper.supervisor.supervisor import Supervisor

T = TypeVar("T")


@attrs.frozen
class Double(Request[int]):
    number: int


class Worker(Actor[int | Double]):
    """Takes some time over each message, and some to clean up."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def started(self) -> None:
        await trio.sleep(self.world.random.random() / 10)

    async def receive(self, message: int | Double) -> None:
        await trio.sleep(self.world.random.random())
        if isinstance(message, Double):
            self.context.reply(2 * message.number)

    async def stopped(self, reason: StopReason) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(self.world.random.random() / 10)


class Told:
    """What the supervisors of a scenario reported, and its messages."""

    def __init__(self) -> None:
        self.reports: list[CrashReport] = []
        self.sums: Sums | None = None
        self.started = True
        """The first start of the tree did not fail."""
        self.more: Any = None

    def crashes(self) -> list[str]:
        """The texts of the simulated crashes that were reported, of the child in which each happened."""
        return [
            report.value.crash.message
            for report in self.reports
            if report.kind in (ReportKind.CRASH, ReportKind.START_FAILED)
            and isinstance(report.value, ChildExit)
            and report.value.crash is not None
            and report.value.crash.type == SimulatedCrash.__name__
        ]


async def run_under(told: Told, supervisor: BaseSupervisor, work: Callable[[], Awaitable[object]]) -> None:
    """Do ``work`` while the supervisor runs; then no message may be lost, or still in hand."""
    with every_mailbox() as ledger:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(supervisor.run)
                await work()
                supervisor.stop()
        except* StartFailed:  # what fails at the first start is the starter's to see
            told.started = False
    assert_balanced(ledger)
    told.sums = ledger.total()
    assert told.sums.under_way == 0, told.sums
    assert told.sums.unaccounted == 0, told.sums


async def three_children_one_for_all(world: World) -> Told:
    """Three workers of one group, told something now and then."""
    told = Told()
    made = [actor_child(name, lambda: Worker(world)) for name in "abc"]
    top = Supervisor(
        "top",
        [spec for spec, _ in made],
        strategy=Strategy.ONE_FOR_ALL,
        seams=world.seams,
        reporter=told.reports.append,
    )

    async def work() -> None:
        for number in range(4):
            for _, ref in made:
                ref.tell(number)
            await trio.sleep(world.random.random() * 2)

    await run_under(told, top, work)
    return told


async def asks_across_a_crash(world: World) -> Told:
    """Three askers of one server, each of whose asks ends in one way."""
    told = Told()
    ends: Counter[str] = Counter()
    spec, server = actor_child("server", lambda: Worker(world), backoff=Backoff(base_s=0.5))
    top = Supervisor("top", [spec], seams=world.seams, reporter=told.reports.append)

    async def asker(number: int) -> None:
        for each in range(3):
            try:
                answer = await server.ask(Double(10 * number + each), timeout=2.0)
                assert answer == 2 * (10 * number + each)
                ends["answered"] += 1
            except (AskTimeout, ActorCrashed, ActorStopped) as error:
                ends[type(error).__name__] += 1

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(asker, number)
        assert ends.total() == 9, ends

    await run_under(told, top, work)
    told.more = ends
    return told


async def keyed_actors_come_and_go(world: World) -> Told:
    """More keys than places, each left alone long enough to leave now and then."""
    told = Told()
    made: Counter[str] = Counter()

    def make(key: str) -> Worker:
        made[key] += 1
        return Worker(world)

    keyed: KeyedSupervisor[int | Double] = KeyedSupervisor(
        "keyed", make, max_active=2, idle_s=0.5, seams=world.seams, reporter=told.reports.append,
        backoff=Backoff(base_s=0.1),
    )  # fmt: skip

    async def work() -> None:
        for _ in range(8):
            keyed.ref(world.random.choice("xyz")).tell(1)
            await trio.sleep(world.random.random())

    await run_under(told, keyed, work)
    told.more = made
    return told


async def a_tree_is_shut_down(world: World) -> Told:
    """Supervisors in a supervisor, busy when they are stopped. Twenty restarts are none too many."""
    told = Told()
    often = Intensity(20, 60.0)

    def supervisor(name: str, names: str) -> tuple[Supervisor, list[Any]]:
        made = [actor_child(each, lambda: Worker(world), shutdown_s=1.0) for each in names]
        below = Supervisor(
            name,
            [spec for spec, _ in made],
            strategy=Strategy.REST_FOR_ONE,
            intensity=often,
            seams=world.seams,
            reporter=told.reports.append,
        )
        return below, [ref for _, ref in made]

    one, refs = supervisor("one", "ab")
    two, more = supervisor("two", "cd")
    top = Supervisor(
        "top", [one.child_spec(), two.child_spec()], intensity=often, seams=world.seams,
        reporter=told.reports.append,
    )  # fmt: skip

    async def work() -> None:
        for ref in refs + more:
            ref.tell(1)
            ref.tell(2)
        await trio.sleep(0.5)

    await run_under(told, top, work)
    return told


@trouper.job(retry=trouper.Retry(attempts=3, backoff=trouper.Backoff(base=1)))
async def count(ctx: trouper.JobContext, *, upto: int) -> dict[str, int]:
    """Writes numbers, from where it was."""
    saved: Any = ctx.saved or {"next": 1}
    for number in range(saved["next"], upto + 1):
        await ctx.write(f"{number} ")
        await trio.sleep(1)
        await ctx.savepoint({"next": number + 1})
    return {"upto": upto}


async def a_job_is_run(world: World, url: str = "memory:") -> Told:
    """A job on a runtime; its user asks again whenever the store is down."""
    told = Told()

    async def in_spite_of_outages(ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except trouper.StoreUnavailable:
                await trio.sleep(0.1)

    try:
        async with trouper.open_runtime(
            url, jobs=[count], seams=world.seams, on_report=told.reports.append
        ) as runtime:
            call = count.call(upto=4)
            submit = partial(runtime.submit, call, user="ada", idempotency_key="once")
            job = await in_spite_of_outages(submit)
            job = await in_spite_of_outages(partial(runtime.wait, job.id))
            text = await in_spite_of_outages(partial(runtime.text, job.id))
            inbox = await in_spite_of_outages(partial(runtime.inbox, "ada"))
            told.more = (job.state, text, len(inbox))
    except* StartFailed:
        told.started = False
    return told
