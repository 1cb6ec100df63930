"""Sessions of a runtime: their feed, and the notifiers that serve them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trouper
from tests.supervisor.support import Feed, Open, echo, forever
from trouper.actors.channel import SubscriberChannel
from trouper.actors.channel_items import (
    ChannelItem,
    EndItem,
    FeedChanges,
    FeedSnapshot,
    GoneItem,
    OutputItem,
    PlacesItem,
    ProgressItem,
)
from trouper.actors.options import ChannelLimits
from trouper.store.protocol import Changes
from trouper.transport.codec import encode_item
from trouper.transport.views import channel_item


@asynccontextmanager
async def crowded(opened: Open, room: int) -> AsyncIterator[tuple[trouper.Runtime, SubscriberChannel]]:
    """A session of ada's, whose notifier has room for so many messages."""
    options = trouper.RuntimeOptions(notifier_mailbox=room)
    async with opened(echo, options=options) as runtime, runtime.open_session("ada") as channel:
        yield runtime, channel


@pytest.mark.clause("N1")
async def test_a_notification_of_a_job_is_left_once_over_all_attempts(opened: Open) -> None:
    @trouper.job(retry=trouper.Retry(attempts=3, backoff=trouper.Backoff(base=0)))
    async def tells(ctx: trouper.JobContext) -> None:
        await ctx.notify(key="half", title="half way", body="10 of 20")
        if ctx.attempt < 3:
            raise RuntimeError("again")

    async with opened(tells) as runtime:
        job = await runtime.submit(tells.call(), user="ada")
        await runtime.wait(job.id)
        titles = [n.title for n in await runtime.inbox("ada")]
        assert sorted(titles) == ["half way", "tells completed"]


@pytest.mark.clause("N2", "N3", "N5")
async def test_one_session_hears_of_all_jobs_with_absolute_counts(opened: Open) -> None:
    async with opened(echo) as runtime, runtime.open_session("ada") as channel:
        feed = Feed()
        await feed.follow(channel, until=lambda: feed.seq == 0)
        jobs = [await runtime.submit(echo.call(text=str(n)), user="ada") for n in range(3)]
        await runtime.submit(echo.call(text="other"), user="eve")
        await feed.follow(channel, until=lambda: feed.counts == trouper.Counts(3, 3))
        assert {id: job.state.value for id, job in feed.jobs.items()} == {job.id: "completed" for job in jobs}
        counts = await runtime.mark("ada", "read", job_id=jobs[0].id)
        assert counts == trouper.Counts(2, 2)
        await feed.follow(channel, until=lambda: feed.counts == counts)


@pytest.mark.clause("N2", "E1")
async def test_more_wishes_than_a_notifier_has_room_for_are_all_served_in_the_end(
    opened: Open, autojump_clock: MockClock
) -> None:
    options = trouper.RuntimeOptions(notifier_mailbox=5)
    async with opened(echo, options=options) as runtime, AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(runtime.open_session("ada")) for _ in range(4)]
        for number, channel in enumerate(channels):
            for at in range(6):
                channel.attach(f"none {number}.{at}", 1, 0)
        channels.append(await stack.enter_async_context(runtime.open_session("ada")))
        items: list[ChannelItem] = []
        for _ in range(30):
            await trio.sleep(1)
            for channel in channels:
                items += channel.take(1000)
        assert sum(isinstance(item, GoneItem) for item in items) == 24
        assert sum(isinstance(item, FeedSnapshot) for item in items) == 5


@pytest.mark.clause("N5")
async def test_what_was_seen_when_a_notifier_had_no_room_is_told_to_it_again(
    opened: Open, autojump_clock: MockClock
) -> None:
    async with crowded(opened, 2) as (runtime, channel):
        jobs = [await runtime.submit(echo.call(text="hi"), user="ada") for _ in range(6)]
        for job in jobs:
            await runtime.wait(job.id)
            channel.attach(job.id, 1, 0)
        for _ in range(30):
            await trio.sleep(1)
            channel.take(1_000)
        assert [row.seen_at for row in await runtime.inbox("ada")] == [None] * 6
        channel.ack(channel.statistics().sent_bytes, 0)  # six ends at once
        await trio.sleep(30)
        assert [row.seen_at is not None for row in await runtime.inbox("ada")] == [True] * 6


@pytest.mark.clause("E1")
async def test_a_reader_of_another_user_who_leaves_does_not_take_a_wish_along(
    opened: Open, autojump_clock: MockClock
) -> None:
    async with crowded(opened, 1) as (runtime, channel):
        job = await runtime.submit(echo.call(text="hi"), user="ada")
        await runtime.wait(job.id)
        await trio.sleep(1)
        async with runtime.open_session("eve") as eve:  # its own feed is all that its notifier has room for
            eve.attach(job.id, 0, 0)
            channel.attach(job.id, 1, 0)
        items: list[ChannelItem] = []
        for _ in range(5):  # the row first, then a page
            await trio.sleep(1)
            items += channel.take(1000)
        assert [item.parts for item in items if isinstance(item, OutputItem)] == [["hi"]]


