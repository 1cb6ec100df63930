"""From ``open_runtime`` to ``connect``: what a person holds after cuts, restarts and other people."""

from __future__ import annotations

import sqlite3
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest
import trio

import trouper
from tests.transport.service import Away, Gates, open_service, until_feed
from tests.transport.test_http import until
from trouper.transport.client_errors import CommandFailed, OutputGone

GATES = Gates()
WINDOW_BYTES = 256 * 1024


def passage(number: int) -> str:
    """Texts of all sizes and scripts."""
    return f"{number}: " + "“naïve” \\ 日本語 🎪\n" * (number * 7 % 50)


@trouper.job(client=True, retry=trouper.Retry(attempts=3, backoff=trouper.Backoff(base=0.001)))
async def novel(ctx: trouper.JobContext, *, passages: int, gate: str, crashes: int = 0) -> None:
    """Passages with a savepoint now and then; dies in the middle of the first ``crashes`` attempts."""
    for number in range(ctx.saved or 0, passages):
        await ctx.write(passage(number))
        if number % 5 == 4:
            await ctx.emit("passage", {"number": number})
        if number % 50 == 49:
            await ctx.savepoint(number + 1)
        if number == passages // 2 and ctx.attempt <= crashes:
            await ctx.write("what is lost")
            await GATES[f"{gate}: crash {ctx.attempt}"].wait()
            raise ConnectionError("it dies")
        if number == passages // 2 and ctx.attempt == 1:
            await GATES[gate].wait()


def written(passages: int) -> tuple[str, list[tuple[str, Any]]]:
    """What ``novel`` has written at its end."""
    text = "".join(map(passage, range(passages)))
    return text, [("passage", {"number": number}) for number in range(4, passages, 5)]


@trouper.job(client=True)
async def quick(ctx: trouper.JobContext, *, text: str = "done") -> str:
    """Ends at once."""
    await ctx.write(text)
    return text


@trouper.job(client=True)
async def held(ctx: trouper.JobContext, *, gate: str) -> None:
    """Writes, waits, writes."""
    await ctx.write("before ")
    GATES[f"{gate}: begun"].set()
    await GATES[gate].wait()
    await ctx.write("after")


# --- cuts -------------------------------------------------------------------------------------------


@pytest.mark.clause("O2", "O6")
async def test_a_long_stream_that_is_cut_again_and_again_is_equal_at_its_end() -> None:
    GATES["cuts"].set()
    async with open_service(novel) as service, service.client() as client:
        job = await client.submit("novel", {"passages": 1500, "gate": "cuts"})
        transcript, cut_at = trouper.Transcript(), 0
        async with aclosing(client.output(job.id)) as output:
            async for item in output:
                transcript.add(item)
                if len(transcript.text) - cut_at > 100_000:
                    cut_at = len(transcript.text)
                    await client.drop_connection()
        assert (transcript.text, transcript.events) == written(1500)
        assert len(transcript.text.encode()) > 2 * WINDOW_BYTES
        assert transcript.end is not None
        assert transcript.end.verified
        assert client.frames.connections >= 3
        assert client.statistics()["rewinds"] <= 1, "the one from the queue to attempt 1"
        assert service.troubles == []


@pytest.mark.clause("J2", "O2", "O6", "N1")
async def test_who_was_away_while_the_job_ended_finds_all_of_it_and_one_notification() -> None:
    async with open_service(novel) as service:
        way = Away(service)
        async with service.client(dial=way.dial) as client:
            job = await client.submit("novel", {"passages": 900, "gate": "away"})
            transcript = trouper.Transcript()
            output = client.output(job.id)
            async for item in output:
                transcript.add(item)
                if transcript.text:
                    break
            way.close()
            await client.drop_connection()
            GATES["away"].set()
            ended = await service.runtime.wait(job.id)
            messages = client.frames.messages_received
            way.open()
            async for item in output:
                transcript.add(item)
            assert (transcript.text, transcript.events) == written(900)
            assert transcript.end == trouper.End(ended.entries, ended.sha256 or "", True, "completed")
            gap = ended.entries
            assert client.frames.messages_received - messages < gap / 20, "few large ranges"
            assert [row.job for row in await client.notifications()] == [job.id]


