"""Whoever waits for a client is cancelled there, and each task of a connection fails, at every await."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio

from tests.networks.visits import check, read, served, submit
from tests.transport.client_model import Reader
from trouper.simulation import Cancel, Crash, World, sweep

T = TypeVar("T")
pytestmark = pytest.mark.slow
OF_A_CONNECTION = (
    "trio_websocket",
    "trouper.transport.client_link",
    "trouper.transport.outbox",
    "trio._highlevel_serve_listeners._run_handler",
)
"""Its tasks, at either end; the last is the gateway's for each."""


@pytest.mark.clause("J3", "O2", "O6")
def test_whoever_is_cancelled_while_waiting_for_a_client_can_go_on_with_it_and_misses_nothing() -> None:
    async def whole(world: World) -> None:
        async with served(world) as service, service.client("ada") as client:
            copy = Reader()
            seen: set[str] = set()

            async def ask_on() -> str:
                return await submit(client)

            async def read_on() -> None:
                async for piece in output:
                    copy.add(piece)
                    service.check(job, copy)

            async def watch_on() -> None:
                async for change in changes:
                    seen.update(row.id for row in change.notifications)
                    if seen:
                        return

            await in_spite_of_cancellation(client.wait_connected)
            job = await in_spite_of_cancellation(ask_on)
            output, changes = client.output(job), client.changes()
            await in_spite_of_cancellation(read_on)
            service.check_whole(job, copy)
            await in_spite_of_cancellation(watch_on)
            assert len(seen) == 1

    swept = sweep(whole, check=check, sites="who waits".__eq__, faults=[Cancel])
    assert swept.fired > 10
    assert not swept.missed


async def in_spite_of_cancellation(call: Callable[[], Awaitable[T]]) -> T:
    """The result of ``call``, in a task of its own, that is begun again when it was cancelled."""
    results: list[T] = []

    async def run() -> None:
        results.append(await call())

    while not results:
        async with trio.open_nursery() as nursery:  # noqa: ASYNC112 - it is what a simulation cancels
            nursery.start_soon(run, name="who waits")
    return results[0]


@pytest.mark.clause("E1", "J3", "N1", "O2", "O6", "S5")
def test_whatever_task_of_a_connection_fails_at_any_await_the_client_comes_back_and_misses_nothing() -> None:
    async def whole(world: World) -> None:
        async with served(world) as service, service.client("ada") as client:
            await read(service, client, await submit(client))

    swept = sweep(whole, check=check, sites=lambda site: site.startswith(OF_A_CONNECTION), faults=[Crash])
    assert len(swept.points) == len(OF_A_CONNECTION)
    assert swept.fired > 50
    assert not swept.escaped
