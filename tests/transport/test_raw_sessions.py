"""The protocol over real sockets against a real runtime: what a raw client sees."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio_websocket

from tests.transport.service import NO_BEATS
from tests.transport.ws_peer import Peer, by_token
from trouper.actors.job_context import JobContext
from trouper.actors.job_spec import job
from trouper.actors.reports import Report
from trouper.supervisor.runtime import Runtime, open_runtime
from trouper.transport.codes import SUBPROTOCOL
from trouper.transport.gateway import Gateway, serve
from trouper.transport.http import Request, Response
from trouper.transport.options import ENTRY_BYTES

WINDOW_BYTES = 256 * 1024


@job(client=True)
async def count(ctx: JobContext, *, to: int) -> None:
    """Writes the numbers, one entry each."""
    for number in range(to):
        await ctx.write(f"{number} ")


@job(client=True)
async def odd(ctx: JobContext) -> None:
    """Ten bytes, then large entries, so that no sum of them is the window."""
    await ctx.write("x" * 10)
    for _ in range(30):
        await ctx.write("y" * ENTRY_BYTES)


@job()
async def internal(ctx: JobContext) -> None:
    """Not for clients."""


class Reports(list[Report]):
    """Keeps what is reported."""


@asynccontextmanager
async def open_service() -> AsyncIterator[tuple[Runtime, Gateway]]:
    async with (
        open_runtime("memory:", jobs=[count, odd, internal], on_report=Reports().append) as runtime,
        trio.open_nursery() as nursery,
    ):
        gateway: Gateway = await nursery.start(
            partial(serve, runtime, port=0, authenticate=by_token, options=NO_BEATS)
        )
        yield runtime, gateway
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def session(gateway: Gateway, *items: Mapping[str, object]) -> AsyncIterator[Peer]:
    """A raw client that has sent ``items``; its connection is cut at the end, without a close."""
    stream = await trio.open_tcp_stream("127.0.0.1", gateway.port)
    try:
        async with trio.open_nursery() as nursery:
            websocket = await trio_websocket.wrap_client_stream(
                nursery, stream, "here.test", "/ws", subprotocols=[SUBPROTOCOL]
            )
            peer = Peer(websocket)
            await peer.say(*items)
            yield peer
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


def hello(**more: object) -> dict[str, object]:
    return {"t": "hello", "visible": True, "token": "ada", **more}


def attach(job: str, attempt: int, n: int) -> dict[str, object]:
    return {"t": "attach", "job": job, "attempt": attempt, "n": n}


@pytest.mark.clause("N2", "N3")
async def test_a_client_that_was_away_resumes_the_feed_from_its_cursor() -> None:
    async with open_service() as (runtime, gateway):
        async with session(gateway, hello()) as peer:
            epoch = (await peer.hear_item("welcome"))["epoch"]
            seq = (await peer.hear_item("snapshot"))["seq"]
        job = await runtime.submit(count.call(to=3), user="ada")
        await runtime.submit(count.call(to=3), user="eve")
        await runtime.wait(job.id)
        async with session(gateway, hello(feed={"epoch": epoch, "seq": seq})) as peer:
            feed = await peer.hear_item("feed")
            assert feed["prev"] == seq
            assert [(row["id"], row["state"]) for row in feed["jobs"]] == [(job.id, "completed")]
            assert feed["counts"] == {"unseen": 1, "unread": 1}
        async with session(gateway, hello(feed={"epoch": "another", "seq": seq})) as peer:
            assert (await peer.hear_item("snapshot"))["counts"] == {"unseen": 1, "unread": 1}


@pytest.mark.clause("E1")
async def test_a_client_submits_only_what_is_declared_for_clients_and_reads_only_its_own() -> None:
    async with open_service() as (runtime, gateway):
        theirs = await runtime.submit(count.call(to=3), user="eve")
        async with session(gateway, hello()) as peer:
            submit = {"t": "submit", "id": "c1", "job": "internal", "arguments": {}, "key": "k1"}
            assert (await peer.ask(submit))["error"]["code"] == "unknown_job"
            bad = {"t": "submit", "id": "c2", "job": "count", "arguments": {"to": "3"}, "key": "k2"}
            assert (await peer.ask(bad))["error"]["code"] == "bad_request"
            assert (await peer.ask({"t": "job", "id": "c3", "job": theirs.id}))["error"]["code"] == "unknown"
            answer = await peer.ask({"t": "cancel", "id": "c4", "job": theirs.id})
            assert answer["ok"] == {"answer": "unknown", "job": None}
            await peer.say(attach(theirs.id, 0, 0))
            assert (await peer.hear_item("gone"))["reason"] == "unknown"
            good = {"t": "submit", "id": "c5", "job": "count", "arguments": {"to": 3}, "key": "k2"}
            first = (await peer.ask(good))["ok"]
            again = (await peer.ask(good | {"id": "c6"}))["ok"]
            assert (first["created"], again["created"]) == (True, False)
            assert first["job"]["id"] == again["job"]["id"]
            other = good | {"id": "c7", "arguments": {"to": 4}}
            assert (await peer.ask(other))["error"]["code"] == "conflict"


@pytest.mark.clause("O2", "O4")
async def test_output_beyond_the_window_waits_for_acks_and_arrives_whole() -> None:
    async with open_service() as (runtime, gateway):
        job = await runtime.submit(count.call(to=100_000), user="ada")
        expected = "".join(f"{number} " for number in range(100_000))
        await runtime.wait(job.id)
        async with session(gateway, hello(), attach(job.id, 1, 0)) as peer:
            text, sent, n = "", 0, 0
            while sent < 256 * 1024:
                output = await peer.hear_item("output")
                assert (output["attempt"], output["from"]) == (1, n)
                text, sent, n = text + output["parts"][0], output["sent"], output["to"]
            # The window is full: replies still come, output does not.
            await peer.ask({"t": "jobs", "id": "c1", "limit": 1})
            assert not [item for item in peer.inbox if item["t"] == "output"]
            await peer.say({"t": "ack", "sent": sent, "feed": 0})
            while len(text) < len(expected):
                output = await peer.hear_item("output")
                assert output["from"] == n
                text, n = text + output["parts"][0], output["to"]
                await peer.say({"t": "ack", "sent": output["sent"], "feed": 0})
            assert text == expected
            end = await peer.hear_item("output.end")
            assert end["sha256"] == hashlib.sha256(expected.encode()).hexdigest()


@pytest.mark.clause("O4")
async def test_the_window_is_exceeded_by_less_than_one_entry() -> None:
    async with open_service() as (runtime, gateway):
        job = await runtime.submit(odd.call(), user="ada")
        await runtime.wait(job.id)
        async with session(gateway, hello(), attach(job.id, 1, 0)) as peer:
            sent = 0
            while sent < WINDOW_BYTES:
                sent = (await peer.hear_item("output"))["sent"]
            assert sent == WINDOW_BYTES + 10  # it was 16 KiB - 10 below its edge: one more entry may go
            await peer.ask({"t": "jobs", "id": "c1", "limit": 1})
            assert not [item for item in peer.inbox if item["t"] == "output"]


@pytest.mark.clause("S5")
async def test_nothing_of_a_gateway_is_left_when_its_runtime_ends() -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with (
        open_runtime("memory:", jobs=[count], on_report=Reports().append) as runtime,
        trio.open_nursery() as nursery,
    ):
        gateway: Gateway = await nursery.start(partial(serve, runtime, port=0, authenticate=by_token))
        async with session(gateway, hello()) as peer:
            await peer.hear_item("snapshot")
            nursery.cancel_scope.cancel()
    assert runtime.ready is False
    assert trio.lowlevel.current_statistics().tasks_living == before
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", gateway.port)


@pytest.mark.clause("E1")
async def test_a_reporter_that_fails_on_a_fault_ends_no_session(caplog: pytest.LogCaptureFixture) -> None:
    def fault(request: Request) -> Response:
        raise ValueError("a bug of the page")

    def broken(report: Report) -> None:
        raise RuntimeError("no terminal")

    async with (
        open_runtime("memory:", jobs=[count], on_report=broken) as runtime,
        trio.open_nursery() as nursery,
    ):
        serving = partial(serve, runtime, port=0, authenticate=by_token, routes={("GET", "/fault"): fault})
        gateway: Gateway = await nursery.start(serving)
        async with session(gateway, hello()) as peer:
            async with await trio.open_tcp_stream("127.0.0.1", gateway.port) as stream:
                await stream.send_all(b"GET /fault HTTP/1.1\r\nHost: here\r\n\r\n")
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 500 ")
            assert (await peer.ask({"t": "jobs", "id": "c1", "limit": 1}))["ok"] == {"jobs": []}
            nursery.cancel_scope.cancel()
    assert "the reporter failed on crash" in caplog.text


async def test_sessions_are_told_4001_when_serving_is_cancelled() -> None:
    told: list[tuple[int, str]] = []
    welcomed = trio.Event()

    async def client(gateway: Gateway) -> None:
        async with session(gateway, hello()) as peer:
            await peer.hear_item("welcome")
            welcomed.set()
            told.append(await peer.closed())

    async with (
        open_runtime("memory:", jobs=[count], on_report=Reports().append) as runtime,
        trio.open_nursery() as clients,
        trio.open_nursery() as servers,
    ):
        gateway: Gateway = await servers.start(partial(serve, runtime, port=0, authenticate=by_token))
        clients.start_soon(client, gateway)
        await welcomed.wait()
        servers.cancel_scope.cancel()
    assert told == [(4001, "the server is stopping")]
