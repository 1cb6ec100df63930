"""What is done with a server and the load generator, and the figure that is taken."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from benchmarks.delivery.running import Run, Server, running
from benchmarks.delivery.scenario import FILLER, Scenario
from benchmarks.measuring import Taken

DELIVERED, P50, P99 = "delivered %", "p50 ms", "p99 ms"
"""Of the tokens that were due in the measured seconds."""
THROUGHPUT, PER_MESSAGE = "throughput %", "tokens a message"
"""Of the tokens that came in the measured seconds, late ones too: in percent of as many as were due."""
ALIKE = (DELIVERED, THROUGHPUT, PER_MESSAGE)
BUSY, LOAD = "server busy %", "load generator busy %"
WALL, KIB = "wall ms", "KiB a message"
OPENING_S = 20.0
"""For as many idle sessions as there are to be: a machine that others use too may not take all by then."""
FULL = 100
"""From so many on, a measure takes its full time; fewer only show that it runs."""


def _quiet(taken: Mapping[str, float]) -> float:
    """The part of the processors that others left to the server and the load generator."""
    return 1 - taken["others"]


def _measured(run: Run, count: int) -> Taken:
    warm_up_s, seconds = (1.5, 2.0) if count >= FULL else (0.2, 0.4)
    run.go()
    taken = run.tell("measure", warm_up_s=warm_up_s, seconds=seconds)
    return Taken(
        1e6 * taken["cpu"] / max(1.0, taken["delivered"]),
        {
            DELIVERED: 100 * taken["came"] / taken["due"],
            P50: 1000 * taken["p50"],
            P99: 1000 * taken["p99"],
            THROUGHPUT: 100 * taken["delivered"] / taken["due"],
            PER_MESSAGE: taken["delivered"] / max(1.0, taken["messages"]),
            BUSY: 100 * taken["cpu"] / taken["wall"],
            LOAD: 100 * taken["own"],
        },
        quiet=_quiet(taken),
    )


def tokens(server: Server, scenario: Scenario, count: int) -> Taken:
    """``count`` streams, each to its sessions: processor time for each delivered token, in µs."""
    scenario = attrs.evolve(scenario, streams=count)
    with running(server, scenario) as run:
        run.tell("connect", count=count * scenario.sessions)
        return _measured(run, count)


def fan_out(server: Server, scenario: Scenario, count: int) -> Taken:
    """One stream to ``count`` sessions: the same."""
    scenario = attrs.evolve(scenario, streams=1, sessions=count)
    with running(server, scenario) as run:
        run.tell("connect", count=count)
        return _measured(run, count)


def idle(server: Server, scenario: Scenario, count: int) -> Taken:
    """``count`` sessions that wait: resident bytes for each."""
    with running(server, scenario) as run:
        before = run.resident()
        taken = run.tell("connect", count=count, attach=False, at_most_s=OPENING_S)
        run.tell("settle")
        opened = round(taken["opened"])
        return Taken(
            (run.resident() - before) / opened,
            {"sessions": opened, "µs to connect each": 1e6 * taken["cpu"] / opened},
        )


def storm(server: Server, scenario: Scenario, count: int) -> Taken:
    """``count`` sessions are cut, and when the server has seen to that they come back within a second:
    processor time until each has the log again, in µs for each."""
    scenario = attrs.evolve(scenario, streams=max(1, count // scenario.sessions))
    count = scenario.streams * scenario.sessions
    with running(server, scenario) as run:
        run.tell("connect", count=count)
        run.tell("drop")
        run.tell("settle")
        taken = run.tell("connect", count=count, over_s=1.0 if count >= FULL else 0.1)
        facts = {P50: 1000 * taken["p50"], P99: 1000 * taken["p99"], "all back after s": taken["wall"]}
        return Taken(1e6 * taken["cpu"] / count, facts, quiet=_quiet(taken))


def resume(server: Server, scenario: Scenario, times: int) -> Taken:
    """A session asks for a log that it has nothing of: processor time until it has all, in µs."""
    log_bytes = -(-scenario.prefill_bytes // len(FILLER)) * len(FILLER)
    with running(server, scenario) as run:
        taken = run.tell("resume", expected=log_bytes, times=max(3, times))
        size = log_bytes / 1024 / taken["messages"]
        return Taken(1e6 * taken["cpu"], {WALL: 1000 * taken["wall"], KIB: size}, quiet=_quiet(taken))


def frozen(server: Server, scenario: Scenario, count: int) -> Taken:
    """``count`` sessions of a stream that grows at once, none of which reads: resident bytes for each,
    less those of as many that have nothing to read, while the same stream grows."""
    scenario = attrs.evolve(scenario, streams=2, sessions=count)
    if count < 20:
        scenario = attrs.evolve(scenario, burst_bytes=scenario.burst_bytes // 10)
    freezing, idling = (_while_one_grows(server, scenario, first=first) for first in (0, count))
    return Taken((freezing - idling) / count, {"sessions": count, "MB in all": (freezing - idling) / 1e6})


def _while_one_grows(server: Server, scenario: Scenario, *, first: int) -> int:
    """Resident bytes that come with the sessions from ``first`` on and with what the first stream writes."""
    with running(server, scenario) as run:
        before = run.resident()
        run.tell("connect", count=scenario.sessions, first=first)
        run.go()
        run.tell("settle")
        return run.resident() - before
