"""What was written from the page alone works with the real gateway, whatever happens on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import trouper
from tests.independent.client import Client
from tests.transport.service import Gates, open_service

GATES = Gates()


@trouper.job(client=True, retry=trouper.Retry(attempts=3, backoff=trouper.Backoff(base=0.001)))
async def tell(ctx: trouper.JobContext, *, lines: int) -> int:
    """Says its lines, saves every third, dies once on the way, and waits before the last."""
    first = ctx.saved["line"] if ctx.saved else 0
    for line in range(first, lines):
        if line == lines - 1:
            GATES["almost"].set()
            await GATES["last"].wait()
        await ctx.write(f"é{line};")
        await ctx.emit("line", {"n": line})
        if line % 3 == 2:
            await ctx.savepoint({"line": line + 1})
        if ctx.attempt == 1 and line == 7:
            raise ConnectionError("the first attempt dies")
    return lines


@pytest.mark.clause("N1", "N3", "O2", "O3", "O6")
async def test_a_client_written_from_the_page_alone_ends_with_all_of_it_and_one_notification(
    tmp_path: Path,
) -> None:
    GATES.clear()
    async with (
        open_service(tell, url=f"sqlite:///{tmp_path / 'chat.db'}") as service,
        trio.open_nursery() as nursery,
    ):
        client = Client(service.port, "ada")
        nursery.start_soon(client.run)
        fields = {"job": "tell", "arguments": {"lines": 30}, "key": "k"}
        job = (await client.ask("submit", **fields))["ok"]["job"]["id"]
        again = (await client.ask("submit", **fields))["ok"]
        assert (again["job"]["id"], again["created"]) == (job, False)
        nursery.start_soon(client.read, job)
        await GATES["almost"].wait()
        client.connection.cancel_scope.cancel()  # a cut
        await client.until(lambda: client.cuts > 0 and client.out is not None)
        client.way = trio.Event()
        await service.stop()
        await service.start()
        client.way.set()
        await client.until(lambda: client.cuts > 1 and client.out is not None)
        GATES["last"].set()
        output = client.outputs[job]
        await client.until(lambda: output.ended is not None and bool(client.notifications))
        assert output.ended == "verified"
        texts = "".join(part for part in output.parts if isinstance(part, str))
        assert texts == "".join(f"é{line};" for line in range(30))
        assert [part[1] for part in output.parts if not isinstance(part, str)] == [
            f'{{"n":{line}}}' for line in range(30)
        ]
        await client.until(lambda: client.counts == {"unseen": 0, "unread": 1})  # it acknowledged the end
        assert [row["job"] for row in client.notifications.values()] == [job]
        assert client.jobs[job]["state"] == "completed"
        assert (await client.ask("job", job=job))["ok"]["job"]["result"] == 30
        gone = await client.read("nothing")
        assert gone.ended == "unknown"
        nursery.cancel_scope.cancel()
