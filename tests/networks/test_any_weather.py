"""Whatever happens to networks and processes, each copy is a prefix and ends equal, and nothing is left."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from tests.networks.devices import Device, tale_of
from tests.networks.service import Service
from tests.networks.weather import Weather
from trouper.actors.reports import ReportKind
from trouper.simulation import Report, World, simulate

WEATHER_S = 12.0
PATIENCE_S = 600.0
"""Virtual: a client that has come to back-off 30 s and lost a connection to a black hole needs some."""


async def storm(world: World) -> Counter[str]:
    """Two devices of ada, one of bob, in bad weather."""
    service = Service(world, [])
    service.jobs.append(tale_of(service))
    devices = [
        Device(service, "ada", "phone", jobs=3, expected=4),
        Device(service, "ada", "laptop", jobs=1, expected=4),
        Device(service, "bob", "tablet", jobs=2, expected=2),
    ]
    weather = Weather(service, devices)
    async with trio.open_nursery() as server:
        await server.start(service.run)
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                for device in devices:
                    nursery.start_soon(device.run)
                nursery.start_soon(weather.blow, WEATHER_S)
        for device in devices:
            device.check()
        await service.check_empty()
        for user, jobs in (("ada", 4), ("bob", 2)):
            inbox = await service.runtime.inbox(user)
            assert len({row.job for row in inbox}) == len(inbox) == jobs
        server.cancel_scope.cancel()
    crashes = [report for report in service.reports if report.kind is ReportKind.CRASH]
    assert [report for report in crashes if "on purpose" not in report.reason] == []
    return weather.happened


def play(seed: object) -> Report:
    report = simulate(storm, seed=seed)
    assert report.left == ()
    return report


HOLDS = pytest.mark.clause("J2", "N1", "N2", "N3", "O2", "O3", "O6", "S5")
KINDS = {"cut", "swallow", "line", "kill", "interrupt", "visible", "coalesce"}


@HOLDS
@pytest.mark.slow
def test_whatever_networks_and_processes_do_each_copy_is_a_prefix_and_ends_equal() -> None:
    happened: Counter[str] = Counter()
    for seed in range(4):
        happened += play(seed).result
    assert set(happened) == KINDS


@HOLDS
@pytest.mark.torture
def test_in_hundreds_of_storms_each_copy_is_a_prefix_and_ends_equal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    happened: Counter[str] = Counter()
    for seed in range(300):
        happened += play(f"long {seed}").result
    with capsys.disabled():
        print(f"\n{dict(happened)}")
    assert all(happened[kind] >= 100 for kind in KINDS)


@pytest.mark.slow
def test_the_same_seed_has_the_same_storm_step_by_step() -> None:
    one, other = play("twice"), play("twice")
    assert one.result == other.result
    assert one.trace_hash == other.trace_hash
    assert play("another").trace_hash != one.trace_hash
