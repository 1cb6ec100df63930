"""asyncio's queues and tasks, with no more around them than is needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from benchmarks.actors.ours import BURST, CAPACITY, TICK, Tick


def tell_in_bursts(times: int) -> float:
    """By ``put_nowait``, which is what ``tell`` is."""

    async def main() -> float:
        queue: asyncio.Queue[Tick] = asyncio.Queue(CAPACITY)
        left, done = 0, asyncio.Event()

        async def consume() -> None:
            nonlocal left
            while True:
                await queue.get()
                left -= 1
                if not left:
                    done.set()

        consumer = asyncio.create_task(consume())
        began = time.perf_counter()
        for first in range(0, times, BURST):
            left = burst = min(BURST, times - first)
            done.clear()
            for _ in range(burst):
                queue.put_nowait(TICK)
            await done.wait()
        took = time.perf_counter() - began
        consumer.cancel()
        return took

    return asyncio.run(main())


def tell_ping_pong(times: int) -> float:
    async def main() -> float:
        to_pong: asyncio.Queue[Tick] = asyncio.Queue(CAPACITY)
        to_ping: asyncio.Queue[Tick] = asyncio.Queue(CAPACITY)

        async def play() -> None:
            while True:
                to_ping.put_nowait(await to_pong.get())

        player = asyncio.create_task(play())
        began = time.perf_counter()
        for _ in range(times // 2):
            to_pong.put_nowait(TICK)
            await to_ping.get()
        took = time.perf_counter() - began
        player.cancel()
        return took

    return asyncio.run(main())


def ask(times: int) -> float:
    """A deadline, a future for the reply, and a server that answers into it."""

    async def main() -> float:
        queue: asyncio.Queue[tuple[int, asyncio.Future[int]]] = asyncio.Queue(CAPACITY)

        async def serve() -> None:
            while True:
                number, reply = await queue.get()
                reply.set_result(2 * number)

        server = asyncio.create_task(serve())
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        for _ in range(times):
            async with asyncio.timeout(5):
                reply = loop.create_future()
                queue.put_nowait((1, reply))
                await reply
        took = time.perf_counter() - began
        server.cancel()
        return took

    return asyncio.run(main())


def spawn_and_stop(times: int) -> float:
    """A task that ends at ``None`` in its queue. No supervision."""

    async def live(queue: asyncio.Queue[Tick | None], ready: asyncio.Event) -> None:
        ready.set()
        while await queue.get() is not None:
            pass

    async def main() -> float:
        began = time.perf_counter()
        for _ in range(times):
            queue: asyncio.Queue[Tick | None] = asyncio.Queue(CAPACITY)
            ready = asyncio.Event()
            task = asyncio.create_task(live(queue, ready))
            await ready.wait()
            queue.put_nowait(None)
            await task
        return time.perf_counter() - began

    return asyncio.run(main())


def crash_and_restart(times: int) -> float:
    """A loop that makes a task for each life, and hands its exception on as it is."""
    heard: list[int] = [0]

    def listen(_error: Exception) -> None:
        heard[0] += 1

    async def live() -> None:
        await asyncio.sleep(0)
        raise ValueError("as it was told to")

    async def main() -> float:
        began = time.perf_counter()
        for _ in range(times):
            try:
                await asyncio.create_task(live())  # noqa: ASYNC300  # the loop holds it for as long as it is measured
            except ValueError as error:
                listen(error)
        return time.perf_counter() - began

    took = asyncio.run(main())
    assert heard[0] == times
    return took


def idle(count: int, look: Callable[[], None]) -> None:
    """Tasks that wait for their first message."""

    async def live(queue: asyncio.Queue[Tick]) -> None:
        while True:
            await queue.get()

    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []
        for turn, number in enumerate((20, count)):
            if turn:
                look()
            tasks += [asyncio.create_task(live(asyncio.Queue(CAPACITY))) for _ in range(number)]
            await asyncio.sleep(0.01)
        look()
        for task in tasks:
            task.cancel()

    asyncio.run(main())
