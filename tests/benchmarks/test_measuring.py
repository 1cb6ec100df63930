"""The arithmetic of the benchmarks, on contenders whose speed is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.measuring import OURS, Contender, Measure, Result, Series, Suite, Taken, Target, run_measure
from benchmarks.report import as_json, table


def steady(name: str, seconds_each: float) -> Contender:
    return Contender(name, lambda times: times * seconds_each)


def measured(
    *contenders: Contender,
    targets: tuple[Target, ...] = (),
    of_costs: bool = False,
    alike: tuple[str, ...] = (),
) -> Result:
    measure = Measure("thing", "things/s", 100, contenders, targets, of_costs=of_costs, alike=alike)
    return run_measure(measure, rounds=3, scale=1.0)


def test_a_rate_is_judged_by_its_ratio_to_the_peer() -> None:
    peer = Target("at least 5 × peer", 5, versus="peer")
    alone = Target("at least 2,000 a second", 2000)
    absent = Target("at least 5 × one that is not installed", 5, versus="absent")
    result = measured(steady(OURS, 0.001), steady("peer", 0.01), targets=(peer, alone, absent))
    assert round(result.ratio("peer"), 6) == 10
    assert [(verdict.target, verdict.met) for verdict in result.verdicts()] == [(peer, True), (alone, False)]


def test_a_rate_that_others_disturbed_is_told_by_processor_time_too() -> None:
    series = {
        OURS: Series(OURS, values=[100.0, 200.0], busy=[0.25, 0.5], rounds=[{}, {}]),
        "peer": Series("peer", values=[100.0, 100.0], busy=[1.0, 1.0], rounds=[{}, {}]),
    }
    result = Result(Measure("thing", "things/s", 100, ()), series)
    assert (result.ratio("peer"), result.ratio_by_processor_time("peer")) == (1.5, 4)
    row = next(line for line in table([result]).splitlines() if "peer" in line)
    assert row.split()[-5:] == ["1.50", "×", "100", "4.00", "×"]
    assert written(result)["contenders"][1]["ours_divided_by_it_by_processor_time"] == 4


def cost(
    name: str, value: float, facts: Mapping[str, float] | None = None, quiet: float | None = None
) -> Contender:
    return Contender(name, lambda _: Taken(value, facts or {}, quiet))


def written(result: Result) -> dict[str, Any]:
    (measure,) = as_json(Suite("some", [result.measure]), [result], machine={}, quick=False)["measures"]
    assert isinstance(measure, dict)
    return measure


def test_a_ratio_of_costs_has_the_direction_that_the_target_names() -> None:
    targets = (
        Target("at most 5,000 bytes", at_most=5000),
        Target("at most 3 × peer", at_most=3, versus="peer"),
        Target("at most 1 × peer", at_most=1, versus="peer"),
    )
    result = measured(cost(OURS, 2000.0), cost("peer", 1000.0), targets=targets, of_costs=True)
    assert [(verdict.value, verdict.met) for verdict in result.verdicts()] == [
        (2000, True),
        (2, True),
        (2, False),
    ]
    assert "at most 1 × peer: 2 ×: MISSED" in table([result])
    assert [target["value"] for target in written(result)["targets"]] == [2000, 2, 2]
    assert [row["ours_divided_by_it"] for row in written(result)["contenders"]] == [None, 2]


def test_a_fact_is_judged_against_the_same_fact_of_the_peer() -> None:
    target = Target("at most 3 × peer by the clock", at_most=3, versus="peer", fact="wall ms")
    ours, peer = cost(OURS, 1.0, facts={"wall ms": 8.0}), cost("peer", 9.0, facts={"wall ms": 2.0})
    (verdict,) = measured(ours, peer, targets=(target,), of_costs=True).verdicts()
    assert (verdict.value, verdict.met) == (4, False)


def test_a_ratio_between_two_who_did_not_do_the_same_carries_a_warning() -> None:
    target = Target("at most 1 × peer", at_most=1, versus="peer")
    ours, peer = cost(OURS, 1.0, facts={"done %": 36.0}), cost("peer", 2.0, facts={"done %": 98.0})
    like_ours = cost("like ours", 2.0, facts={"done %": 35.0})
    result = measured(ours, peer, like_ours, targets=(target,), of_costs=True, alike=("done %",))
    assert "beware of the ratio: done % 36 against 98" in table([result])
    assert "at most 1 × peer: 0.50 ×: met, but beware of the ratio (above)" in table([result])
    assert [row["warning"] for row in written(result)["contenders"]] == [None, "done % 36 against 98", None]
    assert written(result)["targets"][0]["warning"] == "done % 36 against 98"


def test_costs_that_were_taken_beside_others_are_called_noisy() -> None:
    result = measured(cost(OURS, 1.0, quiet=0.95), cost("peer", 1.0, quiet=0.6), of_costs=True)
    assert "noisy: others had a processor meanwhile, for 40% (peer)" in table([result])
    assert [row["share_of_processor"] for row in written(result)["contenders"]] == [[0.95] * 3, [0.6] * 3]
    assert "noisy" not in table([measured(cost(OURS, 1.0, quiet=0.95), of_costs=True)])


def test_costs_whose_contender_cannot_tell_are_judged_by_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.measuring.Others.share", lambda _: 0.25)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    result = measured(Contender(OURS, lambda _: 1.0), of_costs=True)
    assert result.series[OURS].busy == [0.75] * 3
    assert f"noisy: others had a processor meanwhile, for 25% ({OURS})" in table([result])
    monkeypatch.setattr("benchmarks.measuring.Others.share", lambda _: None)
    assert measured(Contender(OURS, lambda _: 1.0), of_costs=True).series[OURS].busy == []


def test_contenders_take_turns_and_each_begins_a_round_in_turn() -> None:
    order: list[str] = []

    def noting(name: str) -> Contender:
        def take(_times: int) -> float:
            order.append(name)
            return 1.0

        return Contender(name, take)

    measured(noting(OURS), noting("b"), noting("c"))
    assert "".join(name[0] for name in order) == "tbc" + "bct" + "ctb" + "tbc"  # the first warms up


def test_who_cannot_tell_a_number_is_left_out_of_the_table() -> None:
    result = measured(steady(OURS, 0.001), Contender("mute", lambda _: None))
    assert "mute" not in table([result])


def test_who_waits_for_a_disk_is_not_called_noisy_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.measuring.Others.share", lambda _: 0.02)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    measure = Measure("thing", "things/s", 100, [steady(OURS, 0.001)], waits=True)
    result = run_measure(measure, rounds=3, scale=1.0)
    assert result.series[OURS].busy == [0.98] * 3
    assert "noisy" not in table([result])
    assert "by CPU time" not in table([result]), "waiting is no lack of a processor"
    assert written(result)["contenders"][0]["by_processor_time"] is None


def test_bytes_are_the_same_whoever_else_is_at_work() -> None:
    measure = Measure("thing", "bytes each", 100, [cost(OURS, 5.0, quiet=0.1)], of_costs=True)
    assert "noisy" not in table([run_measure(measure, rounds=3, scale=1.0)])
