"""Plans are data: JSON in and out, refused where they are wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trouper.simulation import BadPlan, Cancel, CancelAll, Crash, FailAt, Fault, Hang, dump_plan, load_plan

PLAN: tuple[Fault, ...] = (
    Crash("top/a#1", 3),
    Cancel("top/b"),
    CancelAll("scenario", 2),
    Hang("top/a#2", 1, 7.5),
    FailAt("finish.committed", 4),
)


def test_a_plan_is_the_same_after_json() -> None:
    assert load_plan(dump_plan(PLAN)) == PLAN
    assert load_plan(dump_plan([])) == ()
    assert dump_plan(PLAN[:1]) == '[{"site":"top/a#1","nth":3,"fault":"Crash"}]'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("crash", "a plan is a JSON list of faults, not 'crash'"),
        ("{}", "a plan is a JSON list of faults"),
        ("[1]", 'a fault is an object whose "fault" is one of Crash, Cancel, CancelAll, Hang, FailAt, not 1'),
        ('[{"fault":"Boom"}]', "is one of Crash"),
        ('[{"fault":["Crash"]}]', "is one of Crash"),
        ('[{"fault":"Crash"}]', "the fields of Crash are nth, site"),
        ('[{"fault":"Crash","site":"a","when":1}]', "the fields of Crash are nth, site"),
        ('[{"fault":"Crash","site":"a","nth":0}]', "nth=0: legal is a whole number from 1"),
        ('[{"fault":"Crash","site":"a","nth":"3"}]', "the fields of Crash are nth, site"),
    ],
)
def test_json_that_is_no_plan_is_refused_with_what_is_legal(text: str, why: str) -> None:
    with pytest.raises(BadPlan) as refused:
        load_plan(text)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Crash(""), "legal is the name of a task"),
        (lambda: Cancel("a", 0), "nth=0"),
        (lambda: CancelAll("a", True), "nth=True"),
        (lambda: Hang("a", 1, float("inf")), "seconds=inf: legal is a finite number above 0"),
        (lambda: Hang("a", 1, 0.0), "seconds=0.0"),
    ],
)
def test_a_fault_that_could_not_happen_is_refused_where_it_is_made(
    make: Callable[[], Fault], why: str
) -> None:
    with pytest.raises(BadPlan, match=why.replace("(", r"\(")):
        make()
