"""Pykka: the actor library that Python programs have most; each actor is a thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pykka

from benchmarks.actors.ours import BURST, TICK

logging.getLogger("pykka").setLevel(logging.CRITICAL + 1)  # a crash is a line in its log, which is off here


class Counter(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.done = threading.Event()

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, int):
            self.left = message
            return None
        self.left -= 1
        if not self.left:
            self.done.set()
        return None


class Player(pykka.ThreadingActor):
    other: pykka.ActorRef[Any]

    def __init__(self, left: int, done: threading.Event) -> None:
        super().__init__()
        self.left, self.done = left, done

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, pykka.ActorRef):
            self.other = message
            return
        self.left -= 1
        if self.left:
            self.other.tell(message)
        else:
            self.done.set()


class Doubler(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return 2 * message


class Idler(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        pass


class Crasher(pykka.ThreadingActor):
    """Pykka restarts nothing: the hook of the crash makes the next one."""

    def __init__(self, starts: list[int], heard: list[int], done: threading.Event) -> None:
        super().__init__()
        self.starts, self.heard, self.done = starts, heard, done

    def on_start(self) -> None:
        if self.starts[0]:
            self.starts[0] -= 1
            self.actor_ref.tell(TICK)
        else:
            self.done.set()

    def on_receive(self, message: Any) -> Any:
        raise ValueError("as it was told to")

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self.heard[0] += 1
        Crasher.start(self.starts, self.heard, self.done)


def tell_in_bursts(times: int) -> float:
    ref = Counter.start()
    actor = ref._actor_weakref()
    assert isinstance(actor, Counter)
    began = time.perf_counter()
    for first in range(0, times, BURST):
        burst = min(BURST, times - first)
        actor.done.clear()
        ref.tell(burst)
        for _ in range(burst):
            ref.tell(TICK)
        actor.done.wait()
    took = time.perf_counter() - began
    ref.stop()
    return took


def tell_ping_pong(times: int) -> float:
    done = threading.Event()
    ping = Player.start(times // 2 + 1, done)
    pong = Player.start(times, done)
    ping.tell(pong)
    pong.tell(ping)
    began = time.perf_counter()
    pong.tell(TICK)
    done.wait()
    took = time.perf_counter() - began
    pykka.ActorRegistry.stop_all()
    return took


def ask(times: int) -> float:
    ref = Doubler.start()
    began = time.perf_counter()
    for _ in range(times):
        ref.ask(1, timeout=5)
    took = time.perf_counter() - began
    ref.stop()
    return took


def spawn_and_stop(times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        Idler.start().stop()
    return time.perf_counter() - began


def crash_and_restart(times: int) -> float:
    starts, heard, done = [times], [0], threading.Event()
    began = time.perf_counter()
    Crasher.start(starts, heard, done)
    done.wait()
    took = time.perf_counter() - began
    pykka.ActorRegistry.stop_all()
    assert heard[0] == times
    return took


def idle(count: int, look: Callable[[], None]) -> None:
    """Threads that wait for their first message."""
    for turn, number in enumerate((20, count)):
        if turn:
            look()
        for _ in range(number):
            Idler.start().ask(TICK)
    look()
    pykka.ActorRegistry.stop_all()
