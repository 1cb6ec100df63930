"""What came to the sessions of the delivery benchmark, and how late."""

from __future__ import annotations

from benchmarks.delivery.arrivals import Arrivals, Judged
from benchmarks.delivery.scenario import token

BEGAN_US, SECONDS, PER_S = 40_000_000, 2.0, 5.0
"""A session is due ten tokens from the fortieth second on, one each 200 ms; read until 500 ms later."""
DUE = [39.9 + 0.2 * number for number in range(12)]


def judge(arrivals: Arrivals, *sessions: int) -> Judged:
    return arrivals.judge(sessions, PER_S, BEGAN_US, SECONDS, BEGAN_US + 2_500_000)


def deliver(arrivals: Arrivals, session: int, dues: list[float], *, late: float) -> None:
    for due in dues:
        arrivals.add(session, round(1e6 * (due + late)), b'{"text":"' + token(due).encode() + b'"}')


def arrivals_of(*lates: float) -> Arrivals:
    arrivals = Arrivals(b'"text":')
    for session, late in enumerate(lates):
        deliver(arrivals, session, DUE, late=late)
    return arrivals


def test_tokens_are_counted_by_when_they_were_due() -> None:
    judged = judge(arrivals_of(0.03), 0)
    assert (judged.due, judged.came, judged.p50, judged.p99) == (10, 10, 0.03, 0.03)


def test_the_cost_is_shared_by_what_came_in_the_measured_seconds() -> None:
    judged = judge(arrivals_of(0.25), 0)
    assert (judged.came, judged.delivered, judged.messages) == (10, 10, 10)
    behind = judge(arrivals_of(1.75), 0)
    assert (behind.came, behind.delivered, behind.messages) == (10, 2, 2)


def test_a_token_that_did_not_come_counts_with_the_age_it_had_at_the_end() -> None:
    arrivals = Arrivals(b'"text":')
    deliver(arrivals, 0, DUE[:6], late=0.03)  # of five that were due in the measured seconds, none after
    judged = judge(arrivals, 0, 1)  # and to the second session nothing came at all
    assert (judged.due, judged.came) == (20, 5)
    assert (judged.p50, judged.p99) == (0.9, 2.3)


def test_a_token_that_is_cut_between_two_reads_is_counted_once() -> None:
    text = b"".join(token(due).encode() for due in DUE)
    for cut in range(len(text) + 1):
        arrivals = Arrivals(b'"text":')
        arrivals.add(0, BEGAN_US + 10, text[:cut])
        arrivals.add(0, BEGAN_US + 20, text[cut:])
        judged = judge(arrivals, 0)
        assert (judged.came, judged.delivered) == (10, 12), cut


def test_a_token_of_a_machine_that_has_run_for_a_year_is_found() -> None:
    year_s = 365 * 86400.0
    arrivals = Arrivals(b'"text":')
    arrivals.add(0, round(1e6 * year_s) + 5, token(year_s).encode())
    assert arrivals.judge([0], 1.0, round(1e6 * year_s), 1.0, round(1e6 * year_s) + 1_500_000).came == 1
