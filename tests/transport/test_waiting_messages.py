"""A message to a job is seen by every device of its user once it is accepted, and so is its reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trouper
from tests.transport.service import Gates, open_service, until_feed

pytestmark = pytest.mark.clause("J7")

GATES = Gates()


@trouper.job(client=True, retry=trouper.Retry(attempts=9, backoff=trouper.Backoff(base=0)))
async def reads(ctx: trouper.JobContext) -> list[Any]:
    """Reads a message when its gate is open; ends with the third."""
    heard: list[Any] = []
    for number in range(1, 4):
        await GATES[f"{ctx.thread} {ctx.attempt} {number}"].wait()
        heard.append((await anext(ctx.messages)).data)
    return heard


async def counted(client: trouper.Client, job_id: str, accepted: int, read: int) -> None:
    """Wait until the feed of this client shows so many messages, and so many of them as read."""
    await until_feed(
        client,
        lambda client: (
            job_id in client.feed.jobs
            and (client.feed.jobs[job_id].messages, client.feed.jobs[job_id].messages_read)
            == (accepted, read)
        ),
    )


async def waiting(client: trouper.Client, job_id: str) -> list[Any]:
    """What waits to be read, as a device asks that has heard of it."""
    row = client.feed.jobs[job_id]
    return [each.message for each in await client.messages(job_id, after=row.messages_read)]


async def test_another_device_and_a_new_one_see_what_waits_over_a_restart_until_it_is_read(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with open_service(reads, url=url) as service, service.client() as phone:
        async with service.client() as laptop:
            job = await laptop.submit("reads", thread="restart")
            for number, key in enumerate(("a", "b", "c"), 1):
                assert await laptop.signal(job.id, {"n": number}, key=key) == "accepted"
            await counted(phone, job.id, 3, 0)
            assert await waiting(phone, job.id) == [{"n": 1}, {"n": 2}, {"n": 3}]
            GATES["restart 1 1"].set()
            await counted(phone, job.id, 3, 1)
            await counted(laptop, job.id, 3, 1)
            assert await waiting(phone, job.id) == [{"n": 2}, {"n": 3}]
        await service.stop()
        await service.start()
        async with service.client() as reloaded:  # it holds nothing but what the server says
            await counted(reloaded, job.id, 3, 0)
            assert await waiting(reloaded, job.id) == [{"n": 1}, {"n": 2}, {"n": 3}], "none was saved as read"
            for number in (1, 2, 3):
                GATES[f"restart 2 {number}"].set()
            await counted(reloaded, job.id, 3, 3)
            assert await waiting(reloaded, job.id) == []
            sent = await reloaded.messages(job.id)
            assert [(each.seq, each.key, each.sender) for each in sent] == [
                (1, "a", "ada"),
                (2, "b", "ada"),
                (3, "c", "ada"),
            ]
            assert (await service.runtime.wait(job.id)).result == '[{"n":1},{"n":2},{"n":3}]'


async def test_what_a_job_had_not_read_at_its_end_is_told_as_that() -> None:
    async with open_service(reads) as service, service.client() as client:
        job = await client.submit("reads", thread="end")
        for number in (1, 2):
            await client.signal(job.id, number)
        GATES["end 1 1"].set()
        await counted(client, job.id, 2, 1)
        await client.cancel(job.id)
        await until_feed(client, lambda client: client.feed.jobs[job.id].ended)
        row = await client.job(job.id)
        assert (row.messages, row.messages_read) == (2, 1)
        assert [each.message for each in await client.messages(job.id, after=1)] == [2]


async def test_messages_come_in_pages_and_those_of_others_do_not() -> None:
    async with open_service(reads) as service, service.client() as client:
        job = await client.submit("reads", thread="pages")
        for number in range(1, 6):
            await service.runtime.signal(job.id, number)
        pages = [
            [
                (each.seq, each.message, each.sender)
                for each in await client.messages(job.id, after=after, limit=2)
            ]
            for after in (0, 2, 4, 5)
        ]
        assert pages == [[(1, 1, None), (2, 2, None)], [(3, 3, None), (4, 4, None)], [(5, 5, None)], []]
        async with service.client("eve") as eve:
            with pytest.raises(trouper.CommandFailed) as refused:
                await eve.messages(job.id)
        assert refused.value.code == "unknown"


async def test_a_row_stays_small_however_much_waits() -> None:
    """What a snapshot holds of a job is two numbers; the messages themselves come when they are asked for,
    and no more at a time than a reply may hold."""
    async with open_service(reads) as service, service.client() as client:
        job = await client.submit("reads", thread="large")
        sent = ["x" * 16_000 for _ in range(100)]
        for text in sent:
            await service.runtime.signal(job.id, text)
        async with service.raw(None) as peer:
            await peer.welcome(token="ada")
            snapshot = await peer.hear_item("snapshot")
            assert [row["messages"] for row in snapshot["jobs"]] == [100]
            assert len(str(snapshot)) < 2_000
        heard: list[Any] = []
        while page := await client.messages(job.id, after=len(heard), limit=100):
            assert len(page) < 100, "of a megabyte at most"
            heard += [each.message for each in page]
        assert heard == sent
