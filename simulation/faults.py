"""What can be made to go wrong, as data: a plan is a sequence of these, and JSON.

Each fault names a *site* and an occurrence, never a step of the whole run: so that taking one out of a plan
does not move the others. The site of an await is the name of its task; under a supervisor that is the
child's path with its incarnation, ``top/parser#1``, or without it, ``top/parser``, counting over all. The
scenario's own task is ``scenario``.

An *await* is one at which the task waits for something that a cancellation would reach. One that cannot be
cancelled, or ends at once (``trio.sleep(0)``), is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import attrs
import cattrs.strategies
import orjson

from trouper.simulation.errors import BadPlan

SCENARIO: Final = "scenario"
"""The site of the scenario's own task."""


def _check(fault: Crash | Cancel | CancelAll | Hang | FailAt) -> None:
    what = type(fault).__name__
    site: object = fault.site
    if not (isinstance(site, str) and site):
        raise BadPlan(f"{what}: site={fault.site!r}: legal is the name of a task, as 'top/parser#1'")
    if not (type(fault.nth) is int and fault.nth >= 1):
        raise BadPlan(f"{what}({fault.site!r}): nth={fault.nth!r}: legal is a whole number from 1")
    if isinstance(fault, Hang) and not 0 < fault.seconds < math.inf:
        raise BadPlan(
            f"{what}({fault.site!r}): seconds={fault.seconds!r}: legal is a finite number above 0, since what"
            " never ends would never let the run end"
        )


@attrs.frozen
class Crash:
    """A ``SimulatedCrash`` comes out of the ``nth`` await."""

    site: str
    nth: int = 1

    def __attrs_post_init__(self) -> None:
        _check(self)


@attrs.frozen
class Cancel:
    """The task is cancelled at its ``nth`` await: a supervisor's child alone, as its supervisor would; the
    scenario as by ``CancelAll``; another task with all of its nursery, since trio cancels no less."""

    site: str
    nth: int = 1

    def __attrs_post_init__(self) -> None:
        _check(self)


@attrs.frozen
class CancelAll:
    """The whole scenario is cancelled, from outside, when the task is at its ``nth`` await."""

    site: str
    nth: int = 1

    def __attrs_post_init__(self) -> None:
        _check(self)


@attrs.frozen
class Hang:
    """The ``nth`` await ends no sooner than ``seconds`` later, whatever happens, cancellation included: as
    if a thread or a shielded clean-up held the task."""

    site: str
    nth: int = 1
    seconds: float = 60.0

    def __attrs_post_init__(self) -> None:
        _check(self)


@attrs.frozen
class FailAt:
    """A ``SimulatedCrash`` comes out of the ``nth`` call of ``seams.fault(site)``: of a named place in the
    store or in a job (``output.appended``, ``finish.committed``, ``ctx.call.1``)."""

    site: str
    nth: int = 1

    def __attrs_post_init__(self) -> None:
        _check(self)


Fault = Crash | Cancel | CancelAll | Hang | FailAt
Plan = tuple[Fault, ...]

_converter = cattrs.Converter(forbid_extra_keys=True)


def _strict(value: object, cls: type) -> object:
    # cattrs alone would make a number of "3".
    if type(value) is cls or (cls is float and type(value) is int):
        return value
    raise TypeError(f"{value!r} is no {cls.__name__}")


for _cls in (int, float, str):
    _converter.register_structure_hook(_cls, _strict)
cattrs.strategies.configure_tagged_union(
    Fault, _converter, tag_name="fault", tag_generator=lambda cls: cls.__name__
)


def dump_plan(plan: Iterable[Fault]) -> str:
    """The plan as JSON in one line: ``[{"site":"top/a#1","nth":3,"fault":"Crash"}]``."""
    return orjson.dumps([_converter.unstructure(fault, unstructure_as=Fault) for fault in plan]).decode()


def load_plan(text: str) -> Plan:
    """The plan of that JSON. Raises: ``BadPlan``."""
    try:
        rows = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadPlan(f"a plan is a JSON list of faults, not {text[:80]!r}: {error}") from error
    if not isinstance(rows, list):
        raise BadPlan(f"a plan is a JSON list of faults, not {text[:80]!r}")
    return tuple(_load(row) for row in rows)


def _load(row: object) -> Fault:
    known = {cls.__name__: {field.name for field in attrs.fields(cls)} for cls in Fault.__args__}
    if not isinstance(row, dict) or row.get("fault") not in list(known):
        raise BadPlan(f'a fault is an object whose "fault" is one of {", ".join(known)}, not {row!r}')
    try:
        fault: Fault = _converter.structure(row, Fault)  # type: ignore[arg-type]
    except BadPlan:
        raise
    except Exception as error:
        why = "; ".join(cattrs.transform_error(error))
        fields = ", ".join(sorted(known[row["fault"]]))
        raise BadPlan(f"{row!r}: {why}; the fields of {row['fault']} are {fields}") from error
    return fault
