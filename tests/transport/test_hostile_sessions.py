"""Whatever comes from a socket ends its own session at most, over a real runtime on both engines."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

import trouper
from tests.transport.service import Gates, Service, open_service
from tests.transport.test_http import until
from tests.transport.ws_peer import Peer, still_works

GATES = Gates()


@trouper.job(client=True)
async def quick(ctx: trouper.JobContext, *, text: str = "done") -> None:
    """What the hostile ones try to submit."""
    await ctx.write(text)


@trouper.job(client=True)
async def held(ctx: trouper.JobContext, *, gate: str) -> None:
    """Writes, waits, writes."""
    await ctx.write("before ")
    await GATES[gate].wait()
    await ctx.write("after")


BREAKS: list[tuple[str | bytes, int]] = [
    ("", 4503),
    ("{", 4503),
    ("{}", 4503),
    ("null", 4503),
    ("[1]", 4503),
    ("[" * 60_000, 4503),
    ('[{"t":"teleport"}]', 4503),
    ('[{"t":"welcome"}]', 4503),
    ('[{"t":7}]', 4503),
    ('[{"t":"hello","visible":true}]', 4503),
    ('[{"t":"ack","sent":7,"feed":0}]', 4503),
    ('[{"t":"attach","job":"j","attempt":"1","n":0}]', 4503),
    ('[{"t":"attach","job":"j","attempt":1.0,"n":0}]', 4503),
    ('[{"t":"submit","id":"c1","job":"quick","arguments":[],"key":"k"}]', 4503),
    ('[{"t":"jobs","id":"c1","thread":"\\ud800"}]', 4503),
    (b"\x00\xff", 4503),
    ('[{"t":"beat","x":"' + "y" * 70_000 + '"}]', 4504),
]

REFUSED: list[dict[str, Any]] = [
    {"t": "submit", "job": "quick", "arguments": {"text": 7}, "key": "k"},
    {"t": "submit", "job": "quick", "arguments": {"other": "a"}, "key": "k"},
    {"t": "submit", "job": "quick", "arguments": {}, "key": ""},
    {"t": "submit", "job": "quick", "arguments": {}, "key": "k" * 201},
    {"t": "submit", "job": "quick", "arguments": {"text": "x" * 40_000}, "key": "k"},
    {"t": "submit", "job": "../quick\0", "arguments": {}, "key": "k"},
    {"t": "job", "job": "no such job\0"},
    {"t": "jobs", "limit": 2**53 - 1},
    {"t": "jobs", "limit": 0},
    {"t": "mark", "mark": "eaten", "upto": 1},
    {"t": "mark", "mark": "read", "upto": -1},
    {"t": "mark", "mark": "read", "upto": 1, "job": "j"},
]

TAKEN: list[dict[str, Any]] = [
    {"t": "mark", "id": "c1", "mark": "read", "upto": 2**53 - 1},
    {"t": "mark", "id": "c2", "mark": "read", "ids": ["'; DROP TABLE jobs; --", "\0", "🎪"]},
    {"t": "cancel", "id": "c3", "job": "'; DROP TABLE jobs; --"},
    {"t": "jobs", "id": "c4", "before": "no such job", "thread": "\0"},
    {"t": "threads", "id": "c5", "before": "no such thread"},
    {"t": "notifications", "id": "c6", "before": "🎪"},
    {"t": "detach", "job": "never attached"},
    {"t": "attach", "job": "no such job", "attempt": 2**53 - 1, "n": 2**53 - 1},
    {"t": "resync", "feed": {"epoch": "another", "seq": 2**53 - 1}},
]

FAULTS: list[dict[str, Any]] = [
    {"t": "attach", "job": "", "attempt": 0, "n": 0},
    {"t": "attach", "job": "j", "attempt": -1, "n": 0},
    {"t": "attach", "job": "j", "attempt": 0, "n": 2**53},
    {"t": "ack", "sent": -1, "feed": 0},
]


async def be_hostile(service: Service) -> None:
    """Everything that breaks the protocol, each on a connection of its own."""
    for message, code in BREAKS:
        async with service.raw() as peer:
            await peer.websocket.send_message(message)
            assert (await peer.closed())[0] == code, message[:60]
    for first in ("{", '[{"t":"beat"}]', '[{"t":"hello"}]'):
        async with service.raw(None) as peer:
            await peer.websocket.send_message(first)
            assert (await peer.closed())[0] == 4503
    async with service.raw(None) as peer:
        await peer.say({"t": "hello", "visible": True})
        assert (await peer.closed())[0] == 4501


async def be_wrong(peer: Peer) -> None:
    """Values that are refused, and strange ones that are not, all on one connection that goes on."""
    for number, command in enumerate(REFUSED):
        reply = await peer.ask({**command, "id": f"r{number}"})
        assert reply["error"]["code"] in ("bad_request", "unknown_job", "unknown"), (command, reply)
        assert reply["error"]["message"]
    await peer.say(*TAKEN)
    for number in range(1, 7):
        reply = await peer.hear_item("reply")
        assert (reply["id"], "ok" in reply) == (f"c{number}", True), reply
    for item in FAULTS:
        await peer.say(item)
        assert (await peer.hear_item("error"))["code"] == "bad_request"
    await still_works(peer)


@pytest.mark.clause("E1")
@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_whatever_comes_closes_its_own_session_alone_while_a_neighbour_watches(
    engine: str, tmp_path: Path
) -> None:
    gate = f"hostile {engine}"
    url = "memory:" if engine == "memory" else f"sqlite:///{tmp_path / 'chat.db'}"
    async with open_service(held, quick, url=url) as service, service.client() as neighbour:
        job = await neighbour.submit("held", {"gate": gate})
        transcript = trouper.Transcript()
        async with aclosing(neighbour.output(job.id)) as output:
            async for item in output:
                transcript.add(item)
                if isinstance(item, trouper.Text) and not GATES[gate].is_set():
                    await be_hostile(service)
                    async with service.raw() as peer:
                        await be_wrong(peer)
                    GATES[gate].set()
        assert transcript.end is not None
        assert transcript.end.sha256 == hashlib.sha256(b"before after").hexdigest()
        assert transcript.end.verified
        assert neighbour.frames.connections == 1
        assert service.troubles == []
        assert [row.id for row in await neighbour.jobs()] == [job.id]
        await until(lambda: service.gateway.statistics().connections == 1)
