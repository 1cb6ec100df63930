"""At any step of anybody something happens to a client: its job ends once all the same, and all is read.

Steps are counted while the client is there, server and all, so that what happens falls into the middle of
whatever takes more than one: a flush, a page that is read, a handshake, a close.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest
import trio
from trio.lowlevel import Task

import trouper
from tests.networks.service import Service
from tests.networks.visits import check, read, served, submit
from trouper.simulation import World, simulate

pytestmark = pytest.mark.slow


class StepCounter(trio.abc.Instrument):
    """``come`` is set after the ``at``-th step."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0
        self.come = trio.Event()

    def after_task_step(self, task: Task) -> None:
        """Called by trio."""
        self.steps += 1
        if self.steps == self.at:
            self.come.set()


class Visit:
    """A client of ada's that submits, reads half, looks around and reads all."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.scope = trio.CancelScope()
        self.client: trouper.Client | None = None
        self.again = False
        """It comes once more, having been sent away."""

    async def go(self) -> None:
        with self.scope:
            async with self.service.client("ada") as client:
                self.client = client
                job = await submit(client)
                async with aclosing(client.output(job)) as output:
                    await anext(output)
                    await anext(output)
                await client.job(job)
                await read(self.service, client, job)
        if self.scope.cancelled_caught and self.again:
            self.again, self.scope = False, trio.CancelScope()
            await self.go()


Happening = Callable[[Visit], Awaitable[None]]


async def it_is_cancelled(visit: Visit) -> None:
    visit.scope.cancel()


async def it_is_loaded_again(visit: Visit) -> None:
    visit.again = True
    visit.scope.cancel()


async def it_is_hidden_and_shown(visit: Visit) -> None:
    if visit.client is not None:
        visit.client.set_visible(False)
        await trio.lowlevel.checkpoint()
        visit.client.set_visible(True)


async def it_asks_for_another_pace(visit: Visit) -> None:
    if visit.client is not None:
        visit.client.set_coalesce(500)
        await trio.sleep(0.01)
        visit.client.set_coalesce(0)


async def its_connection_is_cut(visit: Visit) -> None:
    visit.service.network.cut_all()


async def its_connection_is_half_open(visit: Visit) -> None:
    for connection in visit.service.network.connections:
        connection.swallow()


async def the_server_dies(visit: Visit) -> None:
    visit.service.kill()


HAPPENINGS: tuple[Happening, ...] = (
    it_is_cancelled,
    it_is_loaded_again,
    it_is_hidden_and_shown,
    it_asks_for_another_pace,
    its_connection_is_cut,
    its_connection_is_half_open,
    the_server_dies,
)
each_happening = pytest.mark.parametrize("happens", HAPPENINGS, ids=lambda happens: happens.__name__)
NEVER = 1_000_000
HOLDS = pytest.mark.clause("J2", "J3", "N1", "N2", "O2", "O5", "O6", "S5")


def play(happens: Happening, at: int, *, told_before: bool) -> int:
    """How many steps the visit took."""

    async def whole(world: World) -> int:
        async with served(world) as service, trio.open_nursery() as nursery:
            if told_before:  # so that it is read in pages
                async with service.client("ada") as before:
                    await before.text(await submit(before))
            visit = Visit(service)
            counter = StepCounter(at)

            async def happening() -> None:
                await counter.come.wait()
                await happens(visit)

            nursery.start_soon(happening)
            trio.lowlevel.add_instrument(counter)
            await visit.go()
            trio.lowlevel.remove_instrument(counter)
            nursery.cancel_scope.cancel()
        return counter.steps

    report = simulate(whole, seed=at)
    check(report)
    return int(report.result)


def play_at(happens: Happening, first: int, stride: int, *, told_before: bool) -> int:
    """At each of these steps of those that a visit takes in which nothing happens; how many they were."""
    steps = range(first, play(happens, NEVER, told_before=told_before), stride)
    for at in steps:
        play(happens, at, told_before=told_before)
    return len(steps)


@HOLDS
@each_happening
@pytest.mark.parametrize("told_before", [False, True], ids=["live", "in_pages"])
def test_whatever_happens_at_any_moment_nothing_is_missed_and_nothing_is_left(
    happens: Happening, told_before: bool
) -> None:
    first = 1 + 5 * HAPPENINGS.index(happens)
    assert play_at(happens, first, 37, told_before=told_before) >= 5


@pytest.mark.clause("N2", "S5")
def test_a_client_in_a_black_hole_is_let_go_by_its_server() -> None:
    play(its_connection_is_half_open, 200, told_before=False)


@HOLDS
@pytest.mark.torture
@each_happening
@pytest.mark.parametrize("told_before", [False, True], ids=["live", "in_pages"])
def test_whatever_happens_at_every_single_step_nothing_is_missed_and_nothing_is_left(
    happens: Happening, told_before: bool
) -> None:
    assert play_at(happens, 1, 1, told_before=told_before) >= 100
