"""Python ``websockets``: what one writes first. A task and an unbounded queue for each session."""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.delivery.plain import SCENARIO, Place, Stream, groups, make, make_streams, to_window_end
from benchmarks.delivery.scenario import ready

STREAMS = make_streams()


async def source(streams: list[Stream], started: asyncio.Event) -> None:
    await started.wait()
    for pause in make(streams):
        await asyncio.sleep(pause)


async def send(websocket: ServerConnection, stream: Stream) -> None:
    """What is in the log, then what comes: the first after silence at once, then once per window."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    place = Place(stream)
    log = place.log()
    stream.watchers.append(queue.put_nowait)
    try:
        for message in log:
            await websocket.send(message)
        while True:
            pieces = [await queue.get()]
            while not queue.empty():
                pieces.append(queue.get_nowait())
            await websocket.send(place.message(pieces))
            await asyncio.sleep(to_window_end())
    except ConnectionClosed:
        pass
    finally:
        stream.watchers.remove(queue.put_nowait)


async def session(websocket: ServerConnection) -> None:
    senders: list[asyncio.Task[None]] = []

    def start(number: int) -> None:
        senders.append(asyncio.create_task(send(websocket, STREAMS[number])))

    try:
        number = json.loads(await websocket.recv())["stream"]
        await websocket.send('["subscribed"]')
        if SCENARIO.attach:
            start(number)
        async for text in websocket:
            start(json.loads(text)["stream"])
    except ConnectionClosed:
        pass
    finally:
        for sender in senders:
            sender.cancel()


async def main() -> None:
    started = asyncio.Event()
    sources = [asyncio.create_task(source(group, started)) for group in groups(STREAMS)]
    # No compression and no pings: neither is part of what is measured, at no peer.
    server = await serve(session, "127.0.0.1", 0, compression=None, ping_interval=None)
    ready(next(iter(server.sockets)).getsockname()[1])
    await asyncio.to_thread(sys.stdin.readline)
    started.set()
    await asyncio.to_thread(sys.stdin.readline)
    for one in sources:
        one.cancel()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
