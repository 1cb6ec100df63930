"""The measures, who takes part, and what ours is to reach.

The value is nearly always the server's processor time, which holds on a machine that others use too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs

from benchmarks.delivery import figures, node_peers, profile
from benchmarks.delivery.arrivals import GRACE_S
from benchmarks.delivery.running import Server
from benchmarks.delivery.scenario import FILLER, Scenario
from benchmarks.measuring import OURS, Contender, Measure, Suite, Taken, Target

WINDOW_S, LONGEST_WINDOW_S = 0.05, 0.1
PLAIN, WEBSOCKETS, NODE = "plain trio-websocket", "websockets", "node ws"

Take = Callable[[Server, Scenario, int], Taken]

SERVERS = (
    Server.python(OURS, "ours", "trouper"),
    Server.python("trouper on SQLite", "ours", "trouper", sqlite=True),
    Server.node("ws"),
    Server.node("socket.io"),
    Server.python(WEBSOCKETS, "plain_asyncio", needs="websockets"),
    Server.python(PLAIN, "plain_trio"),
)
MEMORY = tuple(server for server in SERVERS if not server.sqlite)
WOKEN = attrs.evolve(SERVERS[0], name="trouper, by a woken task", options=("--woken",))
JOINED = f"the first after silence at once, then once per {1000 * WINDOW_S:g} ms, at everybody"
AGES = (
    f"a token's age is from when it was due, and one that is missing {GRACE_S:g} s later counts as that old"
)


def _measure(
    name: str,
    unit: str,
    times: int,
    take: Take,
    scenario: Scenario,
    targets: Sequence[Target],
    note: str,
    *,
    servers: Sequence[Server] = MEMORY,
    rounds: int = 2,
    peers_share: float = 1.0,
) -> Measure:
    contenders = [
        Contender(
            server.name,
            partial(take, server, scenario),
            share=1.0 if server.kind == "trouper" else peers_share,
            available=server.available,
        )
        for server in servers
    ]
    alike = figures.ALIKE if take in (figures.tokens, figures.fan_out) else ()
    return Measure(
        name, unit, times, contenders, targets, note, of_costs=True, rounds_at_most=rounds, alike=alike
    )


def _streams(count: int, source: str) -> Measure:
    how = {"each": "a source each", "one": "one source"}[source]
    node = 1.0 if source == "one" else 1.6
    targets = [
        Target("at most 0.2 × plain trio-websocket", at_most=0.2, versus=PLAIN),
        Target("at most 0.6 × websockets", at_most=0.6, versus=WEBSOCKETS),
        Target(f"at most {node:g} × node ws", at_most=node, versus=NODE),
    ]
    if (count, source) == (1000, "one"):
        targets += [
            Target("all delivered, on one core (at least 99.5 %)", at_least=99.5, fact=figures.DELIVERED),
            Target("99 % of all tokens within 200 ms of when they were due", at_most=200, fact=figures.P99),
        ]
    full = count >= 1000  # of a core, of which users have what is the default for it
    longest_s = LONGEST_WINDOW_S if full else WINDOW_S
    stretched = f" (ours up to {1000 * longest_s:g} ms when flushing takes a quarter of that)" if full else ""
    return _measure(
        f"{count:,} streams, {how}",
        "µs of the server for each delivered token",
        count,
        figures.tokens,
        Scenario(sessions=2, source=source, window_s=WINDOW_S, longest_window_s=longest_s),
        targets,
        f"50 tokens/s to 2 sessions each; {JOINED}{stretched}; {AGES}",
        servers=(*SERVERS, WOKEN) if (count, source) == (200, "one") else SERVERS,
        rounds=1,  # of six or seven servers, or the whole suite would take more than ten minutes
    )


def _fan_out(count: int) -> Measure:
    return _measure(
        f"fan-out to {count:,}",
        "µs of the server for each delivered token",
        count,
        figures.fan_out,
        Scenario(source="one", window_s=WINDOW_S),
        [Target("at most 1 × node ws", at_most=1, versus=NODE)] if count == 1000 else [],
        f"one stream of 50 tokens/s; {JOINED}; {AGES}",
        rounds=1 if count == 1000 else 2,
    )


def _versions() -> Mapping[str, str]:
    found = {f"node {name}": node_peers.version(name) for name in node_peers.PACKAGES}
    found["node"] = node_peers.node_version()
    return {name: version for name, version in found.items() if version is not None}


SUITE = Suite(
    "delivery",
    [
        *(_streams(count, source) for count in (200, 1000) for source in ("each", "one")),
        _fan_out(100),
        _fan_out(1000),
        _measure(
            "idle session",
            "bytes of the server for each",
            10_000,
            figures.idle,
            Scenario(sessions=3, attach=False),
            [Target("at most 30 kB", at_most=30_000)],
            "resident memory; 3 sessions of a user, which wait",
            rounds=1,
        ),
        _measure(
            "reconnect storm",
            "µs of the server for each session",
            1000,
            figures.storm,
            Scenario(sessions=2, prefill_bytes=len(FILLER)),
            [],
            "all sessions are cut and forgotten, and come back within a second; each is back when it has the"
            " 4 KiB in its stream's log. Ours has its user's feed by then, the others have none",
            rounds=1,
        ),
        _measure(
            "resume of 1 MB",
            "µs of the server",
            20,
            figures.resume,
            Scenario(prefill_bytes=1_000_000, attach=False),
            [
                Target("from a live log at most 3 × plain sends", at_most=3, versus=PLAIN),
                Target("the same by the clock", at_most=3, versus=PLAIN, fact=figures.WALL),
            ],
            "one session, which asks for the log of a running job, in memory; written in pieces of 4 KiB, of"
            " which the others send 16 at a time; ours waits for acks, the others do not",
        ),
        _measure(
            "resume of 1 MB from SQLite",
            "µs of the server",
            20,
            figures.resume,
            Scenario(prefill_bytes=1_000_000, prefill_ended=True, attach=False),
            [Target("at most 15 ms from the wish to the last byte", at_most=15, fact=figures.WALL)],
            "of a job that has ended; its file was read before",
            servers=(attrs.evolve(SERVERS[1], name=OURS),),
        ),
        _measure(
            "frozen session",
            "bytes of the server for each, more than for one with nothing to read",
            200,
            figures.frozen,
            Scenario(burst_bytes=10_000_000),
            [],
            "10 MB of its stream outstanding; resident memory, without what lies in the kernel's buffers",
            rounds=1,
            peers_share=0.1,
        ),
    ],
    peers=("trio", "trio-websocket", "wsproto", "websockets", "orjson"),
    prepare=node_peers.install,
    other_versions=_versions,
    profile=profile.profile,
)