@pytest.mark.clause("N6", "N2")
async def test_a_notifier_lives_only_while_its_user_has_sessions(opened: Open) -> None:
    async with opened(echo) as runtime:
        notifiers = runtime._tree.audience.notifiers
        job = await runtime.submit(echo.call(text="a"), user="ada")
        await runtime.wait(job.id)
        assert notifiers.statistics().children == 0
        async with runtime.open_session("ada"), runtime.open_session("ada"), runtime.open_session("eve"):
            await wait_all_tasks_blocked()
            assert notifiers.statistics().children == 2
        await wait_all_tasks_blocked()
        assert notifiers.statistics().children == 0


@pytest.mark.clause("N2", "N3")
async def test_a_session_that_was_idle_or_away_for_an_hour_is_told_only_what_has_changed(
    opened: Open, autojump_clock: MockClock
) -> None:
    async with opened(echo) as runtime:
        async with runtime.open_session("ada") as channel:
            [first] = await waited_for(channel)
            assert isinstance(first, FeedSnapshot)
            await trio.sleep(3600)
            idle = await runtime.submit(echo.call(text="a"), user="ada")
            await runtime.wait(idle.id)
            held = await told(channel, first.snapshot.seq, idle.id)
            epoch = channel.epoch
        away = await runtime.submit(echo.call(text="b"), user="ada")
        await runtime.wait(away.id)
        await trio.sleep(3600)
        async with runtime.open_session("ada", feed=(epoch, held)) as channel:
            await told(channel, held, away.id)


@pytest.mark.clause("O2", "O6")
async def test_an_output_is_whole_from_any_cursor_an_hour_after_its_end(
    opened: Open, autojump_clock: MockClock
) -> None:
    @trouper.job()
    async def says(ctx: trouper.JobContext) -> None:
        for text in "abc":
            await ctx.write(text)

    async with opened(says) as runtime:
        job = await runtime.submit(says.call(), user="ada")
        ended = await runtime.wait(job.id)
        await trio.sleep(3600)
        for held in range(4):
            async with runtime.open_session("ada") as channel:
                channel.attach(job.id, 1, held)
                items = await waited_for(channel)
                items += await waited_for(channel)  # what had to be read from the store first
                *rest, end = [item for item in items if not isinstance(item, FeedSnapshot)]
                text = "".join(str(part) for item in rest for part in getattr(item, "parts", ()))
                assert text == "abc"[held:]
                assert isinstance(end, EndItem)
                assert (end.entries, end.sha256) == (3, ended.sha256)


async def waited_for(channel: SubscriberChannel) -> list[ChannelItem]:
    await wait_all_tasks_blocked()
    return channel.take(1000)


async def told(channel: SubscriberChannel, seq: int, job_id: str) -> int:
    """From ``seq`` on nothing but changes of this job, to its end; the seq that is held then. Its place in
    the queue may be told or not: only the latest ever is."""
    items = [item for item in await waited_for(channel) if not isinstance(item, PlacesItem)]
    changes = [item.changes for item in items if isinstance(item, FeedChanges)]
    assert len(changes) == len(items) > 0, items
    assert changes[0].prev == seq
    assert {job.id for each in changes for job in each.jobs} == {job_id}
    assert changes[-1].jobs[-1].state is trouper.JobState.COMPLETED
    return changes[-1].seq


@pytest.mark.clause("N2")
async def test_a_notifier_that_crashes_serves_the_sessions_that_were_there(
    opened: Open, autojump_clock: MockClock
) -> None:
    async with opened(echo) as runtime, runtime.open_session("ada") as channel:
        feed = Feed()
        await feed.follow(channel, until=lambda: feed.seq == 0)
        runtime._tree.audience.notifiers.ref("ada").tell("not a message")  # type: ignore[arg-type]
        job = await runtime.submit(echo.call(text="a"), user="ada")
        await feed.follow(channel, until=lambda: feed.counts == trouper.Counts(1, 1))
        assert feed.jobs[job.id].state is trouper.JobState.COMPLETED


@pytest.mark.clause("E2")
async def test_statistics_tell_the_use_of_each_bound_of_the_sessions(opened: Open) -> None:
    async with opened(echo) as runtime, runtime.open_session("ada") as channel:
        job = await runtime.submit(echo.call(text="abc"), user="ada")
        await runtime.wait(job.id)
        channel.attach(job.id, 1, 0)
        await wait_all_tasks_blocked()
        channel.take(64 * 1024)
        await wait_all_tasks_blocked()
        channel.take(64 * 1024)
        told = runtime.statistics()
        assert told["sessions"] == {"now": 1, "max": runtime.options.max_sessions}
        assert told["in_flight_bytes"]["now"] == told["in_flight_bytes"]["most"] == 3 + 64
        assert told["in_flight_bytes"]["max"] == runtime.options.channels.window_bytes
        assert (told["attached"]["now"], told["notifiers"]["children"]) == (0, 1)


