"""A gateway as a whole: sessions on real sockets, its stop, its restart, its boundary."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio_websocket
import trustme

import trouper
from tests.transport.fakes import output
from tests.transport.loopback import Place, open_place
from tests.transport.test_http import until
from tests.transport.ws_peer import Peer, by_token
from trouper.simulation import Network
from trouper.transport.codes import SUBPROTOCOL
from trouper.transport.errors import GatewayError
from trouper.transport.options import GatewayOptions


@asynccontextmanager
async def session(place: Place) -> AsyncIterator[Peer]:
    async with (
        await trio.open_tcp_stream("127.0.0.1", place.gateway.port) as stream,
        trio.open_nursery() as nursery,
    ):
        websocket = await trio_websocket.wrap_client_stream(
            nursery, stream, "here.test", "/ws", subprotocols=[SUBPROTOCOL]
        )
        yield Peer(websocket)
        await websocket.aclose()
        nursery.cancel_scope.cancel()


async def test_pages_and_sessions_share_one_port() -> None:
    async with open_place() as place, session(place) as peer:
        assert (await peer.welcome())["user"] == "ada"
        assert (await place.get("/healthz")).status == 200
        place.runtime.channels[0].give(output("hello"))
        assert (await peer.hear_item("output"))["parts"] == ["hello"]


@pytest.mark.clause("E2")
async def test_statistics_tell_what_a_gateway_holds() -> None:
    async with open_place() as place:
        async with session(place) as peer:
            await peer.welcome()
            async with session(place):
                await until(lambda: place.gateway.statistics().waiting_sessions == 1)
                statistics = place.gateway.statistics()
                assert (statistics.connections, statistics.sessions) == (2, 1)
                assert (statistics.pending_bytes, statistics.owed_replies) == (0, 0)
                assert statistics.sent_bytes > 300
        await until(lambda: place.gateway.statistics().connections == 0)
        assert place.gateway.statistics().sessions == 0
        assert place.gateway.statistics().sent_bytes >= statistics.sent_bytes
        await place.get("/healthz")
        assert place.gateway.statistics().requests == 1


async def test_a_gateway_that_stops_tells_its_sessions_4001_and_closes_its_port() -> None:
    async with open_place() as place, session(place) as first, session(place) as second:
        await first.welcome()
        await second.say()  # an empty message: no hello yet
        async with place.dial() as idle:
            await idle.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            await idle.answer()
            with trio.fail_after(0.9):  # well within stop_s: an idle connection is not waited for
                place.stopping.set()
                assert await first.closed() == (4001, "the server is stopping")
                assert await second.closed() == (4001, "the server is stopping")
                assert await idle.ended()
                await place.stopped.wait()
        assert place.runtime.open_now == 0
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", place.gateway.port)


async def test_a_gateway_that_is_cancelled_tells_its_sessions_as_well() -> None:
    started = trio.Event()
    async with open_place() as place:
        place.stopping.set()
        await place.stopped.wait()
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await place.gateway.run(started.set, trio.Event())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await started.wait()
            async with session(place) as peer:
                await peer.welcome()
                scope.cancel()
                assert await peer.closed() == (4001, "the server is stopping")


async def test_a_peer_that_does_not_answer_the_close_does_not_hold_the_stop() -> None:
    async with (
        open_place(options=GatewayOptions(stop_s=0.2, close_s=0.1)) as place,
        place.dial() as client,
    ):
        await client.send(
            "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Protocol: trouper.v1\r\n\r\n"
        )
        await client.answer()
        with trio.fail_after(2):
            place.stopping.set()
            await place.stopped.wait()


async def test_a_gateway_that_is_started_again_keeps_its_port() -> None:
    async with open_place() as place:
        port = place.gateway.port
        place.stopping.set()
        await place.stopped.wait()
        started, stopping = trio.Event(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.gateway.run, started.set, stopping)
            await started.wait()
            assert place.gateway.port == port
            assert (await place.get("/healthz")).status == 200
            stopping.set()


@pytest.mark.clause("E1")
async def test_a_bug_on_one_connection_is_reported_and_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_place() as place, session(place) as neighbour:
        await neighbour.welcome()

        async def bug(*_: object) -> None:
            raise ZeroDivisionError("a bug of ours")

        monkeypatch.setattr(place.gateway, "_serve_http", bug)
        async with place.dial() as client:
            assert await client.ended()
        monkeypatch.undo()
        [report] = place.runtime.reports
        assert (report.path, report.child) == ("runtime/gateways/gateway-1", "connection")
        assert report.reason == "ZeroDivisionError: a bug of ours"
        assert "ok" in await neighbour.ask({"t": "jobs", "id": "c1"})
        assert (await place.get("/healthz")).status == 200


@pytest.mark.clause("O4")
async def test_frames_and_pongs_share_a_full_socket_without_mixing() -> None:
    """Partial writes, pings both ways, messages of all sizes: what arrives is whole and in order."""
    async with open_place() as place, session(place) as peer:
        await peer.welcome()
        channel = place.runtime.channels[0]
        sizes = [1, 125, 126, 5_000, 65_535, 65_536, 16_000] * 40
        for start, size in enumerate(sizes):
            channel.give(output("x" * size, start))
        async with trio.open_nursery() as nursery:

            async def ping() -> None:
                while True:
                    await peer.websocket.ping()

            nursery.start_soon(ping)
            nursery.start_soon(ping)
            got: list[int] = []
            while len(got) < len(sizes):
                for item in await peer.hear():
                    if item["t"] == "output":
                        assert item["from"] == len(got)
                        got.append(len(item["parts"][0]))
            nursery.cancel_scope.cancel()
        assert got == sizes
        assert "ok" in await peer.ask({"t": "jobs", "id": "c1"})


async def test_a_port_that_is_taken_is_refused_at_once() -> None:
    async with open_place() as place, open_place() as other:
        other.gateway.port = place.gateway.port
        with pytest.raises(OSError, match="in use"):
            await other.gateway.listen()


async def test_a_gateway_speaks_tls_by_listeners_of_the_callers_own() -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    [tcp] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = tcp.socket.getsockname()[1]

    async def listen() -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
        await trio.lowlevel.checkpoint()
        return [trio.SSLListener(tcp, server_context, https_compatible=True)]

    def who(hello: trouper.Hello) -> str:
        return f"somebody at {hello.peer}"

    async with trouper.open_runtime("memory:", jobs=[]) as runtime, trio.open_nursery() as nursery:
        gateway = await nursery.start(partial(trouper.serve, runtime, listen=listen, authenticate=who))
        assert gateway.port == 0
        async with trouper.connect(f"wss://localhost:{port}", ssl_context=client_context) as client:
            assert (await client.wait_connected()).user == "somebody at 127.0.0.1"
        nursery.cancel_scope.cancel()


async def test_listeners_of_the_callers_own_are_opened_again_when_a_gateway_is_started_again() -> None:
    network = Network()
    async with open_place(listen=network.listen) as place:
        await (await network.dial()).aclose()
        place.stopping.set()
        await place.stopped.wait()
        with pytest.raises(OSError, match="nobody listens"):
            await network.dial()
        started, stopping = trio.Event(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.gateway.run, started.set, stopping)
            await started.wait()
            await (await network.dial()).aclose()
            stopping.set()


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
async def test_a_listener_without_addresses_serves_peers_without_one(tmp_path: Path) -> None:
    socket = trio.socket.socket(trio.socket.AF_UNIX)
    await socket.bind(str(tmp_path / "socket"))
    socket.listen()

    async def listen() -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
        await trio.lowlevel.checkpoint()
        return [trio.SocketListener(socket)]

    def who(hello: trouper.Hello) -> str:
        assert hello.peer == ""
        return "ada"

    async with trouper.open_runtime("memory:", jobs=[]) as runtime, trio.open_nursery() as nursery:
        await nursery.start(partial(trouper.serve, runtime, listen=listen, authenticate=who))

        async def dial() -> trio.abc.Stream:
            return await trio.open_unix_socket(tmp_path / "socket")

        async with trouper.connect("ws://localhost", dial=dial) as client:
            assert (await client.wait_connected()).user == "ada"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("both", [False, True])
async def test_a_gateway_has_either_a_port_or_listeners(both: bool) -> None:
    async with trouper.open_runtime("memory:", jobs=[]) as runtime:
        more: dict[str, Any] = {"port": 0, "listen": lambda: None} if both else {}
        with pytest.raises(GatewayError, match=r"either port= .* or listen="):
            await trouper.serve(runtime, authenticate=by_token, **more)


@pytest.mark.parametrize("library", ["trio_websocket", "h11"])
def test_a_missing_library_names_the_extra_to_install(library: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; import trouper.transport.gateway"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "pip install 'trouper[websocket]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"port": 99_999}, r"port=99999: legal are 0 \(any free one\) to 65535"),
        ({"port": "8000"}, r"port='8000': legal are 0 \(any free one\) to 65535"),
        ({"authenticate": "ada"}, r"authenticate='ada': legal is a function of a Hello"),
        ({"options": {}}, r"options=\{\}: legal is GatewayOptions\(…\)"),
    ],
)
async def test_what_cannot_be_served_is_refused_before_it_listens(
    arguments: dict[str, Any], message: str
) -> None:
    async with trouper.open_runtime(jobs=[]) as runtime:
        legal: dict[str, Any] = {"port": 0, "authenticate": lambda hello: "ada"}
        with pytest.raises(GatewayError, match=message):
            await trouper.serve(runtime, **{**legal, **arguments})
