"""One WebSocket connection over streams in memory, on a virtual clock."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from typing import Any

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from tests.transport.fakes import output
from tests.transport.ws_peer import HELLO, frozen, open_house, still_works
from trouper.transport.auth import Hello
from trouper.transport.codes import CloseCode
from trouper.transport.options import GatewayOptions
from trouper.transport.session_state import SessionState


async def test_a_client_that_says_hello_is_welcomed_and_holds_a_cursor_at_once(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.say(HELLO | {"visible": False, "feed": {"epoch": "e0", "seq": 4}})
        welcome, feed = await peer.hear()
        assert welcome == {
            "t": "welcome", "protocol": 1, "session": "s1", "user": "ada", "epoch": "e1", "now": 1000.0,
            "beat_ms": 25000, "silence_ms": 35000, "window": 262144,
        }  # fmt: skip
        assert feed == {
            "t": "snapshot", "epoch": "e1", "seq": 0, "jobs": [], "notifications": [],
            "counts": {"unseen": 0, "unread": 0},
        }  # fmt: skip
        assert house.runtime.opened == [("ada", False, ("e0", 4))]
        assert trio.current_time() < 0.1


async def test_authenticate_sees_token_headers_cookies_and_path(autojump_clock: MockClock) -> None:
    seen: list[Hello] = []

    async def authenticate(hello: Hello) -> str | None:
        seen.append(hello)
        await trio.sleep(1)
        return "grace"

    headers = [(b"Cookie", b'a=1; b="2"; a=3'), (b"X-Kind", b"tab")]
    async with (
        open_house(authenticate=authenticate) as house,
        house.connect(memory_stream_pair(), headers) as peer,
    ):
        assert (await peer.welcome(token="secret"))["user"] == "grace"
    [hello] = seen
    assert (hello.token, hello.path, hello.peer) == ("secret", "/ws?tab=1", "memory")
    assert hello.cookies == {"a": "1", "b": "2"}
    assert hello.headers["x-kind"] == "tab"
    assert hello.headers["host"] == "example.test"
    assert "secret" not in repr(hello)


async def test_beats_go_every_25_s_and_a_client_that_answers_lives_on(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        beats: list[float] = []
        while trio.current_time() < 1000:
            assert await peer.hear_item("beat") == {"t": "beat", "now": 1000.0}, "with the time"
            beats.append(round(trio.current_time()))
            await peer.say({"t": "beat"})
        assert beats == list(range(25, 1001, 25))
        assert house.runtime.open_now == 1


async def test_a_client_that_is_silent_for_35_s_is_closed_with_4008_whatever_it_is_sent(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        house.channel.give(output("x"))

        async with trio.open_nursery() as nursery:

            async def talk_at_it() -> None:
                while True:
                    await trio.sleep(3)
                    house.channel.give(output("more"))

            nursery.start_soon(talk_at_it)
            code, reason = await peer.closed()
            nursery.cancel_scope.cancel()
        assert (code, reason) == (4008, "nothing was heard for 35 s")
        assert trio.current_time() == pytest.approx(35, abs=0.1)


async def test_pings_count_as_heard(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.closed)
            for _ in range(10):
                await trio.sleep(20)
                await peer.websocket.ping()
            assert house.runtime.open_now == 1
            nursery.cancel_scope.cancel()


async def test_a_client_without_hello_is_closed_with_4501_after_10_s(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        assert await peer.closed() == (4501, "no hello within 10 s")
        assert trio.current_time() == pytest.approx(10, abs=0.1)
        assert house.runtime.opened == []


async def test_a_client_that_is_not_authenticated_is_closed_with_4501(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.say(HELLO | {"token": ""})
        assert await peer.closed() == (4501, "not authenticated")
        assert house.crashes == []


@pytest.mark.clause("E2")
async def test_what_comes_before_the_welcome_is_bounded_in_bytes_and_all_of_it_is_done_after_it(
    autojump_clock: MockClock,
) -> None:
    async def authenticate(hello: Hello) -> str | None:
        await trio.sleep(5)
        return "ada"

    options = GatewayOptions(max_early_bytes=100_000)
    async with (
        open_house(options, authenticate) as house,
        house.connect(memory_stream_pair()) as peer,
    ):
        await peer.say(HELLO)
        for number in range(20):
            submit = {"t": "submit", "id": f"c{number}", "job": "echo", "key": f"k{number}"}
            await peer.say(submit | {"arguments": {"text": "x" * 50_000}})
        await trio.sleep(1)
        waiting = house.connections[0].statistics().early_bytes
        assert 100_000 < waiting < 100_000 + options.max_inbound_bytes
        answered = [(await peer.hear_item("reply"))["id"] for _ in range(20)]
        assert answered == [f"c{number}" for number in range(20)]
        assert house.connections[0].statistics().early_bytes == 0


@pytest.mark.clause("E1")
@pytest.mark.parametrize(
    "answer", [ValueError("a bug in the application"), asyncio.CancelledError(), 7, "", "x" * 201]
)
@pytest.mark.parametrize("waits", [False, True])
async def test_an_authenticate_that_fails_closes_its_session_alone_and_is_reported(
    autojump_clock: MockClock, answer: object, waits: bool
) -> None:
    def answered(hello: Hello) -> Any:
        if hello.token == "ada":
            return "ada"
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def answered_later(hello: Hello) -> Any:
        await trio.lowlevel.checkpoint()
        return answered(hello)

    authenticate = answered_later if waits else answered

    async with (
        open_house(authenticate=authenticate) as house,
        house.connect(memory_stream_pair()) as neighbour,
    ):
        await neighbour.welcome()
        async with house.connect(memory_stream_pair()) as peer:
            await peer.say(HELLO | {"token": "other"})
            code, _ = await peer.closed()
            assert code == CloseCode.INTERNAL
        await still_works(neighbour)
        assert len(house.crashes) == 1


@pytest.mark.clause("E1")
async def test_a_bug_behind_a_session_closes_it_alone_with_4002(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as neighbour:
        await neighbour.welcome()
        async with house.connect(memory_stream_pair()) as peer:
            await peer.say(HELLO | {"token": "unlucky"})
            assert await peer.closed() == (4002, "the server failed; it was reported there")
        [(_, error)] = house.crashes
        assert "a bug behind the session" in str(error)
        await still_works(neighbour)


@pytest.mark.clause("E1")
async def test_a_bug_in_a_channel_closes_its_session_alone_with_4002(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as neighbour:
        await neighbour.welcome()
        async with house.connect(memory_stream_pair()) as peer:
            await peer.welcome()
            house.channel.break_down()
            assert (await peer.closed())[0] == 4002
        [(_, error)] = house.crashes
        assert "a bug in the channel" in str(error)
        await still_works(neighbour)


@pytest.mark.clause("E1")
@pytest.mark.parametrize(
    "message", ["", "{", "[1]", '[{"t":"nonsense"}]', '[{"t":"ack","sent":"7","feed":0}]', b"\x00\x01"]
)
async def test_bad_input_closes_only_its_session_with_4503_and_a_reason(
    autojump_clock: MockClock, message: str | bytes
) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as neighbour:
        await neighbour.welcome()
        async with house.connect(memory_stream_pair()) as peer:
            await peer.welcome()
            await peer.websocket.send_message(message)
            code, reason = await peer.closed()
            assert code == 4503
            assert "legal" in reason
        await still_works(neighbour)
        assert house.crashes == []
        assert house.runtime.open_now == 1


@pytest.mark.clause("E1")
async def test_a_client_that_breaks_the_protocol_right_behind_its_hello_is_no_crash(
    autojump_clock: MockClock,
) -> None:
    for _ in range(20):  # which of two tasks runs first is trio's dice
        ours, theirs = memory_stream_pair()
        async with open_house() as house, house.connect((ours, theirs)) as peer:
            frames = Connection(ConnectionType.CLIENT)
            both = frames.send(TextMessage(json.dumps([HELLO]))) + frames.send(TextMessage("{"))
            await theirs.send_all(both)
            assert (await peer.closed())[0] == 4503
        assert house.crashes == []


@pytest.mark.clause("E2")
@pytest.mark.parametrize("size", [64 * 1024 + 1, 1024 * 1024])
async def test_a_message_that_is_too_large_is_closed_with_4504(autojump_clock: MockClock, size: int) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        await peer.websocket.send_message(json.dumps([{"t": "beat", "x": "y" * size}]))
        assert (await peer.closed())[0] == 4504


async def test_a_client_that_closes_is_answered_and_its_session_ends(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        await peer.websocket.aclose(1000, "bye")
        await wait_all_tasks_blocked()
        assert house.runtime.open_now == 0
        assert house.crashes == []


@pytest.mark.clause("E2")
async def test_connections_that_come_and_go_within_a_silence_are_not_held_for_it(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        for _ in range(200):
            async with house.connect(memory_stream_pair()) as peer:
                await peer.welcome()
        assert trio.current_time() < GatewayOptions().beat_s, "nobody's time has come"
        assert len(house.ports.alarms) < 150, "of six hundred"
        gone = weakref.ref(house.connections[0])
        house.connections.clear()
        gc.collect()
        assert gone() is None


async def test_an_idle_session_is_two_tasks(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        await peer.ask({"t": "jobs", "id": "c1", "limit": 1})
        await wait_all_tasks_blocked()
        [task] = house.serving
        [nursery] = task.child_nurseries
        assert [child.name.rpartition(".")[2] for child in nursery.child_tasks] == ["_reader_task"]


async def test_a_client_that_goes_while_it_is_authenticated_is_not_waited_for(
    autojump_clock: MockClock,
) -> None:
    cancelled_at: list[float] = []

    async def authenticate(hello: Hello) -> str | None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled_at.append(trio.current_time())

    ours, theirs = memory_stream_pair()
    async with open_house(authenticate=authenticate) as house, house.connect((ours, theirs)) as peer:
        await peer.say(HELLO)
        await trio.sleep(1)
        await trio.aclose_forcefully(theirs)
        await wait_all_tasks_blocked()
        assert cancelled_at == [pytest.approx(1, abs=0.1)]
        assert house.crashes == []


async def test_a_connection_that_is_cut_ends_its_session(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    async with open_house() as house, house.connect((ours, theirs)) as peer:
        await peer.welcome()
        await trio.aclose_forcefully(theirs)
        await wait_all_tasks_blocked()
        assert house.runtime.open_now == 0
        assert house.crashes == []


# --- slow peers ---------------------------------------------------------------------------------


@pytest.mark.clause("O4")
async def test_a_peer_that_does_not_read_costs_one_message_and_then_gets_the_rest(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house, house.connect(lockstep_stream_pair()) as peer:
        await peer.welcome()
        await peer.hear_item("snapshot") if not peer.inbox else peer.inbox.clear()
        async with frozen(peer):
            await trio.sleep(1)
            for start in range(1000):
                house.channel.give(output("x" * 1000, start))
                await trio.sleep(0.01)
            [connection] = house.connections
            assert connection.statistics().pending_bytes <= house.options.max_message_bytes * 1.1
            assert len(house.channel.due) > 900  # what waits is the channel's, which keeps a cursor
        got: list[int] = []
        messages = 0
        while len(got) < 1000:
            items = await peer.hear()
            got += [item["from"] for item in items if item["t"] == "output"]
            messages += 1
        assert got == list(range(1000))
        assert messages < 100  # ranges of 16 KiB, since nothing is acknowledged, and not one per tick


async def test_the_server_closes_in_time_when_the_peer_does_not_take_it(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(lockstep_stream_pair()) as peer:
        await peer.welcome()
        async with frozen(peer):
            house.channel.give(output("x" * 5000))
            house.channel.give(output("y" * 5000))
            await trio.sleep(1)
            began = trio.current_time()
            house.connections[0].close(CloseCode.DRAIN, "the server is stopping")
            while house.runtime.open_now or house.connections[0].statistics().pending_bytes:  # noqa: ASYNC110
                await trio.sleep(0.1)
            assert trio.current_time() - began <= house.options.close_s + 0.2


async def test_a_peer_that_reads_only_when_it_has_written_gets_the_code(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(lockstep_stream_pair()) as peer:
        await peer.welcome()
        peer.inbox.clear()
        async with frozen(peer):
            house.channel.give(output("x" * 20_000))
            await trio.sleep(0.1)
            house.connections[0].close(CloseCode.DRAIN, "the server is stopping")
            for _ in range(5):
                with trio.fail_after(1):  # nothing of it fits anywhere but into the server
                    await peer.say({"t": "beat"})
        assert await peer.closed() == (4001, "the server is stopping")


async def test_a_session_that_is_closed_gets_the_code_and_the_reason(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        house.connections[0].close(CloseCode.DRAIN, "the server is stopping")
        house.connections[0].close(CloseCode.INTERNAL, "only the first says why")
        assert await peer.closed() == (4001, "the server is stopping")
        await wait_all_tasks_blocked()
        assert house.connections[0].statistics().state is SessionState.CLOSED


async def test_what_a_session_is_due_within_a_tick_goes_in_one_message(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        await trio.sleep(1)
        began = trio.current_time()
        for start in range(60):
            house.channel.give(output("x", start))
            await trio.sleep(0.001)
        counts: list[int] = []
        while sum(counts) < 60:
            counts.append(len(await peer.hear()))
        assert len(counts) in (3, 4)
        assert trio.current_time() - began < 0.1
