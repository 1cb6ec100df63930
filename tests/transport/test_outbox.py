"""The outbox on memory streams: one sender, pongs between frames, an abort rather than half a frame."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import (
    MemorySendStream,
    memory_stream_one_way_pair,
    memory_stream_pair,
    wait_all_tasks_blocked,
)

from trouper.transport.codes import CloseCode
from trouper.transport.outbox import Outbox, OutboxStream, close_frame, descriptor_of, text_frame

PING_ANSWER = b"\x8a\x01a"
NEWER_ANSWER = b"\x8a\x01b"


class Gate(trio.abc.SendStream):
    """A stream that takes nothing until it is opened, and remembers what it took."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.taken: list[bytes] = []
        self.closed = False
        self.error: Exception | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.taken.append(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed = True
        self.error = trio.ClosedResourceError()
        self.open.set()
        await trio.lowlevel.checkpoint()


def wrapped(outbox: Outbox, close_timeout_s: float = 2.0) -> OutboxStream:
    real = trio.StapledStream(MemorySendStream(), memory_stream_one_way_pair()[1])
    return OutboxStream(outbox, real, close_timeout_s=close_timeout_s, on_closed=lambda: None)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536])
async def test_a_text_frame_is_what_a_websocket_peer_reads(length: int) -> None:
    from wsproto.connection import Connection, ConnectionType
    from wsproto.events import TextMessage

    peer = Connection(ConnectionType.CLIENT)
    peer.receive_data(text_frame(b"x" * length))
    events = [event for event in peer.events() if isinstance(event, TextMessage)]
    assert "".join(event.data for event in events) == "x" * length
    assert events[-1].message_finished


async def test_frames_go_out_whole_and_in_order() -> None:
    idle: list[bool] = []
    send, receive = memory_stream_one_way_pair()
    outbox = Outbox(send, lambda: idle.append(True))
    async with trio.open_nursery() as nursery:
        outbox.open(nursery)
        assert outbox.offer(b"one")
        assert not outbox.idle
        assert not outbox.offer(b"refused")
        await outbox.write(b"two")
        assert outbox.idle
        assert outbox.offer(b"three")
        await wait_all_tasks_blocked()
        assert await receive.receive_some() == b"onetwothree"
        assert len(idle) == 2  # not between "one" and "two"
        assert outbox.statistics().sent_bytes == 11
        nursery.cancel_scope.cancel()
    assert not outbox.statistics().aborted


async def test_a_task_drains_only_while_something_waits() -> None:
    gate = Gate()
    outbox = Outbox(gate)
    async with trio.open_nursery() as nursery:
        outbox.open(nursery)
        for round in range(3):
            assert not nursery.child_tasks
            assert outbox.offer(b"frame")
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == (1 if round == 0 else 0)
            gate.open.set()
            await wait_all_tasks_blocked()
        outbox.end()
        assert not outbox.offer(b"after the end")
        with pytest.raises(trio.BrokenResourceError, match="has ended"):
            await outbox.write(b"after the end")
    assert gate.taken == [b"frame"] * 3
    assert not gate.closed


async def test_a_pong_goes_behind_the_frame_under_way_and_only_the_newest_is_kept() -> None:
    gate = Gate()
    outbox = Outbox(gate)
    stream = wrapped(outbox)
    async with trio.open_nursery() as nursery:
        outbox.open(nursery)
        assert outbox.offer(b"under way")
        await wait_all_tasks_blocked()
        nursery.start_soon(outbox.write, b"queued")
        await wait_all_tasks_blocked()
        with trio.fail_after(1):  # the sender of a pong never waits for the peer
            await stream.send_all(PING_ANSWER)
            await stream.send_all(NEWER_ANSWER)
        gate.open.set()
        await wait_all_tasks_blocked()
        assert gate.taken == [b"under way", NEWER_ANSWER, b"queued"]
        nursery.cancel_scope.cancel()


async def test_a_close_goes_behind_everything_and_refuses_offers_afterwards() -> None:
    gate = Gate()
    outbox = Outbox(gate)
    stream = wrapped(outbox)
    async with trio.open_nursery() as nursery:
        outbox.open(nursery)
        outbox.offer(b"last message")
        nursery.start_soon(stream.send_all, close_frame(1000, "bye"))
        await wait_all_tasks_blocked()
        assert not outbox.offer(b"too late")
        gate.open.set()
        await wait_all_tasks_blocked()
        assert gate.taken == [b"last message", b"\x88\x05\x03\xe8bye"]
        assert not outbox.offer(b"too late")
        nursery.cancel_scope.cancel()
    assert not gate.closed


async def test_a_close_that_the_peer_does_not_take_ends_in_time_with_an_abort(autojump_clock: object) -> None:
    gate = Gate()
    outbox = Outbox(gate)
    stream = wrapped(outbox, close_timeout_s=2.0)
    async with trio.open_nursery() as nursery:
        outbox.open(nursery)
        outbox.offer(b"stuck")
        before = trio.current_time()
        with pytest.raises(trio.BrokenResourceError, match="close frame within 2"):
            await stream.send_all(close_frame(1000, ""))
        assert trio.current_time() - before == 2.0
        assert gate.closed
        assert outbox.statistics().aborted


async def test_a_drain_that_is_cancelled_with_bytes_pending_aborts_the_connection() -> None:
    gate = Gate()
    outbox = Outbox(gate)
    async with trio.open_nursery() as nursery:
        outbox.open(nursery)
        outbox.offer(b"half of this may be out")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert gate.closed
    assert outbox.statistics().aborted
    assert not outbox.offer(b"more")
    with pytest.raises(trio.BrokenResourceError):
        await outbox.write(b"more")


