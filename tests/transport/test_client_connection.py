"""The client's connections over a scripted gateway: how it connects, waits, comes back and ends."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio_websocket
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.transport import client_wire as wire
from tests.transport.client_peer import ScriptedGateway, scripted_client, seams
from trouper.transport.client import connect
from trouper.transport.client_errors import ClientStopped, MissingLibrary
from trouper.transport.client_options import ClientOptions


async def test_the_delays_between_failing_connections_grow_until_one_has_lasted_ten_seconds(
    autojump_clock: MockClock,
) -> None:
    async with scripted_client(seams=seams()) as (client, gateway):
        gateway.refusing = True
        await trio.sleep(61.75)  # 0.5 + 1 + 2 + 4 + 8 + 16 + 30, and a little
        gateway.refusing = False
        dialled = gateway.dialled_at
        gaps = [round(later - before, 3) for before, later in pairwise(dialled)]
        assert gaps == [0.5, 1, 2, 4, 8, 16, 30]
        assert client.connection.state == "waiting"
        assert "nobody listens" in client.connection.reason
        delays = []
        for lasts_s in (0, 9.9, 10, 0):  # a welcome alone resets nothing: what follows it may fail each time
            peer = await gateway.accept()
            await peer.welcome()
            assert (await client.wait_connected()).user == "ada"
            await trio.sleep(lasts_s)
            await peer.cut()
            assert (await client.wait_connection_changed()).state == "waiting"
            delays.append(client.connection.retry_in_s)
        assert delays == [30, 30, 0.5, 1]


@pytest.mark.parametrize("code", [4501, 4503, 4504])
async def test_a_close_that_says_stay_away_stops_everything_that_waits(
    autojump_clock: MockClock, code: int
) -> None:
    async with scripted_client() as (client, gateway):
        output, changes = client.output("j1"), client.changes()
        errors = []

        async def wait_for(call: Any) -> None:
            with pytest.raises(ClientStopped, match="no token") as caught:
                await call()
            errors.append(caught.value.code)

        async with trio.open_nursery() as nursery:
            for call in (output.__anext__, changes.__anext__, client.wait_connected, client.jobs):
                nursery.start_soon(wait_for, call)
            peer = await gateway.accept()
            await peer.receive()
            await peer.websocket.aclose(code, "no token")
        assert errors == [code] * 4
        with pytest.raises(ClientStopped):
            await client.submit("echo")
        with pytest.raises(ClientStopped):
            client.output("j2")
        assert (client.connection.state, client.connection.code) == ("stopped", code)
        assert len(gateway.dialled_at) == 1


async def test_a_draining_server_is_come_back_to(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway):
        peer = await gateway.accept()
        await peer.welcome()
        await client.wait_connected()
        await peer.websocket.aclose(4001, "drain")
        await (await gateway.accept()).welcome()
        assert (await client.wait_connected()).state == "connected"


async def test_a_close_with_1000_that_the_client_did_not_ask_for_is_come_back_from(
    autojump_clock: MockClock,
) -> None:
    async with scripted_client() as (client, gateway):
        peer = await gateway.accept()
        await peer.welcome()
        await client.wait_connected()
        await peer.websocket.aclose(1000, "a proxy was stopped")
        end = await client.wait_connection_changed()
        assert (end.state, end.code, end.reason) == ("waiting", 1000, "a proxy was stopped")
        await (await gateway.accept()).welcome()
        assert (await client.wait_connected()).state == "connected"
    assert client.connection.state == "stopped"
    assert len(gateway.dialled_at) == 2


async def test_beats_are_answered_and_silence_drops_the_connection(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway):
        peer = await gateway.accept()
        await peer.welcome(silence_ms=35_000)
        for _ in range(4):
            await trio.sleep(25)
            await peer.send({"t": "beat"})
            assert await peer.receive() == [{"t": "beat"}]
        before = trio.current_time()
        for visible in (False, True, False):  # what it says itself is not heard
            await trio.sleep(10)
            client.set_visible(visible)
        peer = await gateway.accept()
        assert 35 <= trio.current_time() - before <= 35.5
        assert client.connection.state == "connecting"
        await peer.welcome()


async def test_a_server_that_never_welcomes_is_dropped_in_time(autojump_clock: MockClock) -> None:
    options = ClientOptions(connect_timeout_s=3)
    async with scripted_client(options=options, seams=seams()) as (_, gateway):
        await gateway.accept_stream()  # takes the connection and says nothing
        await gateway.accept()  # opens the WebSocket and says nothing
        await gateway.accept()
        assert gateway.dialled_at == pytest.approx([0, 3.5, 7.5])


async def test_a_connection_that_ends_in_the_handshake_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with scripted_client(seams=seams()) as (_, gateway):
        stream = await gateway.accept_stream()
        await stream.receive_some()
        await stream.aclose()
        stream = await gateway.accept_stream()
        assert trio.current_time() == pytest.approx(0.5)
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        stream = await gateway.accept_stream()
        assert trio.current_time() == pytest.approx(1.5)
        await stream.receive_some()
        await stream.send_all(b"\x00\xff what is this?\r\n\r\n")
        await gateway.accept_stream()
        assert trio.current_time() == pytest.approx(3.5)


async def test_the_reason_of_a_refused_handshake_is_told(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway):
        stream = await gateway.accept_stream()
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        assert "HTTP 403" in (await client.wait_connection_changed()).reason


@pytest.mark.clause("E1")
@pytest.mark.parametrize("message", ["{", "{}", "[7]", '[{"t":7}]', '[{"t":"welcome"}]', b"\x00"])
async def test_a_server_that_breaks_the_protocol_is_dropped_and_come_back_to(
    autojump_clock: MockClock, message: str | bytes
) -> None:
    async with scripted_client() as (client, gateway):
        peer = await gateway.accept()
        await peer.welcome()
        await client.wait_connected()
        await peer.websocket.send_message(message)
        assert (await client.wait_connection_changed()).state == "waiting"
        assert client.connection.reason
        await (await gateway.accept()).welcome()
        await client.wait_connected()


async def test_at_the_end_what_is_due_is_sent_and_the_connection_closed_with_1000(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        gateway = ScriptedGateway(nursery)
        got: list[Any] = []

        async def serve() -> None:
            peer = await gateway.accept()
            await peer.welcome()
            await peer.send(
                wire.rewind(1, 0), wire.output(1, 0, 1, ["a"], 1), wire.end(1, 1, wire.sha256("a"), 65)
            )
            got.extend(item["t"] for item in await peer.receive())
            with pytest.raises(trio_websocket.ConnectionClosed) as caught:
                await peer.receive()
            assert caught.value.reason is not None
            got.append(caught.value.reason.code)

        nursery.start_soon(serve)
        async with connect("ws://gateway", dial=gateway.dial) as client:
            assert await client.text("j1") == "a"
        await wait_all_tasks_blocked()
    assert got == ["ack", 1000]
    assert trio.current_time() == 0  # nothing was waited for
    assert len(gateway.dialled_at) == 1


async def test_a_server_that_does_not_answer_the_close_is_left_in_time(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, gateway):
        stream = await gateway.accept_stream()
        await stream.receive_some()
        await client.drop_connection()
    assert trio.current_time() <= 2


async def test_an_error_of_the_caller_s_comes_out_as_it_went_in(autojump_clock: MockClock) -> None:
    class OwnError(Exception):
        pass

    async with trio.open_nursery() as nursery:
        gateway = ScriptedGateway(nursery)
        with pytest.raises(OwnError, match="mine"):
            async with connect("ws://gateway", dial=gateway.dial):
                raise OwnError("mine")
        with trio.move_on_after(1) as scope:
            async with connect("ws://gateway", dial=gateway.dial):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_after_the_end_iterators_say_that_the_client_was_closed(autojump_clock: MockClock) -> None:
    async with scripted_client() as (client, _):
        output = client.output("j1")
    with pytest.raises(ClientStopped, match="was closed"):
        await anext(output)


@pytest.mark.parametrize(
    ("url", "request_line"),
    [
        ("ws://example.org:81", ("example.org:81", "/ws")),
        ("http://example.org/", ("example.org", "/ws")),
        ("wss://example.org/deep/ws?x=1", ("example.org", "/deep/ws?x=1")),
        ("https://[::1]:8443", ("[::1]:8443", "/ws")),
    ],
)
async def test_urls_and_headers_become_the_request(
    autojump_clock: MockClock, url: str, request_line: tuple[str, str]
) -> None:
    async with trio.open_nursery() as nursery:
        gateway = ScriptedGateway(nursery)
        async with connect(url, headers=[("Cookie", "user=ada")], dial=gateway.dial):
            stream = await gateway.accept_stream()
            head = bytes(await stream.receive_some()).decode()
        nursery.cancel_scope.cancel()
    authority, resource = request_line
    lines = head.lower().splitlines()
    assert head.startswith(f"GET {resource} HTTP/1.1")
    assert f"host: {authority}" in lines
    assert "cookie: user=ada" in lines
    assert f"origin: http{'s' if url.startswith(('wss', 'https')) else ''}://{authority}" in lines
    assert "sec-websocket-protocol: trouper.v1" in lines


async def test_a_url_that_is_none_is_refused_and_names_what_is_legal() -> None:
    with pytest.raises(ValueError, match="ws://host:port"):
        async with connect("localhost:8000"):
            pass


async def test_without_the_websocket_library_the_extra_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "trio_websocket", None)
    with pytest.raises(MissingLibrary, match=r"trouper\[websocket\]"):
        async with connect("ws://127.0.0.1"):
            pass


def test_an_option_that_cannot_be_names_itself() -> None:
    with pytest.raises(ValueError, match="connect_timeout_s"):
        ClientOptions(connect_timeout_s=0)
