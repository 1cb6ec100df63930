"""Frames that break WebSocket, and closes of the peer's own: what it is told, and who else is not."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from tests.transport.fakes import output
from tests.transport.ws_peer import frozen, open_house, still_works
from trouper.transport.codes import CloseCode

BROKEN = {
    "bad UTF-8": b"\x81\x82abcd" + bytes((0xFF ^ 0x61, 0xFE ^ 0x62)),
    "not masked": b"\x81\x02[]",
    "a reserved bit": b"\xc1\x80abcd",
    "a reserved bit in a large frame": b"\xff" * 64,
    "an opcode that is none": b"GET / HTTP/1.1\r\n\r\n",
    "a continuation of nothing": b"\x80\x80abcd",
    "a ping of 126 bytes": b"\x89\xfe\x00\x7eabcd" + b"x" * 126,
    "a close of 1 byte": b"\x88\x81abcdx",
    "a close with a code that is none": b"\x88\x82abcd" + bytes((0x03 ^ 0x61, 0xE7 ^ 0x62)),
    "a length that is none": b"\x81\xff" + b"\xff" * 8,
}


@pytest.mark.clause("E1")
@pytest.mark.parametrize("junk", BROKEN.values(), ids=BROKEN.keys())
async def test_frames_that_cannot_be_read_are_closed_with_4503_and_end_no_other_session(
    autojump_clock: MockClock, junk: bytes
) -> None:
    ours, theirs = memory_stream_pair()
    async with open_house() as house, house.connect(memory_stream_pair()) as neighbour:
        await neighbour.welcome()
        async with house.connect((ours, theirs)) as peer:
            await peer.welcome()
            await theirs.send_all(junk)
            code, reason = await peer.closed()
            assert code == CloseCode.PROTOCOL
            assert reason.startswith("not WebSocket (")
            assert reason.endswith("; legal are frames as in RFC 6455")
        await wait_all_tasks_blocked()
        assert house.runtime.open_now == 1
        assert house.crashes == []
        await still_works(neighbour)


@pytest.mark.clause("E1")
async def test_a_peer_that_sends_broken_frames_and_reads_nothing_is_gone_in_time(
    autojump_clock: MockClock,
) -> None:
    ours, theirs = lockstep_stream_pair()
    async with open_house() as house, house.connect((ours, theirs)) as peer:
        await peer.welcome()
        async with frozen(peer):
            house.channel.give(output("x" * 5000))
            await trio.sleep(1)
            await theirs.send_all(BROKEN["not masked"])
            began = trio.current_time()
            while house.runtime.open_now or house.connections[0].statistics().pending_bytes:  # noqa: ASYNC110
                await trio.sleep(0.1)
            assert trio.current_time() - began <= house.options.close_s + 0.2
        assert house.crashes == []


@pytest.mark.clause("E1")
async def test_a_close_of_the_peer_for_reasons_of_its_own_is_answered_as_it_is(
    autojump_clock: MockClock,
) -> None:
    for code in (1001, 1002, 1007, 4999):
        async with open_house() as house, house.connect(memory_stream_pair()) as peer:
            await peer.welcome()
            await peer.websocket.aclose(code, "mine")
            await wait_all_tasks_blocked()
            assert house.runtime.open_now == 0
            assert peer.websocket.closed is not None
            assert (peer.websocket.closed.code, peer.websocket.closed.reason) == (code, "mine")
