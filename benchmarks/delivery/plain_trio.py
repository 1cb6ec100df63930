"""Plain trio-websocket: what one writes first. A task and an unbounded channel for each session."""

from __future__ import annotations

import json
import math
import sys
import time
from functools import partial
from typing import Any

import attrs
import trio
import trio_websocket

from benchmarks.delivery.scenario import FILLER, Scenario, ready, token

SCENARIO = Scenario.from_arguments()
BLOCK_BYTES = 64 * 1024


@attrs.define
class Stream:
    log: list[str]
    channels: list[trio.MemorySendChannel[str]] = attrs.field(factory=list)

    def write(self, piece: str) -> None:
        self.log.append(piece)
        for channel in self.channels:
            channel.send_nowait(piece)


STREAMS = [
    Stream([FILLER for _ in range(0, SCENARIO.prefill_bytes, len(FILLER))]) for _ in range(SCENARIO.streams)
]
_started = trio.Event()


async def source(streams: list[Stream]) -> None:
    await _started.wait()
    if SCENARIO.burst_bytes:
        for _ in range(0, SCENARIO.burst_bytes, len(FILLER)):
            streams[0].write(FILLER)
            await trio.lowlevel.checkpoint()
        return
    due, pause = time.monotonic(), 1 / SCENARIO.per_s
    while True:
        for stream in streams:
            stream.write(token())
        due = max(due + pause, time.monotonic())
        await trio.sleep(max(0.0, due - time.monotonic()))


async def send(websocket: trio_websocket.WebSocketConnection, stream: Stream, number: int) -> None:
    """What is in the log, then what comes: joined over the window."""
    sender, receiver = trio.open_memory_channel[str](math.inf)
    sent, log = 0, list(stream.log)
    stream.channels.append(sender)
    try:
        per_block = BLOCK_BYTES // len(FILLER)
        for first in range(0, len(log), per_block):
            pieces = log[first : first + per_block]
            await websocket.send_message(message(number, sent, pieces))
            sent += len(pieces)
        while True:
            pieces = [await receiver.receive()]
            await trio.sleep(SCENARIO.window_s)
            try:
                while True:
                    pieces.append(receiver.receive_nowait())
            except trio.WouldBlock:
                pass
            await websocket.send_message(message(number, sent, pieces))
            sent += len(pieces)
    finally:
        stream.channels.remove(sender)


def message(number: int, sent: int, pieces: list[str]) -> str:
    return json.dumps({"stream": number, "from": sent, "to": sent + len(pieces), "text": "".join(pieces)})


async def session(request: Any) -> None:
    try:
        websocket = await request.accept()
        number = json.loads(await websocket.get_message())["stream"]
        await websocket.send_message('["subscribed"]')
        async with trio.open_nursery() as nursery:
            if SCENARIO.attach:
                nursery.start_soon(send, websocket, STREAMS[number], number)
            while True:
                number = json.loads(await websocket.get_message())["stream"]
                nursery.start_soon(send, websocket, STREAMS[number], number)
    except* trio_websocket.ConnectionClosed:
        pass


async def main() -> None:
    async with trio.open_nursery() as nursery:
        groups = [[stream] for stream in STREAMS] if SCENARIO.source == "each" else [STREAMS]
        for group in groups:
            nursery.start_soon(source, group)

        serve = partial(trio_websocket.serve_websocket, session, "127.0.0.1", 0, ssl_context=None)
        server: trio_websocket.WebSocketServer = await nursery.start(serve)
        ready(server.port)
        await trio.to_thread.run_sync(sys.stdin.readline)
        _started.set()
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
