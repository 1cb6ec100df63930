"""Python ``websockets``: what one writes first. A task and an unbounded queue for each session."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import attrs
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.delivery.scenario import FILLER, Scenario, ready, token

SCENARIO = Scenario.from_arguments()
BLOCK_BYTES = 64 * 1024


@attrs.define
class Stream:
    log: list[str]
    queues: list[asyncio.Queue[str]] = attrs.field(factory=list)

    def write(self, piece: str) -> None:
        self.log.append(piece)
        for queue in self.queues:
            queue.put_nowait(piece)


STREAMS = [
    Stream([FILLER for _ in range(0, SCENARIO.prefill_bytes, len(FILLER))]) for _ in range(SCENARIO.streams)
]


async def source(streams: list[Stream], started: asyncio.Event) -> None:
    await started.wait()
    if SCENARIO.burst_bytes:
        for _ in range(0, SCENARIO.burst_bytes, len(FILLER)):
            streams[0].write(FILLER)
            await asyncio.sleep(0)
        return
    due, pause = time.monotonic(), 1 / SCENARIO.per_s
    while True:
        for stream in streams:
            stream.write(token())
        due = max(due + pause, time.monotonic())
        await asyncio.sleep(due - time.monotonic())


async def send(websocket: ServerConnection, stream: Stream, number: int) -> None:
    """What is in the log, then what comes: joined over the window."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    sent, log = 0, list(stream.log)
    stream.queues.append(queue)
    try:
        per_block = BLOCK_BYTES // len(FILLER)
        for first in range(0, len(log), per_block):
            pieces = log[first : first + per_block]
            await websocket.send(message(number, sent, pieces))
            sent += len(pieces)
        while True:
            pieces = [await queue.get()]
            await asyncio.sleep(SCENARIO.window_s)
            while not queue.empty():
                pieces.append(queue.get_nowait())
            await websocket.send(message(number, sent, pieces))
            sent += len(pieces)
    except ConnectionClosed:
        pass
    finally:
        stream.queues.remove(queue)


def message(number: int, sent: int, pieces: list[str]) -> str:
    return json.dumps({"stream": number, "from": sent, "to": sent + len(pieces), "text": "".join(pieces)})


async def session(websocket: ServerConnection) -> None:
    senders: list[asyncio.Task[None]] = []
    try:
        number = json.loads(await websocket.recv())["stream"]
        await websocket.send('["subscribed"]')
        if SCENARIO.attach:
            senders.append(asyncio.create_task(send(websocket, STREAMS[number], number)))
        async for text in websocket:
            number = json.loads(text)["stream"]
            senders.append(asyncio.create_task(send(websocket, STREAMS[number], number)))
    except ConnectionClosed:
        pass
    finally:
        for sender in senders:
            sender.cancel()


async def main() -> None:
    started = asyncio.Event()
    groups = [[stream] for stream in STREAMS] if SCENARIO.source == "each" else [STREAMS]
    sources = [asyncio.create_task(source(group, started)) for group in groups]
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
