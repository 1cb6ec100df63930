"""The client against a real gateway of a real runtime, over loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from trouper.actors.job_context import JobContext
from trouper.actors.job_spec import Backoff, Retry, job
from trouper.actors.output_pieces import End, Progress, Rewind, Text, Transcript
from trouper.store.seams import Seams
from trouper.supervisor.options import RuntimeOptions
from trouper.supervisor.runtime import open_runtime
from trouper.transport.auth import Hello
from trouper.transport.client import Client, connect
from trouper.transport.client_errors import ClientStopped, CommandFailed, OutputGone
from trouper.transport.client_options import ClientOptions
from trouper.transport.gateway import Gateway, serve

PATIENCE_S = 30
DEFAULTS = RuntimeOptions()


class Gates(dict[str, trio.Event]):
    """Events that jobs wait for, by the name they were given."""

    def __missing__(self, name: str) -> trio.Event:
        return self.setdefault(name, trio.Event())


GATES = Gates()


@job(client=True)
async def echo(ctx: JobContext, *, text: str, gate: str) -> dict[str, str]:
    """Writes its text letter by letter, and waits in the middle of it."""
    for position, letter in enumerate(text):
        if position == len(text) // 2:
            await ctx.progress(position, len(text), "half of it")
            await GATES[gate].wait()
        await ctx.write(letter)
    await ctx.emit("done", {"letters": len(text)})
    return {"text": text}


@job(client=True, retry=Retry(attempts=2, backoff=Backoff(base=0.001)))
async def stumble(ctx: JobContext, *, gate: str) -> None:
    """Keeps its first line; loses the second at its first attempt."""
    if ctx.saved is None:
        await ctx.write("kept ")
        await ctx.savepoint({"line": 1})
    if ctx.attempt == 1:
        await ctx.write("lost ")
        await GATES[gate].wait()
        raise ConnectionError("the first attempt dies")
    await ctx.write("found")


@job(client=True)
async def pour(ctx: JobContext, *, blocks: int) -> None:
    """Writes blocks of 10,000 characters."""
    for number in range(blocks):
        await ctx.write(f"{number:04}".ljust(10_000, "."))


class NoDelay:
    """Jitter that draws zero: tests do not wait for a back-off."""

    def uniform(self, low: float, high: float) -> float:
        return low


def by_token(hello: Hello) -> str | None:
    return hello.token or None


def client_of(gateway: Gateway, user: str | None = "ada", **more: Any) -> Any:
    seams = Seams(random=NoDelay())  # type: ignore[arg-type]
    return connect(f"http://127.0.0.1:{gateway.port}", token=user, seams=seams, **more)


@asynccontextmanager
async def open_gateway(options: RuntimeOptions = DEFAULTS) -> AsyncIterator[Gateway]:
    reports: list[object] = []
    with trio.fail_after(PATIENCE_S):
        async with (
            open_runtime(
                "memory:", jobs=[echo, stumble, pour], on_report=reports.append, options=options
            ) as runtime,
            trio.open_nursery() as nursery,
        ):
            gateway: Gateway = await nursery.start(partial(serve, runtime, port=0, authenticate=by_token))
            yield gateway
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_client(options: RuntimeOptions = DEFAULTS) -> AsyncIterator[tuple[Client, Gateway]]:
    async with open_gateway(options) as gateway, client_of(gateway) as client:
        yield client, gateway


@pytest.mark.clause("O2", "O6")
async def test_a_stream_that_is_cut_goes_on_and_the_text_is_equal_and_verified() -> None:
    text = "an echo, längs and crosswise"
    async with open_client() as (client, _):
        job = await client.submit("echo", {"text": text, "gate": "cut"}, thread="t1")
        assert (job.name, job.arguments, job.thread) == ("echo", {"text": text, "gate": "cut"}, "t1")
        transcript = Transcript()
        async with aclosing(client.output(job.id)) as output:
            async for item in output:
                transcript.add(item)
                if isinstance(item, Progress):
                    assert (item.total, item.note) == (len(text), "half of it")
                if transcript.text == text[: len(text) // 2] and not GATES["cut"].is_set():
                    await client.drop_connection()
                    GATES["cut"].set()
        assert transcript.text == text
        assert transcript.events == [("done", {"letters": len(text)})]
        assert isinstance(transcript.end, End)
        assert transcript.end.verified
        assert client.frames.connections == 2
        assert (await client.job(job.id)).result == {"text": text}


async def test_another_session_reads_the_same_from_the_beginning_and_from_a_cursor() -> None:
    GATES["again"].set()
    async with open_client() as (client, gateway):
        job = await client.submit("echo", {"text": "abcdef", "gate": "again"})
        assert await client.text(job.id) == "abcdef"
        async with client_of(gateway) as other:
            assert await other.text(job.id) == "abcdef"
            items = [item async for item in other.output(job.id, attempt=1, n=4)]
            assert "".join(item.text for item in items if isinstance(item, Text)) == "ef"
            assert isinstance(items[-1], End)
            assert not items[-1].verified
        async with client_of(gateway, "eve") as stranger:
            with pytest.raises(OutputGone):
                await stranger.text(job.id)
            with pytest.raises(CommandFailed, match="unknown"):
                await stranger.job(job.id)
            assert (await stranger.cancel(job.id)).answer == "unknown"


@pytest.mark.clause("O3")
async def test_an_attempt_that_dies_is_rewound_to_its_savepoint() -> None:
    async with open_client() as (client, _):
        job = await client.submit("stumble", {"gate": "stumble"})
        transcript, rewinds = Transcript(), []
        async for item in client.output(job.id):
            transcript.add(item)
            if transcript.text == "kept lost ":
                GATES["stumble"].set()
            if isinstance(item, Rewind):
                rewinds.append(item)
        assert transcript.text == "kept found"
        assert [(item.attempt, item.keep, item.text_kept) for item in rewinds] == [(2, 1, 5)]
        assert transcript.end is not None
        assert transcript.end.verified


@pytest.mark.clause("N3", "N5")
async def test_the_end_leaves_one_notification_which_every_session_hears_of() -> None:
    async with open_client() as (client, gateway), client_of(gateway, visible=False) as other:
        GATES["bell"].set()
        await other.wait_connected()
        job = await client.submit("echo", {"text": "ding", "gate": "bell"})
        await client.text(job.id)
        async for change in other.changes():  # the ack of a visible session has marked it seen
            if change.counts.unread == 1 and change.counts.unseen == 0:
                break
        (notification,) = other.feed.notifications
        assert (notification.job, notification.title, notification.seen) == (job.id, "echo completed", True)
        assert other.feed.jobs[job.id].state == "completed"
        assert (await other.mark("read", ids=[notification.id])).unread == 0
        async for change in client.changes():
            if change.counts.unread == 0 and change.notifications:
                break
        assert [row.id for row in await client.notifications()] == [notification.id]


async def test_commands_find_what_there_is() -> None:
    async with open_client() as (client, _):
        GATES["list"].set()
        first = await client.submit("echo", {"text": "a", "gate": "list"}, thread="t1", key="k1")
        assert (
            await client.submit("echo", {"text": "a", "gate": "list"}, thread="t1", key="k1")
        ).id == first.id
        with pytest.raises(CommandFailed, match="conflict"):
            await client.submit("echo", {"text": "b", "gate": "list"}, thread="t1", key="k1")
        with pytest.raises(CommandFailed, match="bad_request"):
            await client.submit("echo", {"txt": "b"})
        with pytest.raises(CommandFailed, match="unknown_job"):
            await client.submit("no such job")
        second = await client.submit("echo", {"text": "b", "gate": "held"}, thread="t1")
        assert [row.id for row in await client.jobs(thread="t1")] == [second.id, first.id]
        assert [row.id for row in await client.jobs(before=second.id)] == [first.id]
        (thread,) = await client.threads()
        assert (thread.thread, thread.jobs, thread.last.id) == ("t1", 2, second.id)
        assert (await client.cancel(second.id)).answer == "accepted"
        async for change in client.changes():
            if any(row.id == second.id and row.state == "cancelled" for row in change.jobs):
                break
        assert (await client.cancel(first.id)).answer == "already_ended"


@pytest.mark.clause("O4")
async def test_an_output_that_is_read_late_stays_within_its_buffer_and_comes_whole() -> None:
    options = ClientOptions(output_buffer_bytes=50_000)
    async with open_gateway() as gateway, client_of(gateway, options=options) as client:
        job = await client.submit("pour", {"blocks": 200})
        late = client.output(job.id)
        async for change in client.changes():
            if any(row.id == job.id and row.ended for row in change.jobs):
                break
        assert client.statistics()["output_buffered_bytes"] <= 50_000 + 256 * 1024 + 1000
        transcript = Transcript()
        async for item in late:
            transcript.add(item)
            await trio.lowlevel.checkpoint()
        assert len(transcript.text) == 2_000_000
        assert transcript.end is not None
        assert transcript.end.verified


async def test_who_is_not_known_is_told_to_stay_away() -> None:
    async with open_gateway() as gateway, client_of(gateway, None) as client:
        with pytest.raises(ClientStopped) as caught:
            await client.wait_connected()
        assert caught.value.code == 4501


async def test_two_cuts_in_a_row_lose_nothing_of_what_was_asked() -> None:
    GATES["twice"].set()
    async with open_client() as (client, _):
        rows = []

        async def submit(number: int) -> None:
            rows.append(await client.submit("echo", {"text": f"{number}", "gate": "twice"}, key=f"k{number}"))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(submit, number)
                if number % 7 == 6:
                    await client.wait_connected()
                    await client.drop_connection()
        assert len({row.id for row in rows}) == 20
        assert len(await client.jobs(limit=100)) == 20


@pytest.mark.clause("J2", "J4")
async def test_a_job_is_cancelled_by_its_key_before_it_comes_and_another_ends_what_runs() -> None:
    async with open_client() as (ada, _):
        early = await ada.cancel_key("k1")
        assert (early.answer, early.job) == ("accepted", None)
        born = await ada.submit("echo", {"text": "ab", "gate": "never"}, key="k1")
        assert (born.state, born.reason) == ("cancelled", "user")
        first = await ada.submit("echo", {"text": "ab", "gate": "never"}, thread="t")
        later = await ada.submit("echo", {"text": "ab", "gate": "never"}, thread="t", delay=3600)
        second = await ada.submit("echo", {"text": "", "gate": ""}, thread="t", on_busy="interrupt")
        async for _change in ada.changes():
            if ada.feed.jobs[second.id].ended:
                break
        states = [(ada.feed.jobs[each.id].state, ada.feed.jobs[each.id].reason) for each in (first, later)]
        assert states == [("cancelled", "superseded"), ("queued", None)]
        with pytest.raises(CommandFailed, match="legal is 'enqueue'"):
            await ada.submit("echo", {"text": "", "gate": ""}, on_busy="rollback", delay=1)


@pytest.mark.clause("J4")
async def test_a_client_sees_its_place_in_the_queue_and_that_it_is_over() -> None:
    async with open_client(RuntimeOptions(max_running=1)) as (client, _):
        first = await client.submit("echo", {"text": "ab", "gate": "line"})
        second = await client.submit("echo", {"text": "", "gate": ""})
        seen: list[dict[str, int]] = []
        async for change in client.changes():
            if not seen or seen[-1] != dict(change.places):
                seen.append(dict(change.places))
            if second.id in change.places:
                GATES["line"].set()
            if client.feed.jobs.get(second.id, second).ended and not change.places:
                break
        assert seen[-2:] == [{second.id: 1}, {}]
        assert client.feed.jobs[first.id].state == "completed"


@pytest.mark.clause("J4")
async def test_a_client_knows_what_holds_up_a_job_that_has_no_place() -> None:
    async with open_client(RuntimeOptions(max_running=1)) as (client, _):
        fields = {"text": "ab", "gate": "held"}
        runs = await client.submit("echo", fields, thread="t")
        behind = await client.submit("echo", fields, thread="t")
        next_of_all = await client.submit("echo", fields, thread="u")
        last = await client.submit("echo", fields, thread="u")
        async for change in client.changes():
            if next_of_all.id in change.places:
                break
        feed = client.feed
        assert feed.places == {next_of_all.id: 1}
        holders = {id: feed.holder(row) for id, row in feed.jobs.items()}
        assert {id: holder and holder.id for id, holder in holders.items()} == {
            runs.id: None,
            behind.id: runs.id,
            next_of_all.id: None,
            last.id: next_of_all.id,
        }
        GATES["held"].set()
        async for _change in client.changes():
            if all(row.ended for row in feed.jobs.values()) and len(feed.jobs) == 4:
                break