async def test_a_page_opened_later_finds_the_last_progress_of_a_job(opened: Open) -> None:
    @trouper.job
    async def slow(ctx: trouper.JobContext) -> None:
        await ctx.progress(3, 10, "third")
        await trio.sleep_forever()

    async with opened(slow) as runtime:
        job = await runtime.submit(slow.call(), user="ada")
        await wait_all_tasks_blocked()  # nobody watches
        async with runtime.open_session("ada") as channel:
            channel.attach(job.id, 1, 0)
            await wait_all_tasks_blocked()
            assert ProgressItem(job.id, 1, 3, 10, "third") in channel.take(1000)


@pytest.mark.clause("N2", "E1")
async def test_what_the_store_failed_to_say_is_asked_again_and_nothing_newer_is_lost(
    opened: Open, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(echo) as runtime, runtime.open_session("ada") as channel:
        feed = Feed()
        await feed.follow(channel, until=lambda: feed.seq == 0)
        reads = runtime.store.changes_since
        fail = [True]

        async def failing(user: str, seq: int, limit: int) -> Changes | None:
            if fail:
                fail.pop()
                raise trouper.StoreUnavailable("for a moment")
            return await reads(user, seq, limit)

        monkeypatch.setattr(runtime.store, "changes_since", failing)
        for text in "abc":
            job = await runtime.submit(echo.call(text=text), user="ada")
            await runtime.wait(job.id)
        await feed.follow(channel, until=lambda: feed.counts.unread == 3)


@pytest.mark.clause("E2", "N3")
async def test_hundreds_of_waiting_jobs_come_in_messages_of_a_bounded_size(opened: Open) -> None:
    options = trouper.RuntimeOptions(max_running=1, channels=ChannelLimits(feed_bytes=16 * 1024))
    async with opened(forever, options=options) as runtime:
        for _ in range(200):
            await runtime.submit(forever.call(), user="ada")
        held: set[str] = set()
        messages = 0
        async with runtime.open_session("ada") as channel:
            while len(held) < 80:
                await wait_all_tasks_blocked()
                for item in channel.take(1 << 16):
                    if isinstance(item, FeedSnapshot | FeedChanges):
                        rows = item.snapshot.jobs if isinstance(item, FeedSnapshot) else item.changes.jobs
                        assert len(encode_item(channel_item(item))) < 24_000
                        held |= {row.id for row in rows}
            cursor = channel.cursor
        # It was cut in the middle, and goes on from there.
        async with runtime.open_session("ada", feed=cursor) as channel:
            while len(held) < 200:
                await wait_all_tasks_blocked()
                items = channel.take(1 << 16)
                assert len([item for item in items if isinstance(item, FeedSnapshot | FeedChanges)]) <= 1
                for item in items:
                    if isinstance(item, FeedSnapshot | FeedChanges):
                        rows = item.snapshot.jobs if isinstance(item, FeedSnapshot) else item.changes.jobs
                        held |= {row.id for row in rows}
                        messages += 1
            await wait_all_tasks_blocked()
            assert not channel.feed_pending
        assert messages > 1


@pytest.mark.clause("O3")
async def test_a_session_that_comes_late_gets_no_frame_across_the_latest_savepoint(
    opened: Open, autojump_clock: MockClock
) -> None:
    @trouper.job
    async def saves(ctx: trouper.JobContext) -> None:
        await ctx.write("a")
        await ctx.savepoint(1)
        await ctx.write("b")
        await ctx.savepoint(2)
        await ctx.write("c")
        await trio.sleep_forever()

    async with opened(saves) as runtime, runtime.open_session("ada") as channel:
        job = await runtime.submit(saves.call(), user="ada")
        await trio.sleep(1)
        channel.attach(job.id, 1, 0)
        await wait_all_tasks_blocked()
        frames = [item for item in channel.take(64 * 1024) if isinstance(item, OutputItem)]
        assert [(frame.start, frame.end) for frame in frames] == [(0, 2), (2, 3)]


@pytest.mark.clause("N3")
@pytest.mark.parametrize(
    ("epoch", "seq", "kind"), [("", 0, FeedChanges), ("", 99, FeedSnapshot), ("x", 0, FeedSnapshot)]
)
async def test_a_cursor_too_new_or_of_another_database_gets_a_snapshot(
    opened: Open, epoch: str, seq: int, kind: type
) -> None:
    async with opened(echo) as runtime:
        await runtime.wait((await runtime.submit(echo.call(text="a"), user="ada")).id)
        async with runtime.open_session("ada", feed=(epoch or runtime.epoch, seq)) as channel:
            await wait_all_tasks_blocked()
            assert isinstance(channel.take(64 * 1024)[0], kind)
