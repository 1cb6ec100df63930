"""What is done with a server and the load generator, and the figure that is taken."""

from __future__ import annotations

import time

import attrs

from benchmarks.delivery.running import Run, Server, running
from benchmarks.delivery.scenario import Scenario
from benchmarks.measuring import Taken

DELIVERED, P50, P99 = "delivered %", "p50 ms", "p99 ms"
BUSY, LOAD = "server busy %", "load generator busy %"
WALL = "wall ms"
OPENING_S = 20.0
"""For as many idle sessions as there are to be: a machine that others use too may not take all by then."""
FULL = 100
"""From so many on, a measure takes its full time; fewer only show that it runs."""


def _seconds(count: int) -> float:
    return 2.0 if count >= FULL else 0.4


def _measured(run: Run, scenario: Scenario, sessions: int, count: int) -> Taken:
    run.go()
    taken = run.tell("measure", seconds=_seconds(count))
    due = sessions * scenario.per_s * taken["wall"]
    return Taken(
        1e6 * taken["cpu"] / max(1.0, taken["delivered"]),
        {
            DELIVERED: 100 * taken["delivered"] / due,
            P50: 1000 * taken["p50"],
            P99: 1000 * taken["p99"],
            BUSY: 100 * taken["cpu"] / taken["wall"],
            LOAD: 100 * taken["own"],
        },
    )


def tokens(server: Server, scenario: Scenario, count: int) -> Taken:
    """``count`` streams, each to its sessions: processor time for each delivered token, in µs."""
    scenario = attrs.evolve(scenario, streams=count)
    with running(server, scenario) as run:
        run.tell("connect", count=count * scenario.sessions)
        return _measured(run, scenario, count * scenario.sessions, count)


def fan_out(server: Server, scenario: Scenario, count: int) -> Taken:
    """One stream to ``count`` sessions: the same."""
    scenario = attrs.evolve(scenario, streams=1, sessions=count)
    with running(server, scenario) as run:
        run.tell("connect", count=count)
        return _measured(run, scenario, count, count)


def idle(server: Server, scenario: Scenario, count: int) -> Taken:
    """``count`` sessions that wait: resident bytes for each."""
    with running(server, scenario) as run:
        before = run.resident()
        taken = run.tell("connect", count=count, attach=False, at_most_s=OPENING_S)
        count = round(taken["opened"])
        time.sleep(0.5)
        return Taken(
            (run.resident() - before) / count,
            {"sessions": count, "µs to connect each": 1e6 * taken["cpu"] / count},
        )


def storm(server: Server, scenario: Scenario, count: int) -> Taken:
    """``count`` sessions are cut and come back within a second: processor time for each, in µs."""
    scenario = attrs.evolve(scenario, streams=max(1, count // scenario.sessions))
    count = scenario.streams * scenario.sessions
    with running(server, scenario) as run:
        run.tell("connect", count=count)
        run.tell("drop")
        taken = run.tell("connect", count=count, over_s=1.0 if count >= FULL else 0.1)
        facts = {P50: 1000 * taken["p50"], P99: 1000 * taken["p99"], "all back after s": taken["seconds"]}
        return Taken(1e6 * taken["cpu"] / count, facts)


def resume(server: Server, scenario: Scenario, times: int) -> Taken:
    """A session asks for a log that it has nothing of: processor time until it has all, in µs."""
    with running(server, scenario) as run:
        taken = run.tell("resume", expected=scenario.prefill_bytes, times=max(3, times))
        return Taken(1e6 * taken["cpu"], {WALL: 1000 * taken["wall"]})


def frozen(server: Server, scenario: Scenario, count: int) -> Taken:
    """``count`` sessions of one stream that grows at once: resident bytes for each when nobody reads,
    less those when everybody does."""
    scenario = attrs.evolve(scenario, sessions=count)
    if count < 20:
        scenario = attrs.evolve(scenario, burst_bytes=scenario.burst_bytes // 10)
    with running(server, scenario) as run:
        run.tell("connect", count=count)
        before = run.resident()
        run.go()
        run.tell("wait_until_quiet", seconds=1.0)
        reading = run.resident() - before
    with running(server, scenario) as run:
        run.tell("connect", count=count)
        before = run.resident()
        run.go()
        time.sleep(3.0 if count >= 20 else 1.0)
        freezing = run.resident() - before
    return Taken((freezing - reading) / count, {"MB in all, frozen": freezing / 1e6})
