"""The arithmetic of the benchmarks, on contenders whose speed is known."""

from __future__ import annotations

from benchmarks.measuring import OURS, Contender, Measure, Result, Target, run_measure
from benchmarks.report import table


def steady(name: str, seconds_each: float) -> Contender:
    return Contender(name, lambda times: times * seconds_each)


def measured(*contenders: Contender, targets: tuple[Target, ...] = (), of_costs: bool = False) -> Result:
    measure = Measure("thing", "things/s", 100, contenders, targets, of_costs=of_costs)
    return run_measure(measure, rounds=3, scale=1.0)


def test_a_rate_is_judged_by_its_ratio_to_the_peer() -> None:
    peer = Target("at least 5 × peer", 5, versus="peer")
    alone = Target("at least 2,000 a second", 2000)
    absent = Target("at least 5 × one that is not installed", 5, versus="absent")
    result = measured(steady(OURS, 0.001), steady("peer", 0.01), targets=(peer, alone, absent))
    assert round(result.ratio("peer"), 6) == 10
    assert [(verdict.target, verdict.met) for verdict in result.verdicts()] == [(peer, True), (alone, False)]


def test_of_costs_the_fewer_are_the_better() -> None:
    ours, peer = Contender(OURS, lambda _: 2000.0), Contender("peer", lambda _: 1000.0)
    target = Target("at most 5,000 bytes", at_most=5000)
    result = measured(ours, peer, targets=(target,), of_costs=True)
    assert result.ratio("peer") == 0.5
    assert result.verdicts()[0].met


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
