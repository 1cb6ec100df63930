"""Plain trio-websocket: what one writes first. A task and an unbounded channel for each session."""

from __future__ import annotations

import json
import math
import sys
from functools import partial
from typing import Any

import trio
import trio_websocket

from benchmarks.delivery.plain import SCENARIO, Place, Stream, groups, make, make_streams, to_window_end
from benchmarks.delivery.scenario import ready

STREAMS = make_streams()
_started = trio.Event()


async def source(streams: list[Stream]) -> None:
    await _started.wait()
    for pause in make(streams):
        await trio.sleep(pause)


async def send(websocket: trio_websocket.WebSocketConnection, stream: Stream) -> None:
    """What is in the log, then what comes: the first after silence at once, then once per window."""
    sender, receiver = trio.open_memory_channel[str](math.inf)
    place = Place(stream)
    log = place.log()
    stream.watchers.append(sender.send_nowait)
    try:
        for message in log:
            await websocket.send_message(message)
        while True:
            pieces = [await receiver.receive()]
            waiting = receiver.statistics().current_buffer_used
            pieces.extend(receiver.receive_nowait() for _ in range(waiting))
            await websocket.send_message(place.message(pieces))
            await trio.sleep(to_window_end())
    finally:
        stream.watchers.remove(sender.send_nowait)


async def session(request: Any) -> None:
    try:
        websocket = await request.accept()
        number = json.loads(await websocket.get_message())["stream"]
        await websocket.send_message('["subscribed"]')
        async with trio.open_nursery() as nursery:
            if SCENARIO.attach:
                nursery.start_soon(send, websocket, STREAMS[number])
            while True:
                number = json.loads(await websocket.get_message())["stream"]
                nursery.start_soon(send, websocket, STREAMS[number])
    except* trio_websocket.ConnectionClosed:
        pass


async def main() -> None:
    async with trio.open_nursery() as nursery:
        for group in groups(STREAMS):
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
