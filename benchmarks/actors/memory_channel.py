"""trio's memory channels, with no more around them than is needed: the floor that ours stands on."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio
import trio.testing

from benchmarks.actors.ours import BURST, CAPACITY, TICK, Tick

Reply = trio.MemorySendChannel[int]


class Count:
    """As ``ours.Counter``, without the actor."""

    def __init__(self) -> None:
        self.left = 0
        self.done = trio.Event()

    def expect(self, count: int) -> trio.Event:
        self.left, self.done = count, trio.Event()
        return self.done


async def _consume(inbox: trio.MemoryReceiveChannel[Tick], count: Count) -> None:
    async for _ in inbox:
        count.left -= 1
        if not count.left:
            count.done.set()


def tell_in_bursts(times: int) -> float:
    """By ``send_nowait``, which is what ``tell`` is."""

    async def main() -> float:
        outbox, inbox = trio.open_memory_channel[Tick](CAPACITY)
        count = Count()
        async with trio.open_nursery() as nursery, outbox:
            nursery.start_soon(_consume, inbox, count)
            began = time.perf_counter()
            for first in range(0, times, BURST):
                burst = min(BURST, times - first)
                done = count.expect(burst)
                for _ in range(burst):
                    outbox.send_nowait(TICK)
                await done.wait()
            return time.perf_counter() - began  # noqa: ASYNC121

    return trio.run(main)


def send_in_bursts(times: int) -> float:
    """By ``await send``, as most would."""

    async def main() -> float:
        outbox, inbox = trio.open_memory_channel[Tick](CAPACITY)
        count = Count()
        async with trio.open_nursery() as nursery, outbox:
            nursery.start_soon(_consume, inbox, count)
            began = time.perf_counter()
            for first in range(0, times, BURST):
                burst = min(BURST, times - first)
                done = count.expect(burst)
                for _ in range(burst):
                    await outbox.send(TICK)
                await done.wait()
            return time.perf_counter() - began  # noqa: ASYNC121

    return trio.run(main)


def tell_ping_pong(times: int) -> float:
    """By ``send_nowait``."""

    async def play(inbox: trio.MemoryReceiveChannel[Tick], outbox: trio.MemorySendChannel[Tick]) -> None:
        async for message in inbox:
            outbox.send_nowait(message)

    async def main() -> float:
        to_pong, pong_inbox = trio.open_memory_channel[Tick](CAPACITY)
        to_ping, ping_inbox = trio.open_memory_channel[Tick](CAPACITY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, pong_inbox, to_ping)
            began = time.perf_counter()
            for _ in range(times // 2):
                to_pong.send_nowait(TICK)
                await ping_inbox.receive()
            took = time.perf_counter() - began
            nursery.cancel_scope.cancel()
        return took

    return trio.run(main)


def send_ping_pong(times: int) -> float:
    """By ``await send``."""

    async def play(inbox: trio.MemoryReceiveChannel[Tick], outbox: trio.MemorySendChannel[Tick]) -> None:
        async for message in inbox:
            await outbox.send(message)

    async def main() -> float:
        to_pong, pong_inbox = trio.open_memory_channel[Tick](CAPACITY)
        to_ping, ping_inbox = trio.open_memory_channel[Tick](CAPACITY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play, pong_inbox, to_ping)
            began = time.perf_counter()
            for _ in range(times // 2):
                await to_pong.send(TICK)
                await ping_inbox.receive()
            took = time.perf_counter() - began
            nursery.cancel_scope.cancel()
        return took

    return trio.run(main)


def ask(times: int) -> float:
    """A deadline, a channel for the reply, and a server that answers into it."""

    async def serve(inbox: trio.MemoryReceiveChannel[tuple[int, Reply]]) -> None:
        async for number, reply in inbox:
            reply.send_nowait(2 * number)

    async def main() -> float:
        outbox, inbox = trio.open_memory_channel[tuple[int, Reply]](CAPACITY)
        async with trio.open_nursery() as nursery, outbox:
            nursery.start_soon(serve, inbox)
            began = time.perf_counter()
            for _ in range(times):
                with trio.fail_after(5):
                    reply, answer = trio.open_memory_channel[int](1)
                    await outbox.send((1, reply))
                    await answer.receive()
            return time.perf_counter() - began  # noqa: ASYNC121

    return trio.run(main)


def spawn_and_stop(times: int) -> float:
    """A task that says that it runs, and ends when its channel is closed. No supervision."""

    async def live(
        inbox: trio.MemoryReceiveChannel[Tick], done: trio.Event, task_status: trio.TaskStatus[None]
    ) -> None:
        task_status.started()
        async for _ in inbox:
            pass
        done.set()

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            began = time.perf_counter()
            for _ in range(times):
                outbox, inbox = trio.open_memory_channel[Tick](CAPACITY)
                done = trio.Event()
                await nursery.start(live, inbox, done)
                outbox.close()
                await done.wait()
            return time.perf_counter() - began  # noqa: ASYNC121

    return trio.run(main)


def crash_and_restart(times: int) -> float:
    """A loop that opens a nursery for each life of the task, and hands its exception on as it is."""
    heard: list[int] = [0]

    def listen(_error: BaseException) -> None:
        heard[0] += 1

    async def live() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("as it was told to")

    async def main() -> float:
        began = time.perf_counter()
        for _ in range(times):
            try:
                async with trio.open_nursery() as nursery:  # noqa: ASYNC112  # a nursery is what is measured
                    nursery.start_soon(live)
            except* ValueError as group:
                listen(group)
        return time.perf_counter() - began

    took = trio.run(main)
    assert heard[0] == times
    return took


def idle(count: int, look: Callable[[], None]) -> None:
    """Tasks that wait for their first message, each with a channel and a scope of its own."""

    async def live(inbox: trio.MemoryReceiveChannel[Tick]) -> None:
        with trio.CancelScope():
            async for _ in inbox:
                pass

    async def main() -> None:
        outboxes = []
        async with trio.open_nursery() as nursery:
            for turn, number in enumerate((20, count)):
                if turn:
                    look()
                for _ in range(number):
                    outbox, inbox = trio.open_memory_channel[Tick](CAPACITY)
                    outboxes.append(outbox)
                    nursery.start_soon(live, inbox)
                await trio.testing.wait_all_tasks_blocked()
            look()
            nursery.cancel_scope.cancel()

    trio.run(main)
