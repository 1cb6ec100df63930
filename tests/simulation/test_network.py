"""The network in memory: its streams are trio's, and it does to them what networks do."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, check_half_closeable_stream

from trouper.simulation import BadPlan, Line, Network
from trouper.simulation.network import SimulatedStream


async def pair(**line: Any) -> tuple[Network, SimulatedStream, SimulatedStream]:
    network = Network()
    network.line = Line(**line)
    [listener] = await network.listen()
    client, server = await network.dial(), await listener.accept()
    assert isinstance(client, SimulatedStream)
    assert isinstance(server, SimulatedStream)
    return network, client, server


async def test_its_streams_keep_to_all_that_trio_asks_of_a_stream() -> None:
    async def make() -> tuple[SimulatedStream, SimulatedStream]:
        return (await pair())[1:]

    async def make_clogged() -> tuple[SimulatedStream, SimulatedStream]:
        one, other = (await pair(in_flight_bytes=10))[1:]
        for stream in (one, other):
            await stream.send_all(b"0123456789")
        return one, other

    await check_half_closeable_stream(make, make_clogged)


async def test_pieces_come_one_by_one_late_and_at_the_rate_of_the_line(autojump_clock: MockClock) -> None:
    _, client, server = await pair(delay_s=1, slice_bytes=2, bytes_per_s=1)
    began = trio.current_time()
    await client.send_all(b"abcde")
    assert trio.current_time() == began, "sending waits for nothing but room"
    seen = [(await server.receive_some(), trio.current_time() - began) for _ in range(3)]
    assert seen == [(b"ab", 3), (b"cd", 5), (b"e", 6)]


async def test_a_connection_that_is_cut_gives_what_was_under_way_and_then_tells_both(
    autojump_clock: MockClock,
) -> None:
    network, client, server = await pair(delay_s=1)
    await client.send_all(b"abc")
    network.connections[0].cut()
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"d")
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    assert await server.receive_some() == b"abc"
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()
    await client.aclose()
    await server.aclose()
    assert network.connections == []


@pytest.mark.parametrize("limit", [1, 4, 5])
async def test_a_line_may_be_cut_after_any_byte(limit: int, autojump_clock: MockClock) -> None:
    _, client, server = await pair(cut_after_bytes=limit)
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"abcde")
    assert await server.receive_some() == b"abcde"[:limit]
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()


async def test_in_a_black_hole_nothing_arrives_and_nobody_is_told(autojump_clock: MockClock) -> None:
    network, client, server = await pair(in_flight_bytes=4)
    await client.send_all(b"ab")
    network.connections[0].swallow()
    await client.send_all(b"cd")  # taken, as by a socket's buffer
    for wait in (server.receive_some, lambda: client.send_all(b"e")):
        with trio.move_on_after(1000) as scope:
            await wait()
        assert scope.cancelled_caught
    await client.aclose()
    network.connections[0].cut()
    with trio.move_on_after(1000) as scope:
        await server.receive_some()
    assert scope.cancelled_caught, "the other end is half-open now"
    await server.send_all(b"x")
    await server.aclose()
    assert network.connections == []


async def test_an_end_that_is_closed_over_what_it_has_not_read_resets_the_other() -> None:
    _, client, server = await pair()
    await client.send_all(b"unread")
    await server.send_all(b"an answer that is lost")
    await server.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()


async def test_who_dials_where_nobody_listens_is_refused() -> None:
    network = Network()
    with pytest.raises(OSError, match="nobody listens"):
        await network.dial()
    [listener] = await network.listen()
    with pytest.raises(OSError, match="listens on this network already"):
        await network.listen()
    waiting = await network.dial()
    await listener.aclose()
    assert await waiting.receive_some(1) == b""
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
    await waiting.aclose()
    assert network.connections == []


async def test_a_server_that_is_unplugged_is_left_by_all_and_another_can_listen() -> None:
    network, client, server = await pair()
    network.unplug()
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    with pytest.raises(OSError, match="nobody listens"):
        await network.dial()
    [another] = await network.listen()
    await network.dial()
    assert isinstance(await another.accept(), SimulatedStream)
    await server.aclose()


@pytest.mark.parametrize(
    "wrong", [{"delay_s": -1}, {"slice_bytes": 0}, {"bytes_per_s": 0}, {"cut_after_bytes": float("nan")}]
)
def test_a_line_that_cannot_be_is_refused_with_what_is_legal(wrong: dict[str, float]) -> None:
    [name] = wrong
    with pytest.raises(BadPlan, match=f"{name}=.*: legal is a number from"):
        Line(**wrong)  # type: ignore[arg-type]