@pytest.mark.clause("O3", "O6", "J5")
async def test_attempts_that_die_while_one_watches_or_is_away_rewind_to_the_savepoint() -> None:
    async with open_service(novel) as service:
        way = Away(service)
        async with service.client(dial=way.dial) as client:
            job = await client.submit("novel", {"passages": 220, "gate": "die", "crashes": 2})
            transcript, rewinds = trouper.Transcript(), []
            async with aclosing(client.output(job.id)) as output:
                async for item in output:
                    transcript.add(item)
                    if isinstance(item, trouper.Rewind) and item.attempt > 1:
                        rewinds.append(item)
                    if transcript.text.endswith("what is lost"):
                        if rewinds:  # the second time it is away while the attempt dies
                            way.close()
                            await client.drop_connection()
                        GATES[f"die: crash {1 + len(rewinds)}"].set()
                        if rewinds:
                            await service.runtime.wait(job.id)
                            way.open()
            assert (transcript.text, transcript.events) == written(220)
            assert [item.attempt for item in rewinds] == [2, 3]
            kept = "".join(map(passage, range(100)))
            assert [(item.text_kept, item.events_kept) for item in rewinds] == [(len(kept), 20)] * 2
            assert transcript.end is not None
            assert transcript.end.verified


# --- the server goes and comes ----------------------------------------------------------------------


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


@trouper.job(client=True)
async def chapters(ctx: trouper.JobContext, *, count: int) -> int:
    """A savepoint a chapter; each attempt but the last waits behind its own to be stopped."""
    for number in range(ctx.saved or 0, count):
        await ctx.write(f"chapter {number}. ")
        await ctx.emit("chapter", number)
        await ctx.savepoint(number + 1)
        if number == ctx.attempt and number < count - 1:
            await ctx.write("begun but not saved ")
            await trio.sleep_forever()
    return ctx.attempt


@pytest.mark.clause("E3", "N1", "O3", "O6")
async def test_a_client_outlives_two_restarts_and_ends_with_everything_and_one_notification(
    tmp_path: Path,
) -> None:
    database = tmp_path / "chat.db"
    async with open_service(chapters, url=f"sqlite:///{database}") as service, service.client() as client:
        job = await client.submit("chapters", {"count": 4}, thread="t1")
        transcript, rewinds = trouper.Transcript(), []
        async with aclosing(client.output(job.id)) as output:
            async for item in output:
                transcript.add(item)
                if isinstance(item, trouper.Rewind) and item.attempt > 1:
                    rewinds.append((item.attempt, item.text_kept, item.events_kept))
                if transcript.text.endswith("not saved "):
                    await service.stop()
                    [(state, attempts_used)] = rows(database, "SELECT state, attempts_used FROM jobs")
                    assert (state, attempts_used) == ("queued", 0), "released: it has cost no attempt"
                    await service.start()
        whole = "chapter 0. chapter 1. chapter 2. chapter 3. "
        assert (transcript.text, [data for _, data in transcript.events]) == (whole, [0, 1, 2, 3])
        assert rewinds == [(2, 22, 2), (3, 33, 3)]
        assert transcript.end is not None
        assert (transcript.end.verified, transcript.end.entries) == (True, 8)
        ended = await client.job(job.id)
        assert (ended.state, ended.attempt, ended.result) == ("completed", 3, 3)
        assert client.frames.connections >= 3
        await until_feed(client, lambda c: c.feed.counts.unread == 1)
        assert [(row.job, row.title) for row in client.feed.notifications] == [(job.id, "chapters completed")]
        await service.stop()
        await service.start()
        assert [row.job for row in await client.notifications()] == [job.id]
        assert await client.text(job.id) == whole
        assert rows(database, "SELECT job, kind FROM notifications") == [(job.id, "ended")]
        assert service.troubles == []


@pytest.mark.clause("J3", "E3")
async def test_what_was_asked_while_the_server_was_down_is_done_once_when_it_is_back(tmp_path: Path) -> None:
    async with (
        open_service(quick, url=f"sqlite:///{tmp_path / 'chat.db'}") as service,
        service.client() as client,
    ):
        await client.wait_connected()
        await service.stop()
        got: list[str] = []

        async def submit() -> None:
            got.append((await client.submit("quick", key="k1")).id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit)
            nursery.start_soon(submit)
            await until(lambda: client.statistics()["commands_unanswered"] == 2)
            assert client.connection.state != "connected"
            assert got == []
            await service.start()
        assert got[0] == got[1]
        assert await client.text(got[0]) == "done"
        assert [row.id for row in await client.jobs()] == [got[0]]


# --- two devices, two people --------------------------------------------------------------------------


