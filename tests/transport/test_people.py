"""A person answers, and steers, from the Python client: over a real gateway and a restart of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trouper
from tests.transport.service import open_service


@trouper.job(client=True)
async def book(ctx: trouper.JobContext) -> list[Any]:
    steered = ctx.saved
    if steered is None:
        async for message in ctx.messages:
            steered = [message.data, message.sender]
            break
        await ctx.savepoint(steered)
    return [steered, await ctx.ask_user("Which?", choices=["early", "late"], key="flight")]


async def asking(client: trouper.Client, job_id: str) -> Any:
    """The open question, as the feed shows it."""
    async for change in client.changes():
        for row in change.jobs:
            if row.id == job_id and row.asking is not None:
                return row.asking
    raise AssertionError("the feed ended")


@pytest.mark.clause("J7", "J8")
async def test_a_job_is_steered_and_answered_over_the_wire_and_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with open_service(book, url=url) as service, service.client() as client:
        job = await client.submit("book")
        assert await client.signal(job.id, {"to": "Rome"}, key="m1") == "accepted"
        assert await client.signal(job.id, {"to": "Rome"}, key="m1") == "accepted"
        with pytest.raises(trouper.CommandFailed, match="with other content") as conflict:
            await client.signal(job.id, {"to": "Oslo"}, key="m1")
        assert conflict.value.code == "conflict"
        question = await asking(client, job.id)
        assert (question["question"], question["schema"]["enum"]) == ("Which?", ["early", "late"])
        await service.stop()
        await service.start()
        waits = await client.job(job.id)
        assert (waits.state, waits.reason, waits.asking) == ("queued", "question", question)
        [note] = await client.notifications()
        assert (note.kind, note.title, note.key) == ("question", "Which?", "flight")
        async with service.client("eve") as eve:
            assert await eve.answer(job.id, "flight", "late") == "unknown"
            assert await eve.signal(job.id, 1) == "unknown"
        with pytest.raises(trouper.CommandFailed, match='legal are "early", "late"') as refused:
            await client.answer(job.id, "flight", "noon")
        assert refused.value.code == "bad_request"
        assert await client.answer(job.id, "another", "late") == "not_asked"
        assert await client.answer(job.id, "flight", "late") == "accepted"
        assert await client.answer(job.id, "flight", "early") == "already_answered"
        ended = await service.runtime.wait(job.id)
        assert ended.result == '[[{"to":"Rome"},"ada"],"late"]'
        assert await client.answer(job.id, "flight", "late") == "accepted"
        assert await client.signal(job.id, 2) == "already_ended"
