"""One tale, and what must hold of it whatever became of those who were there to read it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

import trouper
from tests.networks.devices import insist, tale_of
from tests.networks.service import Service
from tests.transport.client_model import Reader
from trouper.actors.reports import ReportKind
from trouper.simulation import Line, Report, World

LINE = Line(delay_s=0.02, slice_bytes=300, bytes_per_s=20_000, in_flight_bytes=600)
"""So that sending and receiving take several awaits each."""
WORDS = 8


@asynccontextmanager
async def served(world: World) -> AsyncIterator[Service]:
    """A service that in the end has one tale of ada's, whole, told of once, and nothing of any client."""
    service = Service(world, [])
    service.jobs.append(tale_of(service))
    service.network.line = LINE
    async with trio.open_nursery() as server:
        await server.start(service.run)
        with trio.fail_after(600):
            yield service
            await _check_with_another_client(service)
        await service.check_empty()
        server.cancel_scope.cancel()
    crashes = [report for report in service.reports if report.kind is ReportKind.CRASH]
    assert [report for report in crashes if "on purpose" not in report.reason] == []


async def submit(client: trouper.Client) -> str:
    """The id of the tale, which is one, however often it is submitted."""
    return (await insist(lambda: client.submit("tale", {"words": WORDS}, key="one"))).id


async def read(service: Service, client: trouper.Client, job: str) -> None:
    """All of it, and every piece is what it should be."""
    copy = Reader()
    async for piece in client.output(job):
        copy.add(piece)
        service.check(job, copy)
    service.check_whole(job, copy)


async def _check_with_another_client(service: Service) -> None:
    async with service.client("ada") as client:
        job = await submit(client)
        await read(service, client, job)
        assert len(await insist(client.jobs)) == 1
        assert [row.kind for row in await insist(client.notifications)] == ["ended"]


def check(report: Report) -> None:
    assert report.left == ()