@pytest.mark.clause("N2", "N5")
async def test_two_devices_of_one_user_have_equal_counts_after_each_mark_and_another_has_none() -> None:
    async with (
        open_service(quick) as service,
        service.client(visible=False) as desk,
        service.client(visible=False) as phone,
        service.client("eve") as eve,
    ):
        await eve.wait_connected()
        jobs = [await desk.submit("quick", {"text": str(number)}) for number in range(6)]
        for job in jobs:
            await desk.text(job.id)

        async def agree(unseen: int, unread: int, shown: int) -> None:
            expected = trouper.Counts(unseen=unseen, unread=unread)
            for device in (desk, phone):
                await until_feed(
                    device, lambda c: c.feed.counts == expected and len(c.feed.notifications) == shown
                )
            assert desk.feed.seq == phone.feed.seq
            assert desk.feed.notifications == phone.feed.notifications
            assert await service.runtime.mark("ada", "seen", ids=[]) == expected

        await agree(6, 6, 6)
        assert await phone.mark("seen", job=jobs[0].id) == trouper.Counts(unseen=5, unread=6)
        await agree(5, 6, 6)
        ids = [row.id for row in desk.feed.notifications if row.job in (jobs[1].id, jobs[2].id)]
        assert await desk.mark("read", ids=ids) == trouper.Counts(unseen=3, unread=4)
        await agree(3, 4, 6)
        assert await phone.mark("archived", ids=ids[:1]) == trouper.Counts(unseen=3, unread=4)
        await agree(3, 4, 5)
        assert await eve.mark("read", upto=1000) == trouper.Counts()
        assert await eve.mark("archived", ids=[row.id for row in desk.feed.notifications]) == trouper.Counts()
        await agree(3, 4, 5)
        assert await desk.mark("read", upto=phone.feed.seq) == trouper.Counts()
        await agree(0, 0, 5)
        # A third device, later, and one that was away, hold the same.
        await phone.drop_connection()
        async with service.client(visible=False) as later:
            await until_feed(later, lambda c: c.feed.epoch is not None)
            assert later.feed.notifications == desk.feed.notifications
        assert (eve.feed.counts, eve.feed.notifications, dict(eve.feed.jobs)) == (trouper.Counts(), (), {})


@pytest.mark.clause("E1", "J2", "J3")
async def test_another_user_can_neither_see_nor_attach_nor_cancel_nor_mark() -> None:
    async with (
        open_service(held, quick) as service,
        service.client() as ada,
        service.client("eve") as eve,
    ):
        job = await ada.submit("held", {"gate": "private"}, thread="t1", key="k1")
        await GATES["private: begun"].wait()
        with pytest.raises(OutputGone, match="unknown"):
            await eve.text(job.id)
        with pytest.raises(OutputGone, match="unknown"):
            [item async for item in eve.output(job.id, attempt=1, n=1)]
        with pytest.raises(CommandFailed, match="unknown"):
            await eve.job(job.id)
        answer = await eve.cancel(job.id)
        assert (answer.answer, answer.job) == ("unknown", None)
        assert await eve.mark("read", job=job.id) == trouper.Counts()
        assert (await eve.jobs(), await eve.jobs(thread="t1"), await eve.threads()) == ((), (), ())
        assert await eve.jobs(before=job.id) == ()
        assert await eve.notifications() == ()
        # The same key and thread are others', and ada's thread does not hold eve's.
        own = await eve.submit("quick", thread="t1", key="k1", on_busy="reject")
        assert own.id != job.id
        assert await eve.text(own.id) == "done"
        assert dict(eve.feed.jobs).keys() == {own.id}
        assert not (await ada.job(job.id)).cancel_requested
        GATES["private"].set()
        assert await ada.text(job.id) == "before after"
        assert (await ada.job(job.id)).state == "completed"
        assert dict(ada.feed.jobs).keys() <= {job.id}
        assert [row.job for row in await eve.notifications()] == [own.id]


@pytest.mark.clause("J3")
async def test_one_key_over_two_connections_is_one_job_whichever_comes_first() -> None:
    async with open_service(quick) as service, service.client() as desk, service.client() as phone:
        got: list[str] = []

        async def submit(client: trouper.Client, key: str) -> None:
            got.append((await client.submit("quick", {"text": key}, key=key)).id)

        for key in ("k1", "k2", "k3"):
            async with trio.open_nursery() as nursery:
                for client in (desk, phone, desk, phone):
                    nursery.start_soon(submit, client, key)
            assert len(set(got)) == 1
            await desk.text(got[0])
            assert (await phone.submit("quick", {"text": key}, key=key)).id == got[0], "ended or not"
            with pytest.raises(CommandFailed, match="conflict"):
                await phone.submit("quick", {"text": "other"}, key=key)
            got.clear()
        assert len(await desk.jobs()) == 3
        assert len(await desk.notifications()) == 3


@pytest.mark.clause("J3")
async def test_a_submit_whose_reply_was_lost_is_the_same_job_when_it_is_sent_again() -> None:
    submit = {"t": "submit", "id": "c1", "job": "quick", "arguments": {}, "key": "k1"}
    async with open_service(quick) as service:
        async with service.raw() as peer:
            await peer.say(submit)  # and it is gone before the reply comes
        async with service.raw() as peer:
            first = await peer.ask(submit)
            again = await peer.ask(submit | {"id": "c2"})
            assert first["ok"]["job"]["id"] == again["ok"]["job"]["id"]
            assert again["ok"]["created"] is False
            listed = await peer.ask({"t": "jobs", "id": "c3"})
            assert len(listed["ok"]["jobs"]) == 1
