"""trouper: each actor a child of a ``DynamicSupervisor``, with lanes, statistics and dispatch."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio
import trio.testing

from trouper.actors.actor import Actor
from trouper.actors.ask import Request
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.reports import Report, ReportKind
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.dynamic import DynamicSupervisor
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.keyed import KeyedSupervisor

CAPACITY = 1024
BURST = 1000
UNLIMITED = Intensity(1_000_000, 1.0)


@attrs.frozen
class Tick:
    pass


@attrs.frozen
class Double(Request[int]):
    number: int


TICK = Tick()


class Counter(Actor[Tick]):
    """Counts, and says when it has counted as far as it was told to."""

    def __init__(self) -> None:
        self.left = 0
        self.done = trio.Event()

    def expect(self, count: int) -> trio.Event:
        self.left, self.done = count, trio.Event()
        return self.done

    async def receive(self, message: Tick) -> None:
        match message:
            case Tick():
                self.left -= 1
                if not self.left:
                    self.done.set()


class Player(Actor[Tick]):
    """Gives every message back to the other."""

    other: ActorRef[Tick]

    def __init__(self, left: int, done: trio.Event) -> None:
        self.left, self.done = left, done

    async def receive(self, message: Tick) -> None:
        match message:
            case Tick():
                self.left -= 1
                if self.left:
                    self.other.tell(message)
                else:
                    self.done.set()


class Doubler(Actor[Double]):
    async def receive(self, message: Double) -> None:
        match message:
            case Double(number=number):
                self.context.reply(2 * number)


class Idler(Actor[Tick]):
    async def receive(self, message: Tick) -> None:
        pass


class Crasher(Actor[Tick]):
    """Crashes on the message that it sends itself whenever it starts."""

    def __init__(self, starts: list[int], done: trio.Event) -> None:
        self.starts, self.done = starts, done

    async def started(self) -> None:
        if self.starts[0]:
            self.starts[0] -= 1
            self.context.ref.tell(TICK)
        else:
            self.done.set()

    async def receive(self, message: Tick) -> None:
        raise ValueError("as it was told to")


class Listener:
    """Counts the crashes and restarts that it is told of."""

    def __init__(self) -> None:
        self.heard = dict.fromkeys(ReportKind, 0)

    def __call__(self, report: Report) -> None:
        self.heard[report.kind] += 1


@asynccontextmanager
async def supervising(listener: Listener | None = None) -> AsyncIterator[DynamicSupervisor]:
    supervisor = DynamicSupervisor(
        "bench", max_children=100_000, intensity=UNLIMITED, reporter=listener or Listener()
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        yield supervisor
        supervisor.stop()


def _same(player: Player) -> Player:
    return player


def tell_in_bursts(times: int) -> float:
    async def main() -> float:
        async with supervising() as supervisor:
            counter = Counter()
            spec, ref = actor_child("counter", lambda: counter, mailbox=Mailbox(CAPACITY))
            await supervisor.start_child(spec)
            began = time.perf_counter()
            for first in range(0, times, BURST):
                burst = min(BURST, times - first)
                done = counter.expect(burst)
                for _ in range(burst):
                    ref.tell(TICK)
                await done.wait()
            return time.perf_counter() - began

    return trio.run(main)


def tell_ping_pong(times: int) -> float:
    async def main() -> float:
        async with supervising() as supervisor:
            done = trio.Event()
            ping, pong = Player(times // 2 + 1, done), Player(times, done)
            for name, player, other in ("ping", ping, pong), ("pong", pong, ping):
                spec, other.other = actor_child(name, partial(_same, player), mailbox=Mailbox(CAPACITY))
                await supervisor.start_child(spec)
            began = time.perf_counter()
            ping.other.tell(TICK)
            await done.wait()
            return time.perf_counter() - began

    return trio.run(main)


def ask(times: int) -> float:
    async def main() -> float:
        async with supervising() as supervisor:
            spec, ref = actor_child("doubler", Doubler, mailbox=Mailbox(CAPACITY))
            await supervisor.start_child(spec)
            began = time.perf_counter()
            for _ in range(times):
                await ref.ask(Double(1), timeout=5)
            return time.perf_counter() - began

    return trio.run(main)


def spawn_and_stop(times: int) -> float:
    async def main() -> float:
        async with supervising() as supervisor:
            began = time.perf_counter()
            for _ in range(times):
                spec, _ref = actor_child("one", Idler)
                await supervisor.start_child(spec)
                await supervisor.terminate_child("one")
            return time.perf_counter() - began

    return trio.run(main)


def crash_and_restart(times: int) -> float:
    async def main() -> float:
        listener = Listener()
        async with supervising(listener) as supervisor:
            starts, done = [times], trio.Event()
            spec, _ref = actor_child("crasher", lambda: Crasher(starts, done))
            began = time.perf_counter()
            await supervisor.start_child(spec)
            await done.wait()
            took = time.perf_counter() - began
        assert listener.heard[ReportKind.CRASH] == listener.heard[ReportKind.RESTART] == times
        return took

    return trio.run(main)


def idle(count: int, look: Callable[[], None]) -> None:
    """Actors under a dynamic supervisor, each of which waits for its first message."""

    async def main() -> None:
        async with supervising() as supervisor:
            await _start(supervisor, "warm", 20)
            look()
            await _start(supervisor, "actor", count)
            look()

    trio.run(main)


def idle_after_one(count: int, look: Callable[[], None]) -> None:
    """The same, each after its first message."""

    async def main() -> None:
        async with supervising() as supervisor:
            await _start(supervisor, "warm", 20, tells=1)
            look()
            await _start(supervisor, "actor", count, tells=1)
            look()

    trio.run(main)


async def _start(supervisor: DynamicSupervisor, name: str, count: int, tells: int = 0) -> None:
    for number in range(count):
        spec, ref = actor_child(f"{name}{number}", Idler)
        await supervisor.start_child(spec)
        for _ in range(tells):
            ref.tell(TICK)
    await trio.testing.wait_all_tasks_blocked()


def idle_keyed(count: int, look: Callable[[], None]) -> None:
    """The same under a keyed supervisor, each after its first message."""

    async def main() -> None:
        supervisor = KeyedSupervisor("bench", lambda key: Idler(), max_active=100_000, idle_s=3600)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            for name, number in ("warm", 20), ("actor", count):
                if name == "actor":
                    look()
                for index in range(number):
                    supervisor.ref(f"{name}{index}").tell(TICK)
                await trio.testing.wait_all_tasks_blocked()
            look()
            supervisor.stop()

    trio.run(main)
