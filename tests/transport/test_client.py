"""The client over a scripted gateway: commands, outputs, the feed."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.transport import client_wire as wire
from tests.transport.client_peer import scripted_client, seams
from trouper.actors.output_pieces import End, OutputPiece, Text
from trouper.transport.client_errors import (
    AttachRefused,
    CommandFailed,
    CommandRefused,
    OutputCorrupt,
    OutputGone,
)
from trouper.transport.client_options import ClientOptions


async def test_submit_sends_a_key_of_its_own_and_gives_the_job(autojump_clock: MockClock) -> None:
    rows = []
    async with scripted_client(seams=seams(new_id=lambda: "key-1")) as (client, gateway):

        async def submit() -> None:
            rows.append(await client.submit("echo", {"text": "hi"}, thread="t1"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit)
            peer = await gateway.accept()
            hello, command = await peer.welcome()
            assert hello["t"] == "hello"
            assert command == {
                "t": "submit",
                "id": "c1",
                "job": "echo",
                "arguments": {"text": "hi"},
                "key": "key-1",
                "on_busy": "enqueue",
                "thread": "t1",
            }
            await peer.reply("c1", {"job": {**wire.job(), "arguments": {"text": "hi"}}, "created": True})
    assert rows[0].id == "j1"
    assert rows[0].arguments == {"text": "hi"}
    assert not rows[0].ended


async def test_an_unanswered_command_is_sent_again_on_the_next_connection(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway), trio.open_nursery() as nursery:
        nursery.start_soon(client.submit, "echo")
        first = await gateway.accept()
        (_, command) = await first.welcome()
        await first.cut()
        second = await gateway.accept()
        assert (await second.welcome())[1] == command
        await second.reply(command["id"], {"job": wire.job(), "created": False})


async def test_the_other_commands_ask_and_read_what_the_protocol_says(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway):
        peer = await gateway.accept()
        await peer.welcome()
        asked: list[wire.Item] = []

        async def answer(ok: wire.Item) -> None:
            (item,) = await peer.receive()
            asked.append({name: value for name, value in item.items() if name != "id"})
            await peer.reply(item["id"], ok)

        async with trio.open_nursery() as nursery:
            job = wire.job(state="cancelled")
            nursery.start_soon(answer, {"answer": "accepted", "job": job})
            cancelled = await client.cancel("j1")
            nursery.start_soon(answer, {"answer": "unknown", "job": None})
            unknown = await client.cancel("j2")
            nursery.start_soon(answer, {"answer": "accepted", "job": None})
            early = await client.cancel_key("k7")
            nursery.start_soon(answer, {"job": wire.job(), "created": True})
            await client.submit("echo", key="k8", on_busy="interrupt")
            nursery.start_soon(answer, {"job": wire.job(), "created": True})
            await client.submit("echo", key="k9", delay=1.5)
            nursery.start_soon(answer, {"answer": "accepted"})
            sent = await client.signal("j1", {"stop": True}, key="m1")
            nursery.start_soon(answer, {"answer": "not_asked"})
            told = await client.answer("j1", "k", None)
            nursery.start_soon(answer, {"counts": wire.counts(1, 2)})
            marked = await client.mark("read", ids=["n1"])
            nursery.start_soon(answer, {"job": {**job, "result": 7}})
            one = await client.job("j1")
            nursery.start_soon(answer, {"jobs": [job]})
            many = await client.jobs(thread="t1", before="j9", limit=5)
            row = {"thread": "t1", "jobs": 2, "active": 0, "first": job, "last": job}
            nursery.start_soon(answer, {"threads": [row]})
            threads = await client.threads()
            nursery.start_soon(answer, {"notifications": [wire.notification()]})
            notes = await client.notifications(before="n5")
    assert (cancelled.answer, cancelled.job and cancelled.job.state) == ("accepted", "cancelled")
    assert (unknown.answer, unknown.job) == ("unknown", None)
    assert (early.answer, early.job) == ("accepted", None)
    assert (sent, told) == ("accepted", "not_asked")
    assert (marked.unseen, marked.unread) == (1, 2)
    assert (one.result, one.ended) == (7, True)
    assert [row.id for row in many] == ["j1"]
    assert (threads[0].thread, threads[0].last.id) == ("t1", "j1")
    assert notes[0].title == "echo completed"
    assert asked == [
        {"t": "cancel", "job": "j1"},
        {"t": "cancel", "job": "j2"},
        {"t": "cancel", "key": "k7"},
        {"t": "submit", "job": "echo", "arguments": {}, "key": "k8", "on_busy": "interrupt"},
        {"t": "submit", "job": "echo", "arguments": {}, "key": "k9", "on_busy": "enqueue", "delay_s": 1.5},
        {"t": "signal", "job": "j1", "message": {"stop": True}, "key": "m1"},
        {"t": "answer", "job": "j1", "key": "k", "value": None},
        {"t": "mark", "mark": "read", "ids": ["n1"]},
        {"t": "job", "job": "j1"},
        {"t": "jobs", "limit": 5, "thread": "t1", "before": "j9"},
        {"t": "threads", "limit": 50},
        {"t": "notifications", "limit": 50, "before": "n5"},
    ]


async def test_a_command_that_fails_raises_the_server_s_code(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway):

        async def refuse() -> None:
            peer = await gateway.accept()
            command = (await peer.welcome())[1]
            error = {"code": "queue_full", "message": "10 are waiting", "retryable": True}
            await peer.send({"t": "reply", "id": command["id"], "error": error})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            with pytest.raises(CommandFailed, match="10 are waiting") as caught:
                await client.submit("echo")
    assert (caught.value.code, caught.value.retryable) == ("queue_full", True)


@pytest.mark.parametrize("arguments", [{"x": "y" * 70_000}, {"x": object()}, {"x": "\ud800"}])
async def test_what_cannot_be_sent_is_refused_before_it_harms_the_connection(arguments: Any) -> None:
    async with scripted_client() as (client, _):
        with pytest.raises(CommandRefused, match="submit"):
            await client.submit("echo", arguments)


async def test_a_call_with_a_value_of_a_wrong_type_is_refused_here(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, _):
        with pytest.raises(ValueError, match="exactly one"):
            await client.mark("seen", ids=["n1"], upto=4)
        with pytest.raises(CommandRefused, match="job is 7; legal is a string"):
            await client.job(7)  # type: ignore[arg-type]
        with pytest.raises(CommandRefused, match="job is None; legal is a string"):
            await client.cancel(None)  # type: ignore[arg-type]
        with pytest.raises(
            CommandRefused, match=r"arguments\.n\[0\] is 9007199254740992; legal are integers"
        ):
            await client.submit("reply", {"n": (2**53,)})
        with pytest.raises(CommandRefused, match=r"message is -10+; legal are integers"):
            await client.signal("j1", -(10**30))
        with pytest.raises(CommandRefused, match=r"limit is 2\.5; legal is an integer"):
            await client.jobs(limit=2.5)  # type: ignore[arg-type]
        with pytest.raises(CommandRefused, match="limit is True"):
            await client.jobs(limit=True)
        with pytest.raises(CommandRefused, match=r"ids is \[1\]; legal is a list of strings"):
            await client.mark("seen", ids=[1])  # type: ignore[list-item]
        assert client.statistics()["commands_unanswered"] == 0


@pytest.mark.parametrize("job", ["", "x" * 201, "\ud800", None, 7])
async def test_an_output_of_what_cannot_be_a_job_s_id_is_refused_here(job: Any) -> None:
    async with scripted_client() as (client, _):
        with pytest.raises(ValueError, match="1 to 200 characters"):
            client.output(job)
        assert client.statistics()["outputs"] == 0


async def test_after_wrong_calls_the_connection_goes_on_and_nothing_of_them_was_sent(
    autojump_clock: MockClock,
) -> None:
    deep: Any = []
    for _ in range(2000):
        deep = [deep]
    async with scripted_client() as (client, gateway), trio.open_nursery() as nursery:
        peer = await gateway.accept()
        await peer.welcome()
        for arguments in ({"q": "\ud800"}, {"\udfff": 1}, {"deep": deep}):
            with pytest.raises(CommandRefused, match="cannot be sent as JSON"):
                await client.submit("echo", arguments)
        with pytest.raises(CommandRefused, match="ids"):
            await client.mark("read", ids=[1])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="job's id"):
            client.output("\ud800")
        with pytest.raises(ValueError, match="a cursor is"):
            client.output("j1", 1.5)  # type: ignore[arg-type]
        client.set_visible(0)  # type: ignore[arg-type]
        assert await peer.receive() == [{"t": "visible", "visible": False}]
        nursery.start_soon(client.job, "j1")
        (right,) = await peer.receive()
        assert right["t"] == "job"
        await peer.reply(right["id"], {"job": wire.job()})


async def test_what_a_caller_does_to_its_arguments_later_changes_no_command_that_is_sent_again(
    autojump_clock: MockClock,
) -> None:
    arguments = {"list": ["as it was asked"]}
    async with scripted_client() as (client, gateway), trio.open_nursery() as nursery:
        nursery.start_soon(client.submit, "echo", arguments)
        first = await gateway.accept()
        (_, command) = await first.welcome()
        arguments["list"].append("later")
        await first.cut()
        second = await gateway.accept()
        assert (await second.welcome())[1] == command
        await second.reply(command["id"], {"job": wire.job(), "created": False})


async def test_more_commands_than_may_be_pending_wait_their_turn(autojump_clock: MockClock) -> None:
    options = ClientOptions(max_pending_commands=2)
    async with scripted_client(options=options) as (client, gateway), trio.open_nursery() as nursery:
        peer = await gateway.accept()
        await peer.welcome()
        for _ in range(3):
            nursery.start_soon(client.job, "j1")
        items = await peer.receive()
        while len(items) < 2:
            items += await peer.receive()
        await wait_all_tasks_blocked()
        assert client.statistics()["commands_unanswered"] == 2
        for id in (items[0]["id"], items[1]["id"]):
            await peer.reply(id, {"job": wire.job()})
        (third,) = await peer.receive()
        await peer.reply(third["id"], {"job": wire.job()})


async def test_what_is_asked_at_once_is_packed_into_messages_of_the_legal_size(
    autojump_clock: MockClock,
) -> None:
    async with scripted_client() as (client, gateway), trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(client.submit, "echo", {"text": "x" * 30_000})
        await wait_all_tasks_blocked()
        peer = await gateway.accept()
        sizes: list[int] = []
        commands: list[wire.Item] = []
        while len(commands) < 5:
            message = await peer.websocket.get_message()
            sizes.append(len(message))
            commands += [item for item in wire.loads(message) if item["t"] == "submit"]
        assert max(sizes) <= 64 * 1024
        await peer.send(wire.welcome(), wire.snapshot())
        for command in commands:
            await peer.reply(command["id"], {"job": wire.job(), "created": True})


@pytest.mark.clause("O2")
async def test_an_output_goes_on_where_it_was_cut_and_ends_verified(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway), aclosing(client.output("j1")) as output:
        peer = await gateway.accept()
        assert (await peer.welcome())[1] == {"t": "attach", "job": "j1", "attempt": 0, "n": 0}
        await peer.send(wire.rewind(1, 0))
        assert await peer.receive() == [{"t": "attach", "job": "j1", "attempt": 1, "n": 0}]
        await peer.send(wire.output(1, 0, 3, ["abc"], 3))
        assert await anext(output) == Text("abc")
        await client.drop_connection()
        peer = await gateway.accept()
        hello, attach = await peer.welcome(wire.feed(0, 1))
        assert hello["feed"] == {"epoch": "e1", "seq": 0}
        assert attach == {"t": "attach", "job": "j1", "attempt": 1, "n": 3}
        await peer.send(wire.output(1, 3, 4, ["d"], 1), wire.end(1, 4, wire.sha256("abcd"), 65))
        assert [item async for item in output] == [Text("d"), End(4, wire.sha256("abcd"), verified=True)]
        assert await peer.receive() == [{"t": "ack", "sent": 65, "feed": 1}]
        with pytest.raises(StopAsyncIteration):
            await anext(output)
    assert client.frames.connections == 2


async def test_text_gives_all_of_it(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway):
        texts = []

        async def read() -> None:
            texts.append(await client.text("j1"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            peer = await gateway.accept()
            await peer.welcome()
            await peer.send(wire.rewind(1, 0), wire.output(1, 0, 2, ["ab"], 2), wire.rewind(2, 0))
            await peer.send(wire.output(2, 0, 2, ["xy"], 4), wire.end(2, 2, wire.sha256("xy"), 68))
        assert texts == ["xy"]
        assert client.statistics()["outputs"] == client.statistics()["outputs_waiting"] == 0


async def test_an_iterator_raises_for_what_is_gone_and_for_what_is_corrupt(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway):
        peer = await gateway.accept()
        await peer.welcome()
        output = client.output("j1")
        await peer.send({"t": "gone", "job": "j1", "reason": "unknown"})
        with pytest.raises(OutputGone):
            await anext(output)
        output = client.output("j1")
        await peer.send(
            wire.rewind(1, 0), wire.end(1, 0, "00", 64), wire.rewind(1, 0), wire.end(1, 0, "00", 128)
        )
        with pytest.raises(OutputCorrupt):
            async for _ in output:
                pass


async def test_a_closed_iterator_ends_for_whoever_waits_and_may_be_opened_again(
    autojump_clock: MockClock,
) -> None:
    async with scripted_client() as (client, gateway):
        peer = await gateway.accept()
        await peer.welcome()
        output = client.output("j1")
        with pytest.raises(AttachRefused):
            client.output("j1")
        seen: list[OutputPiece] = []

        async def read() -> None:
            seen.extend([item async for item in output])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            await output.aclose()
            await output.aclose()
        assert seen == []
        assert [item["t"] for item in await peer.receive() + await peer.receive()] == ["attach", "detach"]
        await client.output("j1").aclose()


@pytest.mark.clause("E2")
async def test_an_output_that_nobody_reads_neither_grows_nor_stops_the_others(
    autojump_clock: MockClock,
) -> None:
    options = ClientOptions(output_buffer_bytes=10_000)
    async with scripted_client(options=options) as (client, gateway):
        unread, read = client.output("lazy", 1, 0), client.output("j1", 1, 0)
        peer = await gateway.accept()
        await peer.welcome()
        for n in range(3):
            await peer.send(wire.output(1, n, n + 1, ["x" * 6000], 6000 * (n + 1), id="lazy"))
        await peer.send(wire.output(1, 0, 1, ["hello"], 18_005))
        assert await anext(read) == Text("hello")
        assert client.statistics()["output_buffered_bytes"] < 13_000
        assert await peer.receive() == [{"t": "detach", "job": "lazy"}]
        assert [await anext(unread), await anext(unread)] == [Text("x" * 6000)] * 2
        assert await peer.receive() == [{"t": "attach", "job": "lazy", "attempt": 1, "n": 2}]
        await read.aclose()
        await unread.aclose()


async def test_changes_are_conflated_and_begin_with_the_feed_as_it_is(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway), aclosing(client.changes()) as changes:
        peer = await gateway.accept()
        await peer.welcome(wire.snapshot(1, jobs=(wire.job(seq=1),)))
        first = await anext(changes)
        assert (first.replaced, [job.state for job in first.jobs]) == (True, ["running"])
        await peer.send(wire.feed(1, 2, jobs=(wire.job("j2", seq=2),)))
        await peer.send(wire.feed(2, 3, jobs=(wire.job(seq=3, state="completed"),)))
        await peer.send(wire.feed(3, 4, notes=(wire.notification(seq=4),)), {"t": "beat"})
        while {"t": "beat"} not in await peer.receive():
            pass
        second = await anext(changes)
        assert ([job.id for job in second.jobs], second.seq) == (["j1", "j2"], 4)
        assert [row.id for row in second.notifications] == ["n1"]
        assert client.feed.counts.unread == 1


async def test_a_refused_item_is_told_and_counted(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway):
        peer = await gateway.accept()
        await peer.welcome()
        await peer.send({"t": "error", "code": "bad_request", "message": "no"}, {"t": "beat"})
        await peer.receive()
        assert (client.last_refusal, client.statistics()["items_refused"]) == ("bad_request: no", 1)
