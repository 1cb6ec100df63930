"""The measures, who takes part, and what ours is to reach."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from types import ModuleType

from benchmarks.actors import asyncio_queue, memory_channel, ours
from benchmarks.footprint import taker
from benchmarks.measuring import OURS, Contender, Measure, Suite, Target

CHANNEL = "memory channel"
CHANNEL_NOWAIT = "memory channel, send_nowait"
QUEUE = "asyncio.Queue"
PYKKA = "Pykka"

pykka: ModuleType | None = None
if find_spec("pykka") is not None:  # the extra "bench"
    from benchmarks.actors import pykka_threads as pykka


def _contenders(function: str, *others: Contender, pykka_share: float = 1.0) -> Sequence[Contender]:
    """Ours and the peers, in each of which what is measured has the same name."""
    found = [Contender(OURS, getattr(ours, function)), *others]
    found.append(Contender(QUEUE, getattr(asyncio_queue, function)))
    if pykka is not None:
        found.append(Contender(PYKKA, getattr(pykka, function), pykka_share))
    return found


def _channel(function: str) -> Contender:
    return Contender(CHANNEL, getattr(memory_channel, function))


def _idle(look: str, *targets: Target) -> Measure:
    """Bytes for each idle actor."""
    places = {
        OURS: ("benchmarks.actors.ours:idle", 1.0),
        "trouper, after a message": ("benchmarks.actors.ours:idle_after_one", 1.0),
        "trouper, keyed": ("benchmarks.actors.ours:idle_keyed", 1.0),
        CHANNEL: ("benchmarks.actors.memory_channel:idle", 1.0),
        QUEUE: ("benchmarks.actors.asyncio_queue:idle", 1.0),
    }
    if pykka is not None:
        places[PYKKA] = ("benchmarks.actors.pykka_threads:idle", 0.2)
    what = {"traced": "Python objects, by tracemalloc", "resident": "resident memory of the process"}[look]
    contenders = [Contender(name, taker(place, look), share) for name, (place, share) in places.items()]
    return Measure(f"idle actor, {look}", "bytes each", 2000, contenders, targets, what, of_costs=True)


SUITE = Suite(
    "actors",
    [
        Measure(
            "tell in bursts",
            "messages/s",
            100_000,
            _contenders(
                "tell_in_bursts",
                Contender(CHANNEL, memory_channel.send_in_bursts, 0.2),
                Contender(CHANNEL_NOWAIT, memory_channel.tell_in_bursts, 0.2),
                pykka_share=0.2,
            ),
            [
                Target("at least 10 × a memory channel", 10, versus=CHANNEL),
                Target("at least 10 × its send_nowait", 10, versus=CHANNEL_NOWAIT),
                Target("at least as fast as asyncio.Queue", 1, versus=QUEUE),
            ],
            "1,000 at a time, capacity 1,024; Pykka's has no bound",
        ),
        Measure(
            "tell in ping-pong",
            "messages/s",
            20_000,
            _contenders(
                "tell_ping_pong",
                Contender(CHANNEL, memory_channel.send_ping_pong),
                Contender(CHANNEL_NOWAIT, memory_channel.tell_ping_pong),
                pykka_share=0.2,
            ),
            [
                Target("at least as fast as a memory channel", 1, versus=CHANNEL),
                Target("at least as fast as its send_nowait", 1, versus=CHANNEL_NOWAIT),
            ],
            "a task switch for each message",
        ),
        Measure(
            "ask",
            "asks/s",
            5_000,
            _contenders("ask", _channel("ask"), pykka_share=0.5),
            [
                Target("at least 1.8 × an ask over memory channels", 1.8, versus=CHANNEL),
                Target("at least 2.5 ×, since one task sees to all deadlines", 2.5, versus=CHANNEL),
            ],
            "with a deadline of 5 s, one after the other",
        ),
        Measure(
            "spawn and stop",
            "actors/s",
            2_000,
            _contenders("spawn_and_stop", _channel("spawn_and_stop"), pykka_share=0.25),
            [Target("at least 5 × Pykka", 5, versus=PYKKA)],
            "ours under supervision, the others without",
        ),
        Measure(
            "crash and restart",
            "restarts/s",
            4_000,
            _contenders("crash_and_restart", _channel("crash_and_restart"), pykka_share=0.25),
            [Target("at least 15,000 a second", 15_000)],
            "ours with a report of each, handed to a listener, its text made when it is read; the others"
            " hand on the exception",
        ),
        _idle("traced", Target("at most 5,000 bytes", at_most=5_000)),
        _idle("resident"),
    ],
    peers=("trio", "attrs", "outcome", "Pykka"),
)