async def test_a_drain_that_fails_ends_those_who_wait_and_aborts() -> None:
    gate = Gate()
    gate.error = trio.BrokenResourceError("reset by peer")
    outbox = Outbox(gate)
    async with trio.open_nursery() as nursery:
        outbox.open(nursery)
        outbox.offer(b"one")
        gate.open.set()
        with pytest.raises(trio.BrokenResourceError, match="ended before this was sent"):
            await outbox.write(b"two")
    assert gate.closed
    assert outbox.statistics().pending_bytes == 0


async def test_a_writer_that_is_cancelled_leaves_its_frame_whole() -> None:
    gate = Gate()
    outbox = Outbox(gate)
    async with trio.open_nursery() as nursery:
        outbox.open(nursery)
        with trio.move_on_after(0):
            await outbox.write(b"whole")
        gate.open.set()
        await wait_all_tasks_blocked()
        assert gate.taken == [b"whole"]
        nursery.cancel_scope.cancel()


async def test_the_librarys_close_for_a_large_message_gets_our_code() -> None:
    gate = Gate()
    gate.open.set()
    outbox = Outbox(gate)
    async with trio.open_nursery() as nursery:
        outbox.open(nursery)
        await wrapped(outbox).send_all(close_frame(1009, "Exceeded maximum message size"))
        nursery.cancel_scope.cancel()
    assert gate.taken[0][2:4] == int(CloseCode.TOO_LARGE).to_bytes(2, "big")


# --- writing at once ------------------------------------------------------------------------------


@contextmanager
def full_soon() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A pair of sockets; what one of them takes unread is little."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


def read_all(sock: socket.socket) -> bytes:
    got = b""
    try:
        while data := sock.recv(1 << 16):
            got += data
    except BlockingIOError:
        pass
    return got


async def test_a_frame_goes_at_once_when_nothing_is_pending_and_wakes_nobody() -> None:
    gate = Gate()
    with full_soon() as (ours, theirs):
        outbox = Outbox(gate, descriptor=ours.fileno)
        assert outbox.offer(b"hello")  # nobody drains
        assert outbox.idle
        assert read_all(theirs) == b"hello"
        assert outbox.statistics().sent_bytes == 5
        assert outbox.statistics().pending_bytes == 0


async def test_what_the_library_sends_goes_at_once_too_when_nothing_is_pending() -> None:
    gate = Gate()
    with full_soon() as (ours, theirs):
        outbox = Outbox(gate, descriptor=ours.fileno)
        stream = wrapped(outbox)
        async with trio.open_nursery() as nursery:
            outbox.open(nursery)
            for frame in (b"HTTP/1.1 101", PING_ANSWER, close_frame(1000, "bye")):
                await stream.send_all(frame)
                assert read_all(theirs) == frame
                assert not nursery.child_tasks
        assert not outbox.offer(b"behind the close")


async def test_what_a_full_socket_did_not_take_is_drained_before_a_pong() -> None:
    gate = Gate()
    frame = text_frame(bytes(1 << 20))
    with full_soon() as (ours, theirs):
        outbox = Outbox(gate, descriptor=ours.fileno)
        assert outbox.offer(frame)
        begun = read_all(theirs)
        assert 0 < len(begun) < len(frame)
        assert not outbox.idle
        outbox.pong(PING_ANSWER)
        gate.open.set()
        async with trio.open_nursery() as nursery:
            outbox.open(nursery)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert gate.taken == [frame[len(begun) :], PING_ANSWER]
        assert outbox.statistics().sent_bytes == len(frame) + len(PING_ANSWER)


async def test_a_frame_of_which_a_full_socket_took_nothing_waits_whole() -> None:
    gate = Gate()
    with full_soon() as (ours, theirs):
        outbox = Outbox(gate, descriptor=ours.fileno)
        try:
            while True:
                ours.send(bytes(4096))
        except BlockingIOError:
            pass
        assert outbox.offer(b"later")
        outbox.pong(PING_ANSWER)  # nothing of the frame is on its way, so a pong may go first
        gate.open.set()
        async with trio.open_nursery() as nursery:
            outbox.open(nursery)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert sorted(gate.taken) == sorted([b"later", PING_ANSWER])
        assert set(read_all(theirs)) == {0}


async def test_half_a_frame_written_at_once_and_never_finished_aborts_the_connection() -> None:
    gate = Gate()
    with full_soon() as (ours, _theirs):
        outbox = Outbox(gate, descriptor=ours.fileno)
        assert outbox.offer(text_frame(bytes(1 << 20)))
        async with trio.open_nursery() as nursery:
            outbox.open(nursery)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert gate.closed
    assert outbox.statistics().aborted


async def test_the_descriptor_is_asked_anew_so_a_closed_sockets_number_is_never_written_to() -> None:
    gate = Gate()
    with full_soon() as (ours, _), full_soon() as (another, reader):
        outbox = Outbox(gate, descriptor=ours.fileno)
        assert outbox.offer(b"one")
        number = ours.fileno()
        ours.close()
        with another.dup() as reused:
            assert reused.fileno() == number, "the system gives the lowest free number"
            assert outbox.offer(b"two")
            assert read_all(reader) == b""
        assert not outbox.idle  # it waits for the drain, which learns that the stream is closed


async def test_only_a_plain_socket_is_written_to_at_once() -> None:
    ours, theirs = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    with theirs:
        asked = descriptor_of(stream)
        assert asked is not None
        assert asked() == ours.fileno()
        await stream.aclose()
        assert asked() == -1
    assert descriptor_of(memory_stream_pair()[0]) is None
    assert descriptor_of(trio.SSLStream(stream, ssl.create_default_context())) is None
